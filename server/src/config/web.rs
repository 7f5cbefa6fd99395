//! Pages and the identity providers that people sign in with.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::fault::Faults;
use super::parts::listen;
use super::reader::Section;
use crate::domain::ids::ProviderAlias;

/// Where pages are served, and how people reach them.
#[derive(Debug, Clone)]
pub struct Web {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The address that browsers use, without a path.
    pub public_url: PublicUrl,
    /// Whether SSH is taken on the same port.
    pub also_ssh: bool,
    /// The certificate chain and the key; without them, TLS ends at a proxy.
    pub tls: Option<Tls>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: BTreeSet<IpAddr>,
    /// A login that nobody uses for so long ends.
    pub idle: Duration,
    /// Sign-ins that one address may begin in a minute.
    pub sign_ins_per_minute: u32,
    /// How often a provider is asked again about a person who has live sessions.
    pub renew_every: Duration,
    /// How long a token for the API may count.
    pub longest_token: Duration,
    /// Requests to the API that one person's tokens may make in a minute.
    pub api_requests_per_minute: u32,
    /// Pages that one person's browsers may ask for in a minute.
    pub page_requests_per_minute: u32,
}

/// TLS by files.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM with the certificate chain.
    pub certificate: PathBuf,
    /// PEM with the private key.
    pub key: PathBuf,
}

/// An address such as `https://gateway.example.com`: a scheme, a host, perhaps a port. Plain `http` only on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The address of a page.
    #[must_use]
    pub fn page(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// What browsers send as `Origin`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The host's name or address, as ssh takes it.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
    }

    /// The port, the usual one of the scheme if none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether pages travel by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = secure(text)?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("it has more than a scheme, a host and a port".to_owned());
        }
        Ok(Self(url))
    }
}

/// `https`, or `http` on loopback.
pub(super) fn secure(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("it is not an address: {error}"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" if !host.is_empty() => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err("plain http is taken on loopback only".to_owned()),
        _ => Err("it does not begin with https://".to_owned()),
    }
}

/// An issuer, kept as it is written: ID tokens must repeat it to the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.parse().map_or_else(|_| String::new(), |url: Url| url.origin().ascii_serialization())
    }
}

impl FromStr for Issuer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        secure(text).map(|_| Self(text.to_owned()))
    }
}

/// An OpenID Connect provider.
#[derive(Debug, Clone)]
pub struct Provider {
    /// What groups and rules call it.
    pub alias: ProviderAlias,
    /// What the sign-in page calls it.
    pub name: String,
    /// Its issuer identifier.
    pub issuer: Issuer,
    /// Our client there.
    pub client_id: String,
    /// Our client's secret; public clients have none.
    pub client_secret: Option<SecretString>,
    /// What is asked for beside `openid`.
    pub scopes: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// Groups of which one is needed to sign in; none are needed if there are none here.
    pub required_groups: BTreeSet<String>,
    /// How long a login vouches for a person unless the provider renews it.
    pub login_age: Duration,
}

impl Web {
    /// Nothing without the section: then there are no pages.
    pub(super) fn read(root: &mut Section<'_>) -> Option<Self> {
        if !root.has("web") {
            return None;
        }
        let mut section = root.section("web");
        let address = listen(&mut section, SocketAddr::from(([0, 0, 0, 0], 8443)));
        let public_url =
            section.required("public_url", "write what browsers use, such as https://gateway.example.com");
        let also_ssh = section.flag("also_ssh", false);
        let path = |section: &mut Section<'_>, key| {
            section.text(key, "write the path of a PEM file").map(PathBuf::from)
        };
        let (certificate, key) = (path(&mut section, "tls_certificate"), path(&mut section, "tls_key"));
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Tls { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                section.fault("tls_key", None, "it is missing beside tls_certificate", "name the key's file");
                None
            }
            (None, Some(_)) => {
                let reason = "it is missing beside tls_key";
                section.fault("tls_certificate", None, reason, "name the file with the certificate chain");
                None
            }
        };
        let trusted_proxies =
            section.list("trusted_proxies", "write the address of a proxy").into_iter().collect();
        let idle = section.seconds("idle_s", 300..=604_800, 28_800);
        let sign_ins_per_minute = section.count("sign_ins_per_min_per_source", 1..=100_000, 120);
        let renew_every = section.seconds("renew_every_s", 1..=3_600, 300);
        let longest_token = section.seconds("longest_token_s", 3_600..=31_622_400, 7_776_000);
        let api_requests_per_minute = section.count("api_requests_per_min", 1..=1_000_000, 600);
        let page_requests_per_minute = section.count("page_requests_per_min", 10..=1_000_000, 600);
        section.finish();
        Some(Self {
            listen: address,
            public_url: public_url?,
            also_ssh,
            tls,
            trusted_proxies,
            idle,
            sign_ins_per_minute,
            renew_every,
            longest_token,
            api_requests_per_minute,
            page_requests_per_minute,
        })
    }
}

/// Reads `[[providers]]`.
pub(super) fn read_providers(root: &mut Section<'_>, faults: &Faults) -> Vec<Provider> {
    let mut aliases = BTreeSet::new();
    let mut providers = Vec::new();
    for section in root.sections("providers") {
        let place = section.place("alias");
        let Some(provider) = read_provider(section) else { continue };
        if provider.alias.as_str() == "local" {
            let reason = "that is what people of this file are called by";
            faults.add(&place, Some("local"), reason, "give it another alias");
        } else if !aliases.insert(provider.alias.clone()) {
            let alias = provider.alias.as_str();
            faults.add(&place, Some(alias), "another provider has this alias", "give each their own");
        }
        providers.push(provider);
    }
    providers
}

fn read_provider(mut section: Section<'_>) -> Option<Provider> {
    let alias: Option<ProviderAlias> = section.required("alias", "write a short word such as \"okta\"");
    let name = section.text("name", "write what the sign-in page calls it");
    let issuer = section.required("issuer", "write the issuer, such as https://company.okta.com");
    let client_id: Option<String> = section.required("client_id", "write the client's identifier");
    let client_secret = section.secret("client_secret", "client_secret_file", "the client's secret");
    let scopes = section.list("scopes", "write a scope such as \"groups\"");
    let required = section.list("required_groups", "write a group as the provider names it");
    let groups_claim = section.text("groups_claim", "write the name of a claim");
    let login_age = section.seconds("login_age_s", 60..=2_592_000, 43_200);
    section.finish();
    let alias = alias?;
    let usual = ["profile", "email", "offline_access"].map(str::to_owned).to_vec();
    Some(Provider {
        name: name.unwrap_or_else(|| alias.to_string()),
        alias,
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        scopes: if scopes.is_empty() { usual } else { scopes },
        groups_claim: groups_claim.unwrap_or_else(|| "groups".to_owned()),
        required_groups: required.into_iter().collect(),
        login_age,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_url_is_an_origin_and_secure() {
        let url: PublicUrl = "https://gateway.example.com/".parse().unwrap();
        assert_eq!(url.page("/keys"), "https://gateway.example.com/keys");
        assert_eq!((url.host().as_str(), url.port()), ("gateway.example.com", 443));
        assert!("http://127.0.0.1:8080".parse::<PublicUrl>().is_ok_and(|url| !url.is_https()));
        for bad in ["http://gateway.example.com", "https://gateway.example.com/path", "gateway", "ftp://x"] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn issuer_stays_as_it_is_written() {
        let issuer: Issuer = "https://login.example.com".parse().unwrap();
        assert_eq!(issuer.as_str(), "https://login.example.com");
        assert!("http://login.example.com".parse::<Issuer>().is_err());
    }
}
