use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use russh::keys::HashAlg;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};

use super::*;
use crate::config::{Principals, TrustedCa};
use crate::domain::user::{Role, Standing};

/// When the certificates of these tests are looked at.
const NOW: i64 = 1_800_000_000;
const NOW_U64: u64 = 1_800_000_000;
const HOUR: u64 = 3_600;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "test").unwrap()
}

/// The gateway's own authority, an outside one, a stranger's, and a person's key.
fn own() -> PrivateKey {
    key(1)
}
fn outside() -> PrivateKey {
    key(2)
}
fn strange() -> PrivateKey {
    key(3)
}
fn anna_key() -> PrivateKey {
    key(4)
}

fn user(id: u128, name: &str) -> Arc<User> {
    Arc::new(User {
        id: uuid::Uuid::from_u128(id).into(),
        name: name.parse().unwrap(),
        subject: name.to_owned(),
        groups: BTreeSet::new(),
        profiles: BTreeSet::new(),
        grants: Vec::new(),
        role: Role::User,
        suspended: false,
        standing: Standing::Configured,
    })
}

fn people() -> [Arc<User>; 3] {
    [user(1, "anna"), user(2, "bo"), user(3, "Cleo@example.com")]
}

fn find(claim: &Claim) -> Option<Arc<User>> {
    people().into_iter().find(|user| match claim {
        Claim::Id(id) => user.id == *id,
        Claim::Name(name) => user.name == *name,
        Claim::Email(name) => user.name.as_str().eq_ignore_ascii_case(name.as_str()),
    })
}

fn settings(principals: Principals) -> config::Certificates {
    config::Certificates {
        own_ca: true,
        lifetime: Duration::from_secs(HOUR),
        clock_skew: Duration::from_secs(60),
        revoked_serials: BTreeSet::from([13]),
        revoked_keys: BTreeSet::new(),
        trusted: vec![TrustedCa {
            name: "corp".to_owned(),
            key: outside().public_key().to_openssh().unwrap().parse().unwrap(),
            principals,
            revoked_serials: BTreeSet::from([7]),
        }],
    }
}

/// A certificate for Anna's key that is good but for what a test changes.
struct Wish {
    authority: PrivateKey,
    kind: CertType,
    serial: u64,
    principals: Vec<&'static str>,
    window: (u64, u64),
    options: Vec<(&'static str, &'static str)>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            authority: outside(),
            kind: CertType::User,
            serial: 1,
            principals: vec!["anna"],
            window: (NOW_U64 - HOUR, NOW_U64 + HOUR),
            options: Vec::new(),
        }
    }
}

fn made(wish: &Wish) -> Certificate {
    let (from, until) = wish.window;
    let mut builder = Builder::new([9; 16], anna_key().public_key().key_data().clone(), from, until).unwrap();
    builder.serial(wish.serial).unwrap().cert_type(wish.kind).unwrap().key_id("a test").unwrap();
    if wish.principals.is_empty() {
        builder.all_principals_valid().unwrap();
    }
    for principal in &wish.principals {
        builder.valid_principal(*principal).unwrap();
    }
    for (name, data) in &wish.options {
        builder.critical_option(*name, *data).unwrap();
    }
    builder.extension("permit-pty", "").unwrap();
    builder.sign(&wish.authority).unwrap()
}

fn checked_by(settings: config::Certificates, wish: &Wish, address: &str) -> Result<Accepted, Reason> {
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    Certificates::new(Some(own()), settings).check(&made(wish), now, address.parse().unwrap(), find)
}

fn checked(wish: &Wish) -> Result<Accepted, Reason> {
    checked_by(settings(Principals::Name), wish, "192.0.2.7")
}

#[track_caller]
fn refused(wish: &Wish, reason: Reason) {
    assert_eq!(checked(wish).map(|accepted| accepted.user.name.clone()), Err(reason));
}

#[test]
fn a_good_certificate_is_the_persons_and_allows_what_it_lists() {
    let accepted = checked(&Wish::default()).unwrap();
    assert_eq!((accepted.user.name.as_str(), accepted.authority.as_str()), ("anna", "corp"));
    assert_eq!(accepted.permits, Permits { pty: true, forwarding: false, agent: false });
}

#[test]
fn each_reason_refuses() {
    refused(&Wish { authority: strange(), ..Wish::default() }, Reason::UnknownAuthority);
    // What is self-signed is signed by nobody who is trusted.
    refused(&Wish { authority: anna_key(), ..Wish::default() }, Reason::UnknownAuthority);
    refused(&Wish { kind: CertType::Host, ..Wish::default() }, Reason::HostCertificate);
    refused(&Wish { serial: 7, ..Wish::default() }, Reason::Revoked);
    refused(&Wish { principals: vec![], ..Wish::default() }, Reason::NoPrincipals);
    refused(&Wish { principals: vec!["nobody", "root"], ..Wish::default() }, Reason::WrongPrincipal);
    refused(&Wish { principals: vec!["anna", "bo"], ..Wish::default() }, Reason::SeveralPersons);
    let option = |name, data| Wish { options: vec![(name, data)], ..Wish::default() };
    refused(&option("force-command", "/bin/true"), Reason::ForceCommand);
    refused(&option("verify-required", ""), Reason::CriticalOption);
    refused(&option("source-address", "10.0.0.0/8"), Reason::SourceAddress);
}

#[test]
fn its_time_begins_with_the_first_second_and_ends_before_the_last() {
    let window = |from, until| Wish { window: (from, until), ..Wish::default() };
    refused(&window(NOW_U64 + 1, NOW_U64 + HOUR), Reason::NotYetValid);
    refused(&window(NOW_U64 - HOUR, NOW_U64), Reason::Expired);
    assert!(checked(&window(NOW_U64, NOW_U64 + 1)).is_ok());
    assert!(checked(&window(0, u64::MAX)).is_ok(), "a certificate without limits");
}

#[test]
fn source_addresses_are_lists_of_networks_of_either_family() {
    let from = |list, address: &str| {
        let wish = Wish { options: vec![("source-address", list)], ..Wish::default() };
        checked_by(settings(Principals::Name), &wish, address).map(|_| ())
    };
    let list = "192.0.2.0/28,2001:db8::/32,198.51.100.1";
    for address in ["192.0.2.15", "::ffff:192.0.2.1", "2001:db8:1::1", "198.51.100.1"] {
        assert_eq!(from(list, address), Ok(()), "{address}");
    }
    for address in ["192.0.2.16", "2001:db9::1", "198.51.100.2"] {
        assert_eq!(from(list, address), Err(Reason::SourceAddress), "{address}");
    }
    // What is not understood as a whole admits nobody.
    assert_eq!(from("192.0.2.0/28,office", "192.0.2.1"), Err(Reason::SourceAddress));
    assert_eq!(from("192.0.2.0/28,!192.0.2.1", "192.0.2.1"), Err(Reason::SourceAddress));
}

#[test]
fn a_changed_certificate_has_a_wrong_signature() {
    let mut bytes = made(&Wish::default()).to_bytes().unwrap();
    let at = bytes.windows(4).position(|part| part == b"anna").unwrap();
    bytes[at + 3] = b'o';
    let certificate = Certificate::from_bytes(&bytes).unwrap();
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    let checked = Certificates::new(None, settings(Principals::Name)).check(
        &certificate,
        now,
        "192.0.2.7".parse().unwrap(),
        |_| Some(user(9, "anybody")),
    );
    assert_eq!(checked.map(|_| ()), Err(Reason::Signature));
}

#[test]
fn a_revoked_key_is_made_good_by_no_authority() {
    let fingerprint = anna_key().public_key().fingerprint(HashAlg::Sha256).to_string();
    let revoked =
        config::Certificates { revoked_keys: BTreeSet::from([fingerprint]), ..settings(Principals::Name) };
    let own = Wish {
        authority: own(),
        principals: vec!["00000000-0000-0000-0000-000000000001"],
        ..Wish::default()
    };
    for wish in [Wish::default(), own] {
        assert_eq!(checked_by(revoked.clone(), &wish, "192.0.2.7").map(|_| ()), Err(Reason::Revoked));
    }
}

#[test]
fn each_authority_has_its_own_list_of_revoked_serials() {
    let own = |serial| Wish {
        authority: own(),
        serial,
        principals: vec!["00000000-0000-0000-0000-000000000002"],
        ..Wish::default()
    };
    refused(&own(13), Reason::Revoked);
    assert_eq!(checked(&own(7)).unwrap().user.name.as_str(), "bo");
    assert!(checked(&Wish { serial: 13, ..Wish::default() }).is_ok());
}

#[test]
fn principals_of_the_own_authority_are_rows_and_those_of_others_never() {
    let row = "00000000-0000-0000-0000-000000000001";
    refused(&Wish { principals: vec![row], ..Wish::default() }, Reason::WrongPrincipal);
    refused(&Wish { authority: own(), ..Wish::default() }, Reason::WrongPrincipal);
}

#[test]
fn an_outside_authority_names_people_by_its_rule() {
    let by = |rule: &Principals, principal| {
        let wish = Wish { principals: vec![principal], ..Wish::default() };
        let accepted = checked_by(settings(rule.clone()), &wish, "192.0.2.7");
        accepted.ok().map(|accepted| accepted.user.name.to_string())
    };
    let template: Principals = "corp:{user}@ssh".parse().unwrap();
    assert_eq!(by(&template, "corp:anna@ssh").as_deref(), Some("anna"));
    assert_eq!(by(&template, "anna"), None);
    let email: Principals = "email".parse().unwrap();
    assert_eq!(by(&email, "cleo@EXAMPLE.com").as_deref(), Some("Cleo@example.com"));
    assert_eq!(by(&email, "anna"), None, "a name is no address");
    let table = Principals::Table(BTreeMap::from([("a.smith".to_owned(), "anna".parse().unwrap())]));
    assert_eq!(by(&table, "a.smith").as_deref(), Some("anna"));
    assert_eq!(by(&table, "anna"), None, "only what the table lists");
    assert!("user".parse::<Principals>().is_err());
    assert!("{user}{user}".parse::<Principals>().is_err());
}

#[test]
fn what_the_own_authority_issues_it_takes_for_its_time_and_no_longer() {
    let certificates = Certificates::new(Some(own()), settings(Principals::Name));
    let anna = user(1, "anna");
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    let issued = certificates.issue(anna_key().public_key(), (anna.id, &anna.name), now).unwrap();
    assert_eq!(issued.key_id(), "anna");
    assert_eq!(issued.critical_options().len(), 0);
    assert!(!issued.extensions().contains_key("permit-X11-forwarding"));
    let at = |seconds| {
        let at = now + Duration::from_secs(HOUR) + time::Duration::seconds(seconds);
        certificates.check(&issued, at, "192.0.2.7".parse().unwrap(), find).map(|a| a.permits)
    };
    assert_eq!(at(-1), Ok(Permits::ALL));
    assert_eq!(at(0), Err(Reason::Expired));
    // A replica whose clock is a minute behind takes it at once.
    assert_eq!(at(-3_660), Ok(Permits::ALL));
    assert_eq!(at(-3_661), Err(Reason::NotYetValid));
}

#[test]
fn without_an_authority_of_its_own_the_gateway_issues_nothing() {
    let certificates = Certificates::new(None, settings(Principals::Name));
    let anna = user(1, "anna");
    let issued =
        certificates.issue(anna_key().public_key(), (anna.id, &anna.name), OffsetDateTime::UNIX_EPOCH);
    assert!(matches!(issued, Err(IssueError::Off)));
}

#[test]
fn signatures_with_sha_1_prove_nothing() {
    let certificate = Certificate::from_openssh(SHA_1).unwrap();
    let ca: config::UserKey = SHA_1_CA.parse().unwrap();
    let mut settings = settings(Principals::Name);
    settings.trusted[0].key = ca;
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    let checked =
        Certificates::new(None, settings).check(&certificate, now, "192.0.2.7".parse().unwrap(), find);
    assert_eq!(checked.map(|_| ()), Err(Reason::SignatureAlgorithm));
}

#[test]
fn short_rsa_keys_are_not_certified_and_not_taken() {
    let short = PublicKey::from_openssh(RSA_2048).unwrap();
    let certificates = Certificates::new(Some(own()), settings(Principals::Name));
    let anna = user(1, "anna");
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    let issued = certificates.issue(&short, (anna.id, &anna.name), now);
    assert!(matches!(issued, Err(IssueError::Key(_))));
    let mut builder = Builder::new([9; 16], short.key_data().clone(), 0, u64::MAX).unwrap();
    builder.valid_principal("anna").unwrap();
    let theirs = builder.sign(&outside()).unwrap();
    let checked = certificates.check(&theirs, now, "192.0.2.7".parse().unwrap(), find);
    assert_eq!(checked.map(|_| ()), Err(Reason::WeakKey));
}

/// Made by `ssh-keygen -s ca -t ssh-rsa -I test -n anna`: signed with SHA-1.
const SHA_1: &str = "\
ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIP+66x3P70n\
MhV8Cpjnz5NokcF+qXmLot+xk3w09e0sRAAAAINMwpBx+vjlqr2Eqvj6fxcDlqf9QBxCoRehlCjZPKc07AAAAAAAAAAAAAAA\
BAAAABHRlc3QAAAAIAAAABGFubmEAAAAAAAAAAP//////////AAAAAAAAAIIAAAAVcGVybWl0LVgxMS1mb3J3YXJkaW5nAAA\
AAAAAABdwZXJtaXQtYWdlbnQtZm9yd2FyZGluZwAAAAAAAAAWcGVybWl0LXBvcnQtZm9yd2FyZGluZwAAAAAAAAAKcGVybWl\
0LXB0eQAAAAAAAAAOcGVybWl0LXVzZXItcmMAAAAAAAAAAAAAAZcAAAAHc3NoLXJzYQAAAAMBAAEAAAGBANGrgFWTMu09bjY\
zgYkf8HwWKEclokLFUNBUXgnmB78rK01AHgSfxQc4bHruRx1oAcjYgHs06iM3ffUeXRWFSwTEu/ZNc1RJ9u4oPm4Xc9tBem2\
v4vZynd7CGpWE1UVmIkMSTIJemkNXeHGFy8li6e+mCojhvzZsKJoUTrx3UWSI6Fob9hmSPVFmVcGeit2truYPAfAVIxR2jTM\
J+VArLrKuFit1vdJXsd5noouyhOZWCDYCgCN2gI9aKC55ZFtivXz/0br4cEVvg32S54dgHJz+Ajt2aceem6O1YaDpZSp70Ic\
NYfPoeIEAn3sgG0qcMhRhWPFO2jdMfkZRaJht9Wkw1oe4JibReO3cIzaYuHpGzo1lKNpK5vLrVZncR/UAIOovOJT5WGYDX6c\
PwoA2Ycbns/G4AQk9+i1X4ze5NmOQnQKXto/0TKQ4rVoE/KzBpZT/pek/Mj9WIMHPCc4FAZ0Ywpibk87BAes/oTAIHmJfrry\
7oF4qynW/mNdLxV/pmwAAAY8AAAAHc3NoLXJzYQAAAYAjxHiOl9NeoiUyelTz9NEZE/zFCFTmOsQTVoGMWospaNa/LhBAUTv\
AeBIAxi+Bjbu+4joverXfBVGp95QSF4SJ7xQAz8gkW1k1n8LGTAokQTK05uHe5hdoEnSZlcrobYaTltghYRihOW+US9+A7Ja\
53LzJWonFbZ6wQYxo3o4bxO4dR8dGgDRJkEv8p4NTRmYr8ACkn6ZwHCie6aGh8W9qKYh2XXajBQdQzEoA77OohOkX9JwqZ1y\
krYilRajlQjLJSm3LdhEYH8c0uXfLOSeO1LdkzZ00gXAZqjGlHuBKGCQ3AVgOPMoy2rBONQZe3UjjlskpYmhrk/Cm2/x908y\
zfQKfBlvA2ycqsvV1NfhY8itV6NwmGxghNInpaFKaQAfelhqrOQ1OnjL+iaBTKApEe/Zi2Tr5Kt9+9eMKRGOWGwpmnl3IO92\
DbYeyQokmJc00lmClo5XngDZF2zQ6nHV8kwePVAuaGgBNtn+kQn1Iyt2Lnx6x2c6gYAgLbbqAOgA= anna";

/// Its authority.
const SHA_1_CA: &str = "\
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDRq4BVkzLtPW42M4GJH/B8FihHJaJCxVDQVF4J5ge/KytNQB4En8UHOGx6\
7kcdaAHI2IB7NOojN331Hl0VhUsExLv2TXNUSfbuKD5uF3PbQXptr+L2cp3ewhqVhNVFZiJDEkyCXppDV3hxhcvJYunvpgqI\
4b82bCiaFE68d1FkiOhaG/YZkj1RZlXBnordra7mDwHwFSMUdo0zCflQKy6yrhYrdb3SV7HeZ6KLsoTmVgg2AoAjdoCPWigu\
eWRbYr18/9G6+HBFb4N9kueHYByc/gI7dmnHnpujtWGg6WUqe9CHDWHz6HiBAJ97IBtKnDIUYVjxTto3TH5GUWiYbfVpMNaH\
uCYm0Xjt3CM2mLh6Rs6NZSjaSuby61WZ3Ef1ACDqLziU+VhmA1+nD8KANmHG57PxuAEJPfotV+M3uTZjkJ0Cl7aP9EykOK1a\
BPyswaWU/6XpPzI/ViDBzwnOBQGdGMKYm5POwQHrP6EwCB5iX668u6BeKsp1v5jXS8Vf6Zs= ca";

/// A key of 2048 bits.
const RSA_2048: &str = "\
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQD1ls/lEbAKwKY+D+1lAKbgIySjpMGSXi9H5aIu3JpduyAOygvmmDMrrcEN\
83tOZhJJ2HvNTgrimNE3Dh29bKXLHqRXT8GUTUJl6GFKUwR2TTWj3lYf7/hR8d3ItqpoS4wjrTc6ZoYld9nLlxAM//DdvD5T\
7z3eoPt6tUE3YOfHhSBJpaGcDWPecC/jLXgfLI0QK6iolYwSh8GuFQvus80pOp4hUTC4wWb4GRfzRPXqvOhO1IClUuUCM4YO\
GZQCjnLM9C8ThrICsha7bGgBZrRSqAhS82fBT1BORTpabj2rZh5HzXqYXtyOgI5+Jt9jMbh5LS6cC2mI3l6gHuIWJsRF sho\
rt";
