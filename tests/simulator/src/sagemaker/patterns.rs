//! The regular expressions of SageMaker's model that requests to spaces and apps meet, each in code beside its text.

use super::schema::Pattern;

pub(super) static NAME: Pattern = Pattern { text: "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", matches: name };
pub(super) static DOMAIN_ID: Pattern = Pattern { text: "d-(-*[a-z0-9]){1,61}", matches: domain_id };
pub(super) static RESOURCE_ID: Pattern = Pattern {
    text: r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:.*\/.*",
    matches: |text| sagemaker_arn(text).is_some_and(|resource| resource.contains('/')),
};
pub(super) static RESOURCE_ARN: Pattern = Pattern {
    text: "arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:[0-9]{12}:.+",
    matches: |text| sagemaker_arn(text).is_some_and(|resource| !resource.is_empty()),
};
pub(super) static IMAGE_ARN: Pattern = Pattern {
    text: r"arn:aws(-[\w]+)*:sagemaker:.+:[0-9]{12}:image/[a-zA-Z0-9]([-.]?[a-zA-Z0-9])*",
    matches: |text| kind(text, "image/").is_some_and(|name| !name.contains('/')),
};
pub(super) static IMAGE_VERSION_ARN: Pattern = Pattern {
    text: r"(arn:aws(-[\w]+)*:sagemaker:.+:[0-9]{12}:image-version/[a-z0-9]([-.]?[a-z0-9])*/[0-9]+|None)",
    matches: |text| {
        text == "None"
            || kind(text, "image-version/").and_then(|r| r.rsplit_once('/')).is_some_and(|(_, v)| digits(v))
    },
};
pub(super) static IMAGE_ALIAS: Pattern = Pattern {
    text: r"(^\d+$)|(^\d+.\d+$)|(^semantic version$)",
    matches: |text| text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(char::is_whitespace),
};
pub(super) static LIFECYCLE_ARN: Pattern = Pattern {
    text: r"(arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:studio-lifecycle-config/.*|None)",
    matches: |text| text == "None" || kind(text, "studio-lifecycle-config/").is_some(),
};
pub(super) static TRAINING_PLAN_ARN: Pattern = Pattern {
    text: r"(arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:training-plan/.*|None)",
    matches: |text| text == "None" || kind(text, "training-plan/").is_some(),
};
pub(super) static TAG: Pattern = Pattern { text: r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", matches: tag };
pub(super) static REPOSITORY: Pattern = Pattern {
    text: r"https://([.\-_a-zA-Z0-9]+/?){3,1016}",
    matches: |text| {
        text.strip_prefix("https://").is_some_and(|rest| {
            rest.len() >= 3
                && rest.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/".contains(c))
                && !rest.contains("//")
        })
    },
};
pub(super) static FILE_SYSTEM: Pattern = Pattern {
    text: "(fs-[0-9a-f]{8,})",
    matches: |text| {
        text.strip_prefix("fs-")
            .is_some_and(|id| id.len() >= 8 && id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')))
    },
};
pub(super) static S3_URI: Pattern = Pattern {
    text: "(s3)://([^/]+)/?(.*)",
    matches: |text| text.strip_prefix("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
};
pub(super) static NOT_BLANK: Pattern =
    Pattern { text: r"(?!\s*$).+", matches: |text| !text.trim().is_empty() };

/// Letters and digits with dashes between them; at most 63 characters that are no dash.
fn name(text: &str) -> bool {
    let letters = text.chars().filter(|c| *c != '-').count();
    (1..=63).contains(&letters)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(|c| c == '-' || c.is_ascii_alphanumeric())
}

fn domain_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("d-") else { return false };
    let letters = rest.chars().filter(|c| *c != '-').count();
    (1..=61).contains(&letters)
        && !rest.ends_with('-')
        && rest.chars().all(|c| matches!(c, '-' | 'a'..='z' | '0'..='9'))
}

/// The resource part of an ARN of SageMaker.
fn sagemaker_arn(text: &str) -> Option<&str> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "sagemaker", region, account, resource] = parts[..] else { return None };
    let lower = |text: &str| text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
    (partition.starts_with("aws")
        && lower(partition)
        && lower(region)
        && account.len() == 12
        && digits(account))
    .then_some(resource)
}

fn kind<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    sagemaker_arn(text)?.strip_prefix(kind)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// What tag keys and values are made of.
pub(crate) fn tag(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "Mixed-Case", "a--b", "0"] {
            assert!(name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a_b", "a b", "ä"] {
            assert!(!name(bad), "{bad}");
        }
    }

    #[test]
    fn domains() {
        assert!(domain_id("d-abc123") && domain_id("d--x"));
        assert!(!domain_id("d-") && !domain_id("d-ABC") && !domain_id("abc") && !domain_id("d-a-"));
    }

    #[test]
    fn arns() {
        let arn = "arn:aws:sagemaker:eu-west-1:111122223333:space/d-1/demo";
        assert!((RESOURCE_ID.matches)(arn));
        assert!(!(RESOURCE_ID.matches)("arn:aws:sagemaker:eu-west-1:111122223333:space"));
        assert!(!(RESOURCE_ID.matches)("arn:aws:sagemaker:eu-west-1:1111:space/d-1/demo"));
        assert!(!(RESOURCE_ID.matches)("arn:aws:s3:eu-west-1:111122223333:space/d-1/demo"));
        let version = "arn:aws:sagemaker:us-west-2:542918446943:image-version/sagemaker-distribution-cpu/3";
        assert!((IMAGE_VERSION_ARN.matches)(version));
        assert!((IMAGE_ARN.matches)(
            "arn:aws:sagemaker:us-west-2:542918446943:image/sagemaker-distribution-cpu"
        ));
    }
}
