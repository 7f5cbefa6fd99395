//! The policies of the fixture's roles: the least that the product needs, as it documents to its operators.

use serde_json::{Value, json};

use crate::fixture::{LOOK_ROLE, PROBE_ROLE, SERVICE_ROLE, USER_ROLE};
use crate::roles::role_arn;

/// Sessions are read and opened through these, whoever started them.
fn sessions(account: &str) -> Value {
    json!({
        "Sid": "Sessions",
        "Effect": "Allow",
        "Action": ["ssm:ResumeSession", "ssmmessages:OpenDataChannel"],
        "Resource": format!("arn:aws:ssm:*:{account}:session/*"),
    })
}

/// Machines take the service role.
pub(crate) fn service_trust() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "ec2.amazonaws.com" },
            "Action": "sts:AssumeRole",
        }],
    })
}

/// The service role: reads, stops idle apps, keeps the owner tag, becomes a person; never opens a space itself.
pub(crate) fn service(account: &str) -> Value {
    let app = |app_type: &str| format!("arn:aws:sagemaker:*:{account}:app/*/*/{app_type}/default");
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Read",
                "Effect": "Allow",
                "Action": [
                    "sagemaker:ListDomains", "sagemaker:DescribeDomain", "sagemaker:ListUserProfiles",
                    "sagemaker:DescribeUserProfile", "sagemaker:ListSpaces", "sagemaker:DescribeSpace",
                    "sagemaker:ListApps", "sagemaker:DescribeApp", "sagemaker:ListTags", "pricing:GetProducts",
                ],
                "Resource": "*",
            },
            {
                "Sid": "AutoStop",
                "Effect": "Allow",
                "Action": "sagemaker:DeleteApp",
                "Resource": [app("JupyterLab"), app("CodeEditor")],
            },
            {
                "Sid": "OwnerTag",
                "Effect": "Allow",
                "Action": "sagemaker:AddTags",
                "Resource": format!("arn:aws:sagemaker:*:{account}:space/*"),
                "Condition": { "ForAllValues:StringEquals": { "aws:TagKeys": ["gw-owner"] } },
            },
            {
                "Sid": "BecomeUser",
                "Effect": "Allow",
                "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
                "Resource": ([USER_ROLE, PROBE_ROLE, LOOK_ROLE].map(|role| role_arn(account, role))),
            },
            {
                "Sid": "NeverDirect",
                "Effect": "Deny",
                "Action": ["sagemaker:StartSession", "sagemaker:CreatePresignedDomainUrl"],
                "Resource": "*",
            },
        ],
    })
}

/// Only the service role becomes a person, and only with a source identity and an owner.
pub(crate) fn person_trust(account: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": role_arn(account, SERVICE_ROLE) },
            "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {
                "StringLike": { "sts:SourceIdentity": "*" },
                "ForAllValues:StringEquals": { "aws:TagKeys": ["gw-owner", "gw-sub"] },
                "Null": { "sts:SourceIdentity": "false", "aws:RequestTag/gw-owner": "false" },
            },
        }],
    })
}

/// A person: opens, starts and stops own and shared spaces, on instance types below a ceiling.
pub(crate) fn person(account: &str) -> Value {
    let space = format!("arn:aws:sagemaker:*:{account}:space/*");
    let app = format!("arn:aws:sagemaker:*:{account}:app/*");
    let on_spaces =
        ["sagemaker:StartSession", "sagemaker:DescribeSpace", "sagemaker:UpdateSpace", "sagemaker:CreateApp"];
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OwnSpaces",
                "Effect": "Allow",
                "Action": on_spaces,
                "Resource": space,
                "Condition": { "StringEquals": { "aws:ResourceTag/gw-owner": "${aws:PrincipalTag/gw-owner}" } },
            },
            {
                "Sid": "SharedSpaces",
                "Effect": "Allow",
                "Action": on_spaces,
                "Resource": space,
                "Condition": { "StringEquals": { "aws:ResourceTag/gw-sharing": "shared" } },
            },
            {
                // A new app has no tags to ask for; the space's statement and the session's policy bound it.
                "Sid": "NewApps",
                "Effect": "Allow",
                "Action": ["sagemaker:CreateApp", "sagemaker:DescribeApp"],
                "Resource": app,
            },
            {
                "Sid": "StopOwnApps",
                "Effect": "Allow",
                "Action": "sagemaker:DeleteApp",
                "Resource": app,
                "Condition": { "StringEquals": { "aws:ResourceTag/gw-owner": "${aws:PrincipalTag/gw-owner}" } },
            },
            {
                "Sid": "StopSharedApps",
                "Effect": "Allow",
                "Action": "sagemaker:DeleteApp",
                "Resource": app,
                "Condition": { "StringEquals": { "aws:ResourceTag/gw-sharing": "shared" } },
            },
            sessions(account),
            {
                "Sid": "Ceiling",
                "Effect": "Deny",
                "Action": ["sagemaker:CreateApp", "sagemaker:UpdateSpace"],
                "Resource": "*",
                "Condition": {
                    "ForAnyValue:StringNotLike": {
                        "sagemaker:InstanceTypes": ["ml.t3.*", "ml.m5.*", "ml.c5.*", "ml.g5.*", "ml.p4d.24xlarge"],
                    },
                },
            },
        ],
    })
}

/// Only the service role becomes the probe, and only with a source identity.
pub(crate) fn probe_trust(account: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": role_arn(account, SERVICE_ROLE) },
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
            "Condition": { "Null": { "sts:SourceIdentity": "false" } },
        }],
    })
}

/// The probe: opens spaces, no more.
pub(crate) fn probe(account: &str) -> Value {
    opens(account, "*")
}

/// Only the service role becomes who looks into spaces, under one name and without tags.
pub(crate) fn look_trust(account: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": role_arn(account, SERVICE_ROLE) },
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
            "Condition": {
                "StringEquals": { "sts:SourceIdentity": LOOK_ROLE, "sts:RoleSessionName": LOOK_ROLE },
            },
        }],
    })
}

/// Who looks into spaces of a domain: opens them, no more.
pub(crate) fn look(account: &str, domain: &str) -> Value {
    opens(account, &format!("{domain}/*"))
}

/// Opens these spaces, and no more.
fn opens(account: &str, spaces: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Look",
                "Effect": "Allow",
                "Action": "sagemaker:StartSession",
                "Resource": format!("arn:aws:sagemaker:*:{account}:space/{spaces}"),
            },
            sessions(account),
        ],
    })
}
