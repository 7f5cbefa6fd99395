//! The address of a stream: whether it may be dialled, and whether it carries its own signature.

use tokio_tungstenite::tungstenite::http::Uri;

use crate::ended::ConnectError;

/// Query parameters any one of which means that the address was signed by whoever made it.
const PRESIGNED: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

/// An address that may be dialled, exactly as it was given: the query holds `+`, `/` and `=` that must not be
/// re-encoded.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    url: String,
    host: String,
    presigned: bool,
}

impl Address {
    /// Checks an address against the region's hosts and the extra ones.
    pub(crate) fn check(url: &str, region: &str, extra_hosts: &[String]) -> Result<Self, ConnectError> {
        let foreign = || ConnectError::ForeignHost(host_for_people(url));
        let uri: Uri = url.parse().map_err(|_| foreign())?;
        let authority = uri.authority().ok_or_else(foreign)?.as_str();
        if authority.contains('@') {
            return Err(foreign());
        }
        let host = uri.host().ok_or_else(foreign)?;
        let extra = extra_hosts.iter().any(|extra| extra == authority || extra == host);
        let allowed = match uri.scheme_str() {
            Some("wss") => extra || is_session_manager(authority, region),
            // In clear only where the operator names the host.
            Some("ws") => extra,
            _ => false,
        };
        if !allowed {
            return Err(foreign());
        }
        let presigned = uri.query().is_some_and(is_presigned);
        Ok(Self { url: url.to_owned(), host: authority.to_owned(), presigned })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What the `Host` header says.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn is_presigned(&self) -> bool {
        self.presigned
    }
}

/// The public, FIPS and dual-stack endpoints of the region, in each partition's form.
fn is_session_manager(authority: &str, region: &str) -> bool {
    let host = authority.strip_suffix(":443").unwrap_or(authority).to_ascii_lowercase();
    let service = host.strip_prefix("ssmmessages-fips.").or_else(|| host.strip_prefix("ssmmessages."));
    let Some(domain) = service.and_then(|rest| rest.strip_prefix(region)) else { return false };
    !region.is_empty()
        && matches!(
            domain,
            ".amazonaws.com" | ".amazonaws.com.cn" | ".api.aws" | ".api.amazonwebservices.com.cn"
        )
}

fn is_presigned(query: &str) -> bool {
    query.split('&').any(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        PRESIGNED.iter().any(|name| name.eq_ignore_ascii_case(key))
    })
}

/// The part of an unusable address that may be shown: the query can hold a signature.
fn host_for_people(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    host.chars().take(253).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    fn is_allowed(url: &str) -> bool {
        Address::check(url, "eu-central-1", &["sim:4566".into(), "localhost".into()]).is_ok()
    }

    #[test]
    fn session_managers_hosts_of_the_region_may_be_dialled() {
        for host in [
            "ssmmessages.eu-central-1.amazonaws.com",
            "ssmmessages.eu-central-1.amazonaws.com:443",
            "SSMMessages.eu-central-1.amazonaws.com",
            "ssmmessages-fips.eu-central-1.amazonaws.com",
            "ssmmessages.eu-central-1.amazonaws.com.cn",
            "ssmmessages.eu-central-1.api.aws",
            "ssmmessages-fips.eu-central-1.api.aws",
            "ssmmessages.eu-central-1.api.amazonwebservices.com.cn",
        ] {
            assert!(is_allowed(&format!("wss://{host}/v1/data-channel/s?role=x")), "{host}");
        }
    }

    #[test]
    fn nothing_else_may_be_dialled() {
        for url in [
            "wss://ssmmessages.us-east-1.amazonaws.com/x",
            "wss://ssmmessages.eu-central-1.amazonaws.com.evil.example/x",
            "wss://ssmmessages.eu-central-1.evil.example/x",
            "wss://xssmmessages.eu-central-1.amazonaws.com/x",
            "wss://ssmmessages.eu-central-1.amazonaws.com:8443/x",
            "wss://ssmmessages.eu-central-1.amazonaws.com@evil.example/x",
            "wss://me@ssmmessages.eu-central-1.amazonaws.com/x",
            "ws://ssmmessages.eu-central-1.amazonaws.com/x",
            "https://ssmmessages.eu-central-1.amazonaws.com/x",
            "wss://169.254.169.254/x",
            "wss://sim:4567/x",
            "wss://sim/x",
            "/v1/data-channel/s",
            "",
        ] {
            assert!(!is_allowed(url), "{url}");
        }
        assert!(Address::check("wss://ssmmessages..amazonaws.com/x", "", &[]).is_err());
    }

    #[test]
    fn extra_hosts_may_be_dialled_in_clear_too() {
        for url in ["ws://sim:4566/x", "wss://sim:4566/x", "ws://localhost:1/x", "wss://localhost/x"] {
            assert!(is_allowed(url), "{url}");
        }
    }

    #[test]
    fn a_foreign_host_is_told_without_the_secrets_of_its_address() {
        let error = Address::check("wss://me:pw@evil.example/x?X-Amz-Signature=s", "eu-central-1", &[]);
        assert_eq!(error.unwrap_err(), ConnectError::ForeignHost("evil.example".into()));
    }

    #[test]
    fn a_presigned_address_is_known_by_any_of_its_parameters() {
        let check = |query: &str| {
            let url = format!("wss://ssmmessages.eu-central-1.amazonaws.com/x?role=r&{query}");
            Address::check(&url, "eu-central-1", &[]).unwrap().is_presigned()
        };
        assert!(PRESIGNED.iter().all(|name| check(&format!("{name}=1"))));
        assert!(!check("cell-number=X-Amz-Date"));
    }
}
