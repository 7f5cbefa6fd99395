use serde_json::json;

use super::*;
use crate::roles::{Role, Tags};
use crate::sigv4::sign::Signer;

fn principal() -> anyhow::Result<Principal> {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole" }],
    });
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }],
    });
    let role = Role::new("111122223333", "r", &trust, &policy)?;
    Ok(Principal { tags: Tags::new(), ..Principal::of_role(&role, "s") })
}

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

/// Authenticates a signed GET at `at`, `now` being the account's time.
fn ask(
    keys: &Keys,
    credentials: &Credentials,
    token: Option<&str>,
    at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Caller, AuthError> {
    let signer = Signer {
        access_key: &credentials.access_key_id,
        secret: &credentials.secret_access_key,
        token,
        region: "eu-west-1",
        service: "sagemaker",
        at,
    };
    let headers = signer.headers("GET", "/", "", &[("host", "h")], b"");
    let request = SignedRequest { method: "GET", path: "/", query: "", headers: &headers, body: b"" };
    keys.authenticate(&request, "sagemaker", now)
}

#[test]
fn temporary_credentials_need_their_own_token_and_end() -> anyhow::Result<()> {
    let mut keys = Keys::default();
    let first = keys.issue(principal()?, now(), now() + Duration::minutes(15));
    let second = keys.issue(principal()?, now(), now() + Duration::minutes(15));
    let own = first.session_token.as_deref();
    assert!(ask(&keys, &first, own, now(), now()).is_ok());
    assert_eq!(ask(&keys, &first, None, now(), now()).err(), Some(AuthError::UnknownKey));
    let other = second.session_token.as_deref();
    assert_eq!(ask(&keys, &first, other, now(), now()).err(), Some(AuthError::UnknownKey));
    let later = now() + Duration::minutes(15);
    assert_eq!(ask(&keys, &first, own, later, later).err(), Some(AuthError::Expired));
    assert!(keys.expire(&second.access_key_id, now()));
    assert_eq!(ask(&keys, &second, other, now(), now()).err(), Some(AuthError::Expired));
    Ok(())
}

#[test]
fn static_keys_have_no_token() -> anyhow::Result<()> {
    let mut keys = Keys::default();
    keys.add_static("AKIA1", "secret", principal()?);
    let credentials = |secret: &str| Credentials {
        access_key_id: "AKIA1".to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: None,
        expires: None,
    };
    assert!(ask(&keys, &credentials("secret"), None, now(), now()).is_ok());
    assert_eq!(
        ask(&keys, &credentials("secret"), Some("t"), now(), now()).err(),
        Some(AuthError::UnknownKey)
    );
    assert_eq!(ask(&keys, &credentials("other"), None, now(), now()).err(), Some(AuthError::Mismatch));
    assert!(!keys.expire("AKIA1", now()));
    Ok(())
}

#[test]
fn clocks_may_differ_by_five_minutes() -> anyhow::Result<()> {
    let mut keys = Keys::default();
    let credentials = keys.issue(principal()?, now(), now() + Duration::hours(1));
    let token = credentials.session_token.as_deref();
    for (skew, fine) in [(-6, false), (-4, true), (4, true), (6, false)] {
        let answer = ask(&keys, &credentials, token, now() + Duration::minutes(skew), now());
        assert_eq!(answer.is_ok(), fine, "{skew} min");
        if let Err(error) = answer {
            assert!(matches!(error, AuthError::OutOfScope(_)), "{error:?}");
        }
    }
    Ok(())
}

#[test]
fn a_presigned_url_ends_when_it_says() -> anyhow::Result<()> {
    let mut keys = Keys::default();
    keys.add_static("AKIA1", "secret", principal()?);
    let signer = Signer {
        access_key: "AKIA1",
        secret: "secret",
        token: None,
        region: "eu-west-1",
        service: "ssmmessages",
        at: now(),
    };
    let query = signer.presign("h", "/x", "", 60);
    let headers = [("host".to_owned(), "h".to_owned())];
    let request = SignedRequest { method: "GET", path: "/x", query: &query, headers: &headers, body: b"" };
    assert!(keys.authenticate(&request, "ssmmessages", now() + Duration::seconds(59)).is_ok());
    let late = keys.authenticate(&request, "ssmmessages", now() + Duration::seconds(61));
    assert!(matches!(late, Err(AuthError::OutOfScope(_))));
    assert!(matches!(keys.authenticate(&request, "sagemaker", now()), Err(AuthError::OutOfScope(_))));
    Ok(())
}
