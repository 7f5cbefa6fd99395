//! Signing in, keys, and standing that is renewed or withdrawn.

use secrecy::{ExposeSecret as _, SecretString};

use super::*;
use crate::domain::ids::KeyId;
use crate::domain::user::{Standing, Withdrawal};
use crate::domain::vouched::Vouched;
use crate::store::logins::{NewLogin, SignIn, Tokens};
use crate::store::people::{AddedKey, Change as Who};
use crate::store::secrets::SealingKey;

const COOKIE: [u8; 32] = [7; 32];

fn sealing() -> SealingKey {
    SealingKey::new(&[9; 32]).unwrap()
}

fn who(world: &World) -> Who {
    let address = "192.0.2.7".parse().unwrap();
    Who { replica: world.replica, actor: None, called: "192.0.2.7".to_owned(), address, at: NOON }
}

fn vouched(provider: &str, subject: &str) -> Vouched {
    Vouched {
        provider: provider.parse().unwrap(),
        subject: subject.to_owned(),
        name: "anna@example.com".parse().unwrap(),
        email: Some("anna@example.com".to_owned()),
        groups: ["ml".to_owned()].into(),
    }
}

fn tokens(refresh: &str) -> Tokens {
    Tokens {
        id_token: SecretString::from("an id token"),
        refresh_token: Some(SecretString::from(refresh.to_owned())),
    }
}

async fn sign_in(world: &World, vouched: &Vouched, cookie: [u8; 32]) -> UserId {
    let login = NewLogin { cookie, ends_at: at(3600), user_agent: "Browser\0", tokens: tokens("first") };
    world.store().sign_in(vouched, at(3600), &login, &sealing(), &who(world)).await.unwrap()
}

/// A live session of a person: only then their login is renewed.
async fn connect(world: &World, user: UserId) {
    world.write_session(&SessionStart { user: user.uuid(), ..world.session(world.replica) }).await;
}

async fn standing(world: &World, user: UserId) -> Standing {
    let people = world.store().known_people().await.unwrap();
    people.into_iter().find(|person| person.id == user).unwrap().standing
}

#[tokio::test]
async fn a_sign_in_comes_back_once_and_to_its_own_browser() {
    let world = World::new().await;
    let begin = async |state: u8| {
        let sign_in = SignIn {
            provider: "okta".to_owned(),
            nonce: SecretString::from("a nonce"),
            verifier: SecretString::from("a verifier"),
            return_to: "/keys".to_owned(),
        };
        let keys = ([state; 32], [2; 32]);
        world.store().begin_sign_in(keys, &sign_in, &sealing(), (NOON, at(-600))).await.unwrap();
    };
    begin(1).await;
    let take = async |state, browser, not_before| {
        world.store().take_sign_in(([state; 32], [browser; 32]), &sealing(), not_before).await.unwrap()
    };
    assert!(take(1, 3, at(-600)).await.is_none(), "another browser");
    assert!(take(1, 2, at(1)).await.is_none(), "too late");
    let back = take(1, 2, at(-600)).await.unwrap();
    assert_eq!((back.nonce.expose_secret(), back.verifier.expose_secret()), ("a nonce", "a verifier"));
    assert!(take(1, 2, at(-600)).await.is_none(), "a second time");
    begin(4).await;
    let kept: Vec<u8> =
        sqlx::query_scalar("SELECT nonce FROM sign_ins").fetch_one(world.pool()).await.unwrap();
    assert!(!kept.windows(7).any(|part| part == b"a nonce"), "it is encrypted at rest");
}

#[tokio::test]
async fn a_login_lives_until_it_is_idle_old_or_signed_out() {
    let world = World::new().await;
    let user = sign_in(&world, &vouched("okta", "1"), COOKIE).await;
    let login = async |now: OffsetDateTime| {
        world.store().login(COOKIE, now, now - time::Duration::seconds(600)).await.unwrap()
    };
    assert_eq!(login(at(500)).await.unwrap().user, user);
    assert!(login(at(1000)).await.is_some(), "it was used meanwhile");
    assert!(login(at(1700)).await.is_none(), "it was idle");
    assert!(world.store().login([8; 32], NOON, at(-600)).await.unwrap().is_none(), "another cookie");
    assert!(world.store().login(COOKIE, at(3600), at(0)).await.unwrap().is_none(), "it is old");
    let id = login(at(1500)).await.unwrap().id;
    let token = world.store().sign_out(id, &sealing(), &who(&world)).await.unwrap().unwrap();
    assert_eq!(token.expose_secret(), "an id token");
    assert!(login(at(1501)).await.is_none());
    assert!(world.store().sign_out(id, &sealing(), &who(&world)).await.unwrap().is_none());
}

#[tokio::test]
async fn the_same_subject_of_two_providers_is_two_people() {
    let world = World::new().await;
    let one = sign_in(&world, &vouched("okta", "1"), [1; 32]).await;
    let two = sign_in(&world, &vouched("azure", "1"), [2; 32]).await;
    assert_ne!(one, two);
    assert_eq!(sign_in(&world, &vouched("okta", "1"), [3; 32]).await, one);
}

#[tokio::test]
async fn a_login_is_renewed_while_its_person_is_connected_and_by_one_replica() {
    let world = World::new().await;
    let person = vouched("okta", "1");
    let user = sign_in(&world, &person, COOKIE).await;
    let due = async || world.store().due_renewal(at(300), &sealing()).await.unwrap();
    assert!(due().await.is_none(), "nobody is connected");
    connect(&world, user).await;
    assert!(world.store().due_renewal(NOON, &sealing()).await.unwrap().is_none(), "it is too early");
    let renewal = due().await.unwrap();
    assert_eq!((renewal.provider.as_str(), renewal.subject.as_str()), ("okta", "1"));
    assert_eq!(renewal.refresh_token.expose_secret(), "first");
    assert!(due().await.is_none(), "another replica passes over it");
    renewal.renewed(&person, at(7200), &tokens("second"), &sealing(), at(301)).await.unwrap();
    assert_eq!(standing(&world, user).await, Standing::Until(at(7200)));
    assert!(due().await.is_none(), "it was renewed");
    let next = world.store().due_renewal(at(900), &sealing()).await.unwrap().unwrap();
    assert_eq!(next.refresh_token.expose_secret(), "second");
    next.postponed(at(901)).await.unwrap();
    assert_eq!(standing(&world, user).await, Standing::Until(at(7200)), "an outage changes nothing");
}

#[tokio::test]
async fn a_refused_renewal_ends_standing_and_logins_and_a_new_login_restores_it() {
    let world = World::new().await;
    let user = sign_in(&world, &vouched("okta", "1"), COOKIE).await;
    connect(&world, user).await;
    let before = world.store().people_version().await.unwrap();
    let renewal = world.store().due_renewal(at(300), &sealing()).await.unwrap().unwrap();
    let change = Who { at: at(301), ..who(&world) };
    renewal.withdrawn(Withdrawal::Refused, &change).await.unwrap();
    let withdrawn = Standing::Withdrawn { at: at(301), why: Withdrawal::Refused };
    assert_eq!(standing(&world, user).await, withdrawn);
    assert!(world.store().people_version().await.unwrap() > before, "other replicas hear of it");
    assert!(world.store().login(COOKIE, at(302), at(0)).await.unwrap().is_none());
    assert!(world.store().due_renewal(at(900), &sealing()).await.unwrap().is_none());
    let kinds: Vec<String> = sqlx::query_scalar(
        "SELECT kind FROM audit WHERE actor_id = $1 AND kind <> 'session.opened' ORDER BY id",
    )
    .bind(user.uuid())
    .fetch_all(world.pool())
    .await
    .unwrap();
    assert_eq!(kinds, ["login.began", "standing.ended"]);
    sign_in(&world, &vouched("okta", "1"), [8; 32]).await;
    assert_eq!(standing(&world, user).await, Standing::Until(at(3600)));
}

#[tokio::test]
async fn a_key_is_one_persons_until_it_is_removed_or_lapses() {
    let world = World::new().await;
    let (anna, bo) = (
        sign_in(&world, &vouched("okta", "1"), [1; 32]).await,
        sign_in(&world, &vouched("okta", "2"), [2; 32]).await,
    );
    let add = async |user, expires, now| {
        let change = Who { at: now, ..who(&world) };
        world
            .store()
            .add_key(user, ("ssh-ed25519 AAAA", "SHA256:x", "laptop"), expires, &change)
            .await
            .unwrap()
    };
    let AddedKey::Added(key) = add(anna, None, NOON).await else { panic!("it is nobody's") };
    assert_eq!(add(anna, None, NOON).await, AddedKey::AlreadyYours);
    assert_eq!(add(bo, None, NOON).await, AddedKey::SomebodyElses);
    assert!(!world.store().remove_key(bo, key, &who(&world)).await.unwrap(), "it is not Bo's to remove");
    assert!(!world.store().remove_key(anna, KeyId::generate(), &who(&world)).await.unwrap());
    assert!(world.store().remove_key(anna, key, &who(&world)).await.unwrap());
    assert!(world.store().known_keys().await.unwrap().is_empty());
    assert!(matches!(add(bo, Some(at(60)), NOON).await, AddedKey::Added(_)));
    assert_eq!(add(anna, None, at(59)).await, AddedKey::SomebodyElses);
    assert!(matches!(add(anna, None, at(60)).await, AddedKey::Added(_)), "Bo's has lapsed");
}

#[tokio::test]
async fn every_login_of_a_person_ends_at_once_and_their_standing_stays() {
    let world = World::new().await;
    let user = sign_in(&world, &vouched("okta", "1"), [1; 32]).await;
    sign_in(&world, &vouched("okta", "1"), [2; 32]).await;
    sign_in(&world, &vouched("okta", "2"), [3; 32]).await;
    let end = async || world.store().end_logins(user, &who(&world)).await.unwrap();
    assert_eq!(end().await, 2);
    assert_eq!(end().await, 0);
    let live = async |cookie| world.store().login([cookie; 32], at(1), at(-600)).await.unwrap().is_some();
    assert_eq!([live(1).await, live(2).await, live(3).await], [false, false, true]);
    assert_eq!(standing(&world, user).await, Standing::Until(at(3600)));
    connect(&world, user).await;
    assert!(world.store().due_renewal(at(300), &sealing()).await.unwrap().is_none(), "nothing renews it");
}
