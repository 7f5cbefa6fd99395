use serde_json::{Value, json};

use super::*;

const SPACE: &str = "arn:aws:sagemaker:eu-west-1:111122223333:space/d-1/demo";

fn document(statement: Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

fn policy(statement: Value) -> Result<Policy, PolicyError> {
    Policy::parse(&document(statement), PolicyKind::Identity)
}

fn context(pairs: &[(&str, &[&str])]) -> Context {
    let mut context = Context::default();
    for (key, values) in pairs {
        context.set_all(key, values.iter().map(|v| (*v).to_owned()).collect());
    }
    context
}

/// The effect of a statement that allows everything under a condition.
fn under(condition: Value, pairs: &[(&str, &[&str])]) -> Result<bool, PolicyError> {
    let policy =
        policy(json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition }))?;
    let context = context(pairs);
    let question = Question { action: "sagemaker:CreateApp", resource: SPACE, context: &context };
    Ok(policy.effect(&question) == Some(Effect::Allow))
}

#[test]
fn actions_and_resources_match_with_wildcards() -> Result<(), PolicyError> {
    let policy = policy(json!({
        "Effect": "Allow",
        "Action": ["SageMaker:Start*"],
        "Resource": "arn:aws:sagemaker:*:111122223333:space/d-1/*",
    }))?;
    let context = Context::default();
    let effect = |action, resource| policy.effect(&Question { action, resource, context: &context });
    assert_eq!(effect("sagemaker:StartSession", SPACE), Some(Effect::Allow));
    assert_eq!(effect("sagemaker:StopSession", SPACE), None);
    assert_eq!(
        effect("sagemaker:StartSession", "arn:aws:sagemaker:eu-west-1:111122223333:space/d-2/demo"),
        None
    );
    Ok(())
}

#[test]
fn a_tag_of_the_principal_must_equal_the_tag_of_the_resource() -> Result<(), PolicyError> {
    let owner = json!({ "StringEquals": { "aws:ResourceTag/gw-owner": "${aws:PrincipalTag/gw-owner}" } });
    let asked = |resource: &[(&str, &[&str])]| under(owner.clone(), resource);
    assert!(asked(&[("aws:ResourceTag/gw-owner", &["alice"]), ("aws:PrincipalTag/gw-owner", &["alice"])])?);
    assert!(!asked(&[("aws:ResourceTag/gw-owner", &["bo"]), ("aws:PrincipalTag/gw-owner", &["alice"])])?);
    assert!(!asked(&[("aws:PrincipalTag/gw-owner", &["alice"])])?);
    assert!(!asked(&[("aws:ResourceTag/gw-owner", &["alice"])])?);
    // A value is no pattern, even where the operator knows patterns.
    let like = json!({ "StringLike": { "aws:ResourceTag/gw-owner": "${aws:PrincipalTag/gw-owner}" } });
    assert!(!under(like, &[("aws:ResourceTag/gw-owner", &["bo"]), ("aws:PrincipalTag/gw-owner", &["*"])])?);
    Ok(())
}

#[test]
fn set_operators_and_absent_keys() -> Result<(), PolicyError> {
    let all = json!({ "ForAllValues:StringEquals": { "aws:TagKeys": ["gw-owner", "gw-sub"] } });
    assert!(under(all.clone(), &[("aws:TagKeys", &["gw-owner"])])?);
    assert!(!under(all.clone(), &[("aws:TagKeys", &["gw-owner", "other"])])?);
    assert!(under(all, &[])?);
    let any_not =
        json!({ "ForAnyValue:StringNotLike": { "sagemaker:InstanceTypes": ["ml.t3.*", "ml.m5.*"] } });
    assert!(!under(any_not.clone(), &[("sagemaker:InstanceTypes", &["ml.m5.xlarge"])])?);
    assert!(under(any_not.clone(), &[("sagemaker:InstanceTypes", &["ml.m5.xlarge", "ml.p5.48xlarge"])])?);
    assert!(!under(any_not, &[])?);
    assert!(under(json!({ "StringNotEquals": { "aws:x": "a" } }), &[])?);
    assert!(under(json!({ "StringEqualsIfExists": { "aws:x": "a" } }), &[])?);
    assert!(!under(json!({ "StringEquals": { "aws:x": "a" } }), &[])?);
    Ok(())
}

#[test]
fn null_asks_whether_a_key_is_absent() -> Result<(), PolicyError> {
    let present = json!({ "Null": { "sts:SourceIdentity": "false" } });
    assert!(under(present.clone(), &[("sts:SourceIdentity", &["alice"])])?);
    assert!(!under(present, &[])?);
    assert!(under(json!({ "Null": { "sts:SourceIdentity": true } }), &[])?);
    Ok(())
}

#[test]
fn keys_are_case_insensitive_and_values_are_not() -> Result<(), PolicyError> {
    let condition = json!({ "StringEquals": { "AWS:ResourceTag/GW-Owner": "alice" } });
    assert!(under(condition.clone(), &[("aws:resourcetag/gw-owner", &["alice"])])?);
    assert!(!under(condition, &[("aws:ResourceTag/gw-owner", &["Alice"])])?);
    Ok(())
}

#[test]
fn variables_belong_to_the_newer_version() -> Result<(), PolicyError> {
    let old = json!({ "Statement": {
        "Effect": "Allow", "Action": "*", "Resource": "*",
        "Condition": { "StringEquals": { "aws:a": "${aws:b}" } },
    } });
    let policy = Policy::parse(&old, PolicyKind::Identity)?;
    let context = context(&[("aws:a", &["x"]), ("aws:b", &["x"])]);
    let question = Question { action: "a:b", resource: "*", context: &context };
    assert_eq!(policy.effect(&question), None);
    Ok(())
}

#[test]
fn a_deny_wins_and_a_session_policy_only_narrows() -> Result<(), PolicyError> {
    let everything = policy(json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }))?;
    let never = policy(json!({ "Effect": "Deny", "Action": "sagemaker:StartSession", "Resource": "*" }))?;
    let one = policy(json!({ "Effect": "Allow", "Action": "sagemaker:StartSession", "Resource": SPACE }))?;
    let context = Context::default();
    let other = "arn:aws:sagemaker:eu-west-1:111122223333:space/d-1/other";
    let ask = |identity: &[&Policy], session: Option<&Policy>, resource| {
        let question = Question { action: "sagemaker:StartSession", resource, context: &context };
        decide(identity.iter().copied(), session, &question)
    };
    assert_eq!(ask(&[&everything], Some(&one), SPACE), Decision::Allow);
    assert_eq!(ask(&[&everything], Some(&one), other), Decision::ImplicitDeny(Decider::Session));
    assert_eq!(ask(&[], Some(&one), SPACE), Decision::ImplicitDeny(Decider::Identity));
    assert_eq!(ask(&[&everything, &never], None, SPACE), Decision::ExplicitDeny(Decider::Identity));
    assert_eq!(ask(&[&everything], Some(&never), SPACE), Decision::ExplicitDeny(Decider::Session));
    Ok(())
}

#[test]
fn malformed_documents_are_refused() {
    let statement = |value: Value| policy(value).err();
    let action = json!({ "Effect": "Allow", "Action": "StartSession", "Resource": "*" });
    assert_eq!(statement(action), Some(PolicyError::Vendor));
    let arn = json!({ "Effect": "Allow", "Action": "a:b", "Resource": "space/d-1/demo" });
    assert_eq!(statement(arn), Some(PolicyError::Arn("space/d-1/demo".to_owned())));
    let effect = json!({ "Effect": "allow", "Action": "a:b", "Resource": "*" });
    assert_eq!(statement(effect), Some(PolicyError::Syntax));
    assert_eq!(statement(json!({ "Effect": "Allow", "Action": "a:b" })), Some(PolicyError::NoResource));
    assert_eq!(statement(json!({ "Effect": "Allow", "Resource": "*" })), Some(PolicyError::NoAction));
    let member = json!({ "Effect": "Allow", "Action": "a:b", "Resource": "*", "Conditions": {} });
    assert_eq!(statement(member), Some(PolicyError::Syntax));
    let operator = json!({
        "Effect": "Allow", "Action": "a:b", "Resource": "*",
        "Condition": { "StringSame": { "aws:x": "y" } },
    });
    assert_eq!(statement(operator), Some(PolicyError::Operator("StringSame".to_owned())));
    assert_eq!(Policy::parse_text("{", PolicyKind::Identity).err(), Some(PolicyError::Json));
    let principal = json!({ "Effect": "Allow", "Action": "a:b", "Resource": "*", "Principal": "*" });
    assert_eq!(statement(principal), Some(PolicyError::Principal));
}
