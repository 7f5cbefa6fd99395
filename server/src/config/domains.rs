//! SageMaker domains: where they are, which role reaches their spaces, how their streams are dialled.

use std::collections::HashSet;
use std::str::FromStr;

use toml::Value;

use super::cost::read_terms;
use super::fault::Faults;
use super::people::LOCAL;
use super::reader::Section;
use super::web::Provider;
use crate::domain::ids::{AccountId, DomainAlias, GroupName, Region, StudioDomainId};
use crate::domain::ownership::{Ownership, Rule};
use crate::domain::price::Terms;
use crate::domain::role::{PersonRoles, RoleArn, RoleRule};
use crate::domain::space::SpaceArn;

/// What a role is written as.
const ROLE: &str = "write arn:aws:iam::ACCOUNT:role/NAME";

/// One SageMaker domain.
#[derive(Debug, Clone)]
pub struct Domain {
    /// What people write behind the dot.
    pub alias: DomainAlias,
    /// AWS's identifier.
    pub id: StudioDomainId,
    /// The account it lives in.
    pub account: AccountId,
    /// The region it lives in.
    pub region: Region,
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// The roles that the gateway takes on for people.
    pub roles: PersonRoles,
    /// What it takes them on with.
    pub credentials: RoleCredentials,
    /// The role that the process takes on for listing; without one it lists as itself.
    pub service_role: Option<RoleArn>,
    /// The role by which the gateway looks inside spaces that nobody is connected to; without one it does not.
    pub probe_role: Option<RoleArn>,
    /// Where to send calls instead of AWS's own addresses.
    pub endpoints: Endpoints,
    /// Hosts that streams may lead to, beside Session Manager's of the region.
    pub stream_hosts: Vec<String>,
    /// Whether opening a stream is signed.
    pub stream_signing: StreamSigning,
    /// How fast and in what pieces bytes go up.
    pub upload: Upload,
    /// How people's user profiles are found, beside those that are written for them.
    pub ownership: Option<Ownership>,
    /// How many calls the service role may make.
    pub calls: CallRate,
    /// Whether the tags of its spaces are read.
    pub read_tags: bool,
    /// What its account pays otherwise than AWS's list says.
    pub cost: Terms,
}

impl Domain {
    /// Whether a space belongs to this domain.
    #[must_use]
    pub fn holds(&self, arn: &SpaceArn) -> bool {
        arn.domain == self.id && arn.account == self.account && arn.region == self.region
    }
}

/// What the gateway takes a person's role on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleCredentials {
    /// With its own credentials, in the person's name: `AssumeRole`.
    Own,
    /// With the person's ID token: `AssumeRoleWithWebIdentity`.
    WebIdentity,
}

/// Addresses of services, where they are not AWS's own: PrivateLink, FIPS, the simulator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// SageMaker's control plane.
    pub sagemaker: Option<String>,
    /// STS.
    pub sts: Option<String>,
    /// Systems Manager, for resuming streams.
    pub ssm: Option<String>,
    /// The price list.
    pub pricing: Option<String>,
}

impl Endpoints {
    fn read(mut section: Section<'_>) -> Self {
        let instead = "write an address such as https://vpce-0123.sagemaker.us-east-1.vpce.amazonaws.com";
        let mut address = |key| section.parsed::<Address>(key, instead).map(|address| address.0);
        let endpoints = Self {
            sagemaker: address("sagemaker"),
            sts: address("sts"),
            ssm: address("ssm"),
            pricing: address("pricing"),
        };
        section.finish();
        endpoints
    }

    fn or(self, others: &Self) -> Self {
        Self {
            sagemaker: self.sagemaker.or_else(|| others.sagemaker.clone()),
            sts: self.sts.or_else(|| others.sts.clone()),
            ssm: self.ssm.or_else(|| others.ssm.clone()),
            pricing: self.pricing.or_else(|| others.pricing.clone()),
        }
    }
}

/// The address of a service: `http` or `https`, a host, nothing behind it.
struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it is not http or https".to_owned());
        }
        if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
            return Err("it has more than a host and a port".to_owned());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// Whether opening a stream is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamSigning {
    /// Signed, unless the address is presigned; after a refusal once without.
    Auto,
    /// Never.
    Unsigned,
}

/// How bytes go up to a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upload {
    /// The most bytes in one message.
    pub max_payload_bytes: usize,
    /// Messages per second; nothing for as many as there are.
    pub messages_per_s: Option<u32>,
}

impl Upload {
    // 16 KiB was accepted by the live service; 32 KiB keeps frames below WebSocket's 16-bit length. The service
    // appears to allow about 1,000 messages a second.
    fn read(mut section: Section<'_>) -> Self {
        let payload = section.count("max_payload_bytes", 256..=32_768, 16_384);
        let key = "messages_per_s";
        let messages_per_s = match section.value(key) {
            None => Some(850),
            Some(Value::String(text)) if text == "off" => None,
            Some(value) => {
                let number = value.as_integer().and_then(|n| u32::try_from(n).ok());
                let number = number.filter(|n| (10..=100_000).contains(n));
                if number.is_none() {
                    let instead = "write a whole number from 10 to 100000, or \"off\"";
                    section.fault_value(key, &value, "it is not a rate", instead);
                }
                number
            }
        };
        section.finish();
        Self { max_payload_bytes: payload as usize, messages_per_s }
    }
}

/// How many calls the service role may make to a domain's control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRate {
    /// In a second.
    pub per_s: u32,
    /// At once, after a pause.
    pub burst: u32,
}

impl CallRate {
    /// AWS publishes no limits for these calls; 4 a second has met none.
    const USUAL: Self = Self { per_s: 4, burst: 8 };

    fn read(section: &mut Section<'_>, usual: Self) -> Self {
        Self {
            per_s: section.count("calls_per_s", 1..=100, usual.per_s),
            burst: section.count("calls_burst", 1..=1_000, usual.burst),
        }
    }
}

/// What `[aws]` says for every domain.
pub(super) struct Defaults {
    endpoints: Endpoints,
    stream_hosts: Vec<String>,
    calls: CallRate,
}

impl Defaults {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let endpoints = Endpoints::read(section.section("endpoints"));
        let stream_hosts = stream_hosts(&mut section);
        let calls = CallRate::read(&mut section, CallRate::USUAL);
        section.finish();
        Self { endpoints, stream_hosts, calls }
    }
}

fn stream_hosts(section: &mut Section<'_>) -> Vec<String> {
    let hosts: Vec<StreamHost> = section.list(
        "extra_stream_hosts",
        "write a host such as vpce-0123.ssmmessages.us-east-1.vpce.amazonaws.com",
    );
    hosts.into_iter().map(|host| host.0).collect()
}

/// A host, and perhaps a port, that streams may lead to.
struct StreamHost(String);

impl FromStr for StreamHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if text.is_empty() || !text.chars().all(plain) {
            return Err("it is not a host");
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Reads `[[domains]]`: those that are whole.
pub(super) fn read(
    root: &mut Section<'_>,
    defaults: &Defaults,
    providers: &[Provider],
    faults: &Faults,
) -> Vec<Domain> {
    let sections = root.sections("domains");
    if sections.is_empty() {
        faults.add("domains", None, "there is none", "write a section [[domains]] for each SageMaker domain");
    }
    let mut aliases = HashSet::new();
    let mut ids = HashSet::new();
    let mut domains = Vec::new();
    for section in sections {
        let (alias_at, id_at) = (section.place("alias"), section.place("id"));
        let Some(domain) = read_one(section, defaults, providers) else { continue };
        if !aliases.insert(domain.alias.clone()) {
            let alias = domain.alias.as_str();
            faults.add(&alias_at, Some(alias), "another domain has this alias", "give each its own");
        }
        if !ids.insert((domain.id.clone(), domain.account.clone(), domain.region.clone())) {
            let id = domain.id.as_str();
            faults.add(&id_at, Some(id), "this domain is listed before", "list each domain once");
        }
        domains.push(domain);
    }
    domains
}

fn read_one(mut section: Section<'_>, defaults: &Defaults, providers: &[Provider]) -> Option<Domain> {
    let alias = section.required("alias", "write a short name such as \"research\"");
    let id = section.required("id", "write the domain's id, d-…");
    let account = section.required("account", "write the account's 12 digits, in quotes");
    let region: Option<Region> = section.required("region", "write a region such as \"us-east-1\"");
    let words = [("aws", "aws"), ("aws-cn", "aws-cn"), ("aws-us-gov", "aws-us-gov")];
    let partition = section.word("partition", &words, region.as_ref().map_or("aws", partition_of));
    let roles = read_roles(&mut section, (account.as_ref(), partition), providers);
    let credentials = read_credentials(&mut section, providers);
    let service_role = section.parsed("service_role", ROLE);
    let probe_role = section.parsed("probe_role", ROLE);
    let endpoints = Endpoints::read(section.section("endpoints")).or(&defaults.endpoints);
    let mut stream_hosts = stream_hosts(&mut section);
    stream_hosts.extend(defaults.stream_hosts.iter().cloned());
    let signing = [("auto", StreamSigning::Auto), ("unsigned", StreamSigning::Unsigned)];
    let stream_signing = section.word("stream_signing", &signing, StreamSigning::Auto);
    let upload = Upload::read(section.section("upload"));
    let ownership = read_ownership(&mut section);
    let calls = CallRate::read(&mut section, defaults.calls);
    let read_tags = section.flag("read_tags", false);
    let cost = read_terms(section.section("cost"));
    belongs(&section, "service_role", service_role.as_ref(), (account.as_ref(), partition));
    belongs(&section, "probe_role", probe_role.as_ref(), (account.as_ref(), partition));
    section.finish();
    Some(Domain {
        alias: alias?,
        id: id?,
        account: account?,
        region: region?,
        partition: partition.to_owned(),
        roles: roles?,
        credentials,
        service_role,
        probe_role,
        endpoints,
        stream_hosts,
        stream_signing,
        upload,
        ownership,
        calls,
        read_tags,
        cost,
    })
}

fn read_ownership(section: &mut Section<'_>) -> Option<Ownership> {
    if !section.has("ownership") {
        return None;
    }
    let mut section = section.section("ownership");
    let provider = section.required("provider", "write \"local\" for the people in this file");
    let profile = if section.has("sso_user") {
        if section.has("profile") {
            section.fault("sso_user", None, "profile is there too", "keep one of them");
        }
        section
            .parsed("sso_user", "write what the user is called there, such as \"{email}\"")
            .map(Rule::SingleSignOn)
    } else {
        let instead = "write a template such as \"{name}\" or \"{email_local}\", or sso_user instead";
        section.required("profile", instead).map(Rule::Named)
    };
    section.finish();
    Some(Ownership { provider: provider?, profile: profile? })
}

/// The roles of a domain's people: rules by group, and the role of everybody else.
fn read_roles(
    section: &mut Section<'_>,
    home: (Option<&AccountId>, &str),
    providers: &[Provider],
) -> Option<PersonRoles> {
    let (had_user_role, had_rules) = (section.has("user_role"), section.has("roles"));
    let otherwise: Option<RoleArn> = section.parsed("user_role", ROLE);
    belongs(section, "user_role", otherwise.as_ref(), home);
    let rules = section.sections("roles").into_iter();
    let rules: Vec<RoleRule> = rules.filter_map(|rule| read_rule(rule, home, providers)).collect();
    if !had_user_role && !had_rules {
        section.fault("user_role", None, "it is missing", format!("{ROLE}, or [[domains.roles]] for groups"));
        return None;
    }
    Some(PersonRoles { rules, otherwise })
}

fn read_rule(
    mut section: Section<'_>,
    home: (Option<&AccountId>, &str),
    providers: &[Provider],
) -> Option<RoleRule> {
    let group: Option<GroupName> =
        section.required("group", "write PROVIDER/GROUP, such as \"okta/research\"");
    let role = section.required("role", ROLE);
    belongs(&section, "role", role.as_ref(), home);
    let unknown = |group: &&GroupName| {
        let provider = group.as_str().split('/').next().unwrap_or_default();
        provider != LOCAL && !providers.iter().any(|known| known.alias.as_str() == provider)
    };
    if let Some(group) = group.as_ref().filter(unknown) {
        let instead = "write the alias of one of [[providers]] before the /, or \"local\"";
        section.fault("group", Some(group.as_str()), "there is no such provider", instead);
    }
    section.finish();
    Some(RoleRule { group: group?, role: role? })
}

fn read_credentials(section: &mut Section<'_>, providers: &[Provider]) -> RoleCredentials {
    let words = [("assume-role", RoleCredentials::Own), ("web-identity", RoleCredentials::WebIdentity)];
    let credentials = section.word("credentials", &words, RoleCredentials::Own);
    if credentials == RoleCredentials::WebIdentity && providers.is_empty() {
        let reason = "there is no provider to sign in with, so nobody has an ID token";
        section.fault("credentials", Some("web-identity"), reason, "add [web] and one of [[providers]]");
    }
    credentials
}

/// SageMaker has no resource policies: a role of another account can never reach a space.
fn belongs(
    section: &Section<'_>,
    key: &str,
    arn: Option<&RoleArn>,
    (account, partition): (Option<&AccountId>, &str),
) {
    let (Some(arn), Some(account)) = (arn, account) else { return };
    if arn.account() != account.as_str() {
        let reason = format!("the role is in account {}, the domain in {account}", arn.account());
        section.fault(key, Some(arn.as_str()), reason, "write a role of the domain's account");
    }
    if arn.partition() != partition {
        let reason = format!("the role is in partition {}, the domain in {partition}", arn.partition());
        section.fault(key, Some(arn.as_str()), reason, "write a role of the domain's partition");
    }
}

fn partition_of(region: &Region) -> &'static str {
    match region.as_str() {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}
