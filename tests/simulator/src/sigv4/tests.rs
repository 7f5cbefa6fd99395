use super::sign::Signer;
use super::*;

type TestResult = Result<(), AuthError>;

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

const DATE: &str = "20150830T123600Z";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The published examples of Signature Version 4.
#[test]
fn published_examples_verify() -> TestResult {
    let vanilla = headers(&[
        ("host", "example.amazonaws.com"),
        ("x-amz-date", DATE),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
    ]);
    let request = SignedRequest { method: "GET", path: "/", query: "", headers: &vanilla, body: b"" };
    verify(&request, &claim(&request)?, SECRET)?;

    let list_users = headers(&[
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("host", "iam.amazonaws.com"),
        ("x-amz-date", DATE),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ]);
    let query = "Action=ListUsers&Version=2010-05-08";
    let request = SignedRequest { method: "GET", path: "/", query, headers: &list_users, body: b"" };
    verify(&request, &claim(&request)?, SECRET)
}

fn signer(at: OffsetDateTime) -> Signer<'static> {
    Signer {
        access_key: "ASIA1",
        secret: "s",
        token: Some("t"),
        region: "eu-west-1",
        service: "ssmmessages",
        at,
    }
}

const PATH: &str = "/v1/data-channel/alice@example.org-0a";
const QUERY: &str = "role=publish_subscribe&cell-number=AA+/x==";

#[test]
fn any_change_of_a_signed_part_is_noticed() -> TestResult {
    let signed = signer(OffsetDateTime::UNIX_EPOCH).headers("GET", PATH, QUERY, &[("host", "h:1")], b"");
    let check = |path: &str, query: &str, body: &[u8], headers: &[(String, String)]| {
        let request = SignedRequest { method: "GET", path, query, headers, body };
        verify(&request, &claim(&request)?, "s")
    };
    check(PATH, QUERY, b"", &signed)?;
    assert_eq!(check("/v1/data-channel/bob", QUERY, b"", &signed), Err(AuthError::Mismatch));
    assert_eq!(check(PATH, "role=publish_subscribe", b"", &signed), Err(AuthError::Mismatch));
    assert_eq!(check(PATH, QUERY, b"x", &signed), Err(AuthError::Mismatch));
    let mut other_host = signed.clone();
    other_host.iter_mut().filter(|(n, _)| n == "host").for_each(|(_, v)| *v = "other".to_owned());
    assert_eq!(check(PATH, QUERY, b"", &other_host), Err(AuthError::Mismatch));
    Ok(())
}

#[test]
fn a_presigned_url_verifies_and_carries_its_expiry() -> TestResult {
    let signer = Signer { token: None, ..signer(OffsetDateTime::UNIX_EPOCH) };
    let query = format!("{QUERY}&{}", signer.presign("h:1", PATH, QUERY, 60));
    let headers = headers(&[("host", "h:1")]);
    let request = SignedRequest { method: "GET", path: PATH, query: &query, headers: &headers, body: b"" };
    let claim = claim(&request)?;
    assert_eq!(claim.expires_s, Some(60));
    verify(&request, &claim, "s")?;
    assert_eq!(verify(&request, &claim, "other"), Err(AuthError::Mismatch));
    Ok(())
}

#[test]
fn unsigned_aws_headers_and_unread_claims_are_refused() {
    let mut signed = signer(OffsetDateTime::UNIX_EPOCH).headers("GET", PATH, QUERY, &[("host", "h")], b"");
    signed.push(("x-amz-target".to_owned(), "SageMaker.ListSpaces".to_owned()));
    let request = SignedRequest { method: "GET", path: PATH, query: QUERY, headers: &signed, body: b"" };
    assert!(matches!(claim(&request), Err(AuthError::OutOfScope(_))));

    for authorization in ["Bearer x", "AWS4-HMAC-SHA256 Credential=a/b/c", "AWS4-HMAC-SHA256 "] {
        let headers = headers(&[("host", "h"), ("x-amz-date", DATE), ("authorization", authorization)]);
        let request = SignedRequest { method: "GET", path: "/", query: "", headers: &headers, body: b"" };
        assert!(matches!(claim(&request), Err(AuthError::Incomplete(_))), "{authorization}");
    }
    let none = SignedRequest { method: "GET", path: "/", query: "", headers: &[], body: b"" };
    assert_eq!(claim(&none).err(), Some(AuthError::Missing));
}
