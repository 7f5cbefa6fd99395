use std::collections::BTreeSet;

use time::macros::datetime;

use super::*;
use crate::domain::grant::Grant;
use crate::domain::ids::{GrantId, KeyId};
use crate::domain::ownership::Rule;
use crate::domain::user::{Role, Withdrawal};

const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti laptop";
const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ desk";
const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

fn listed(name: &str, keys: &[&str]) -> (UserId, ConfiguredUser) {
    let person = ConfiguredUser {
        name: name.parse().unwrap(),
        subject: name.to_owned(),
        keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
        groups: BTreeSet::new(),
        profiles: BTreeSet::new(),
        role: Role::User,
        suspended: false,
    };
    (UserId::generate(), person)
}

fn known(name: &str) -> KnownPerson {
    KnownPerson {
        id: UserId::generate(),
        provider: "okta".to_owned(),
        subject: name.to_owned(),
        name: name.to_owned(),
        email: None,
        groups: vec!["ml".to_owned(), "a\nb".to_owned()],
        standing: Standing::Until(NOW),
    }
}

fn key(user: UserId, public_key: &str, expires_at: Option<OffsetDateTime>) -> KnownKey {
    KnownKey {
        id: KeyId::generate(),
        user,
        public_key: public_key.to_owned(),
        fingerprint: String::new(),
        name: String::new(),
        added_at: NOW,
        added_from: String::new(),
        expires_at,
    }
}

fn rows(known: Vec<KnownPerson>, keys: Vec<KnownKey>) -> Rows {
    Rows { known, keys, ..Rows::default() }
}

fn none() -> Rows {
    Rows::default()
}

fn offered(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

#[test]
fn a_key_finds_its_user_whatever_its_comment() {
    let people =
        People::of(&[listed("alice", &[ONE]), listed("bo", &[TWO])], (&Roles::default(), &[]), &none());
    let alice = people.by_key(&offered(ONE.trim_end_matches(" laptop")), NOW).unwrap();
    assert_eq!(alice.name.as_str(), "alice");
    assert_eq!(people.by_id(alice.id).unwrap(), alice);
}

#[test]
fn an_unlisted_key_finds_nobody() {
    let people = People::of(&[listed("alice", &[ONE])], (&Roles::default(), &[]), &none());
    assert_eq!(people.by_key(&offered(TWO), NOW), None);
}

#[test]
fn an_added_key_counts_until_it_lapses_and_groups_carry_their_provider() {
    let anna = known("anna");
    let keys = vec![key(anna.id, ONE, Some(NOW))];
    let roles = Roles { admin: ["okta/ml".parse().unwrap()].into(), ..Roles::default() };
    let people = People::of(&[], (&roles, &[]), &rows(vec![anna], keys));
    let user = people.by_key(&offered(ONE), NOW - time::Duration::SECOND).unwrap();
    assert_eq!(user.role, Role::Admin);
    assert_eq!(user.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["okta/ml"]);
    assert_eq!(people.by_key(&offered(ONE), NOW), None);
    assert_eq!(people.owner(&offered(ONE)).unwrap().id, user.id, "who is in stays in");
}

#[test]
fn a_rule_gives_profiles_to_people_of_its_provider_and_never_what_the_file_gave_away() {
    let rule =
        Ownership { provider: "okta".parse().unwrap(), profile: Rule::Named("{name}".parse().unwrap()) };
    let rules = [("main".parse().unwrap(), rule)];
    let (anna, bo) = (known("anna"), known("bo"));
    let mut alice = listed("alice", &[]);
    alice.1.profiles = ["main/bo".parse().unwrap()].into();
    let ids = [anna.id, bo.id];
    let people = People::of(&[alice], (&Roles::default(), &rules), &rows(vec![anna, bo], vec![]));
    let profiles =
        ids.map(|id| people.by_id(id).unwrap().profiles.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(profiles, [vec!["main/anna".to_owned()], vec![]]);
}

#[test]
fn mail_goes_to_verified_addresses_of_people_who_are_not_kept_out() {
    let person = |name: &str, email: &str| KnownPerson { email: Some(email.to_owned()), ..known(name) };
    let (anna, odd) = (person("anna", "anna@example.com"), person("odd", "a@x.org\r\nBcc: e@x.org"));
    let gone = KnownPerson {
        standing: Standing::Withdrawn { at: NOW, why: Withdrawal::LeftGroup },
        ..person("gone", "gone@example.com")
    };
    let (out, alice) = (person("out", "out@example.com"), listed("alice@example.com", &[]));
    let ids = [anna.id, odd.id, gone.id, out.id, alice.0];
    let suspension = Suspension { at: NOW, by: "ada".to_owned(), reason: "laptop lost".to_owned() };
    let suspended = [(out.id, suspension)].into();
    let rows = Rows { known: vec![anna, odd, gone, out], suspended, ..Rows::default() };
    let people = People::of(&[alice], (&Roles::default(), &[]), &rows);
    let found = ids.map(|id| people.address(id).map(EmailAddress::as_str));
    assert_eq!(found, [Some("anna@example.com"), None, None, None, None]);
}

#[test]
fn the_files_word_about_a_key_stands() {
    let anna = known("anna");
    let keys = vec![key(anna.id, ONE, None)];
    let people = People::of(&[listed("alice", &[ONE])], (&Roles::default(), &[]), &rows(vec![anna], keys));
    assert_eq!(people.by_key(&offered(ONE), NOW).unwrap().name.as_str(), "alice");
}

#[test]
fn suspensions_and_grants_are_those_of_the_row_and_the_files_word_stays() {
    let (anna, alice) = (known("anna"), listed("alice", &[ONE]));
    let mut carl = listed("carl", &[]);
    carl.1.suspended = true;
    let grant = Grant {
        domain: "main".parse().unwrap(),
        space: "demo".parse().unwrap(),
        until: NOW,
        reason: "on call".to_owned(),
    };
    let held = HeldGrant { id: GrantId::generate(), grant };
    let suspension = Suspension { at: NOW, by: "ada".to_owned(), reason: "laptop lost".to_owned() };
    let (anna_id, alice_id, carl_id) = (anna.id, alice.0, carl.0);
    let rows = Rows {
        suspended: [(alice_id, suspension.clone())].into(),
        grants: [anna_id, alice_id].map(|id| (id, vec![held.clone()])).into(),
        ..rows(vec![anna], vec![key(anna_id, TWO, None)])
    };
    let people = People::of(&[alice, carl], (&Roles::default(), &[]), &rows);
    let seen = |id| people.by_id(id).map(|user| (user.suspended, user.grants.len())).unwrap();
    assert_eq!([seen(anna_id), seen(alice_id), seen(carl_id)], [(false, 1), (true, 1), (true, 0)]);
    let directory = people.directory();
    let shown = |entry: &Entry| (entry.written(), entry.listed_keys.len(), entry.added_keys);
    let all: Vec<_> = directory.entries().iter().map(shown).collect();
    let expected = [("local/alice", 1, 0), ("okta/anna", 0, 1), ("local/carl", 0, 0)];
    assert_eq!(all, expected.map(|(name, listed, added)| (name.to_owned(), listed, added)));
    assert_eq!(directory.entry(alice_id).unwrap().suspension, Some(suspension));
    assert_eq!(directory.entry(carl_id).unwrap().suspension, None, "the file's suspension has no row");
}
