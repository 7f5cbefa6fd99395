//! Who asks for a page: the browser's address, its cookies, and the person who is signed in.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, header};
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

use super::doors::Peer;
use super::pages::Problem;
use super::show::{WallClock, zone_called};
use super::site::Site;
use crate::domain::day::Zone;
use crate::domain::user::Role;
use crate::identity::{SignedInUser, Visitor};

/// The longest description of a browser that is kept.
const USER_AGENT: usize = 200;
/// The cookie in which `templates/spaceport.js` says the zone of whoever reads, by its name in IANA's list.
const ZONE_COOKIE: &str = "spaceport-zone";

/// A browser, whoever sits before it.
pub(super) struct Browser {
    pub(super) visitor: Visitor,
    pub(super) cookies: Cookies,
}

/// Somebody who is signed in.
pub(super) struct Person {
    pub(super) who: SignedInUser,
    pub(super) visitor: Visitor,
    /// Whose times they read.
    pub(super) zone: Zone,
    /// Whether what they asked for can be asked for again, and nothing is done twice.
    pub(super) only_reads: bool,
}

impl Person {
    /// The clock on their wall, at a time that a page takes for now.
    pub(super) fn wall(&self, now: OffsetDateTime) -> WallClock {
        WallClock::new(self.zone.clone(), now)
    }
}

/// Somebody who may look at what everybody does. Others find no such page.
pub(super) struct Onlooker(pub(super) Person);

/// Somebody who may act on what everybody does. Others find no such page.
pub(super) struct Admin(pub(super) Person);

/// The cookies of a request, under our names for them.
pub(super) struct Cookies(Vec<(String, String)>);

impl Cookies {
    fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A cookie's value; nothing if it was sent twice, since one of the two is not ours.
    pub(super) fn get(&self, name: &str) -> Option<SecretString> {
        let mut found = self.0.iter().filter(|(found, _)| found == name);
        let (_, value) = found.next()?;
        found.next().is_none().then(|| SecretString::from(value.clone()))
    }

    /// The zone of whoever reads; UTC where the browser does not say one that there is.
    fn zone(&self) -> Zone {
        let name = self.get(ZONE_COOKIE);
        name.and_then(|name| zone_called(name.expose_secret())).unwrap_or(Zone::UTC)
    }
}

/// A cookie to set; without a value, to forget.
pub(super) fn set_cookie(
    name: &str,
    value: Option<&SecretString>,
    secure: bool,
    seconds: u64,
) -> HeaderValue {
    let (text, age) = value.map_or(("", 0), |value| (value.expose_secret(), seconds));
    let secure = if secure { "; Secure" } else { "" };
    let line = format!("{name}={text}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
    let mut header = HeaderValue::from_str(&line).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

impl FromRequestParts<Arc<Site>> for Browser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let visitor = visitor(site, &parts.headers, &parts.extensions).ok_or(Problem::Broken)?;
        Ok(Self { visitor, cookies: Cookies::of(&parts.headers) })
    }
}

impl FromRequestParts<Arc<Site>> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let browser = Browser::from_request_parts(parts, site).await?;
        let wanted = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let Some(cookie) = browser.cookies.get(site.login_cookie()) else {
            return Err(Problem::SignIn { wanted });
        };
        let Some(who) = site.identity.signed_in(&cookie).await? else {
            let why = "the cookie is that of no live login";
            site.identity.stranger(parts.uri.path(), why, &browser.visitor).await?;
            return Err(Problem::SignIn { wanted });
        };
        // Whoever is kept out must not let themselves in again.
        if who.user.suspended {
            let why = "an admin suspended the person";
            site.identity.stranger(who.user.name.as_str(), why, &browser.visitor).await?;
            return Err(Problem::Suspended);
        }
        site.turn(who.user.id).map_err(Problem::TooManyPages)?;
        let only_reads = parts.method == Method::GET;
        Ok(Self { who, visitor: browser.visitor, zone: browser.cookies.zone(), only_reads })
    }
}

impl FromRequestParts<Arc<Site>> for Onlooker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let person = Person::from_request_parts(parts, site).await?;
        if person.who.user.role >= Role::Auditor { Ok(Self(person)) } else { Err(Problem::NotFound) }
    }
}

impl FromRequestParts<Arc<Site>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let person = Person::from_request_parts(parts, site).await?;
        if person.who.user.role >= Role::Admin { Ok(Self(person)) } else { Err(Problem::NotFound) }
    }
}

/// Who sends a request, as far as that shows without a login.
pub(super) fn visitor(site: &Site, headers: &HeaderMap, extensions: &Extensions) -> Option<Visitor> {
    let ConnectInfo(Peer(peer)) = extensions.get::<ConnectInfo<Peer>>()?;
    let address = client_address(peer.ip(), headers, &site.trusted_proxies);
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let user_agent = agent.unwrap_or_default().chars().take(USER_AGENT).collect();
    Some(Visitor { address, user_agent })
}

/// Where a browser is. Only what a trusted proxy says counts, and of that only the last hop that is none of them:
/// what stands before it, anybody can write.
fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &BTreeSet<IpAddr>) -> IpAddr {
    let mut address = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    for hop in hops.into_iter().rev() {
        if !proxies.contains(&address) {
            break;
        }
        let Ok(hop) = hop.parse::<IpAddr>() else { break };
        address = hop.to_canonical();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static(forwarded));
        let proxies = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap()).into();
        client_address(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn only_listed_proxies_are_believed() {
        assert_eq!(address("203.0.113.9", "198.51.100.1"), "203.0.113.9");
        assert_eq!(address("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(address("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
        assert_eq!(address("10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(address("::ffff:10.0.0.1", "198.51.100.1"), "198.51.100.1");
    }

    #[test]
    fn cookie_that_came_twice_is_nobodys() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; b=2; a=3"));
        let cookies = Cookies::of(&headers);
        assert_eq!(cookies.get("b").unwrap().expose_secret(), "2");
        assert!(cookies.get("a").is_none() && cookies.get("c").is_none());
    }

    #[test]
    fn a_zone_is_one_of_the_list_or_utc() {
        let zone = |line: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
            Cookies::of(&headers).zone().to_string()
        };
        assert_eq!(zone(b"spaceport=x; spaceport-zone=Europe/Berlin"), "Europe/Berlin");
        assert_eq!(zone(b"spaceport-zone=america/argentina/buenos_aires"), "America/Argentina/Buenos_Aires");
        assert_eq!(zone(b"spaceport=x"), "UTC");
        let long = format!("spaceport-zone={}", "Europe/".repeat(500));
        let hostile: [&[u8]; 10] = [
            b"spaceport-zone=",
            b"spaceport-zone",
            b"spaceport-zone=../../etc/passwd",
            b"spaceport-zone=<script>alert(1)</script>",
            b"spaceport-zone=Europe%2FBerlin",
            b"spaceport-zone=\"Europe/Berlin\"",
            b"spaceport-zone=UTC+1",
            b"spaceport-zone=Europe/Berl\xefn",
            b"spaceport-zone=Europe/Berlin; spaceport-zone=Asia/Tokyo",
            long.as_bytes(),
        ];
        for line in hostile {
            assert_eq!(zone(line), "UTC", "{}", String::from_utf8_lossy(line));
        }
    }
}
