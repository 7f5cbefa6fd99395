use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, DOMAIN, SERVICE_ROLE, TYPE_OVER_QUOTA, USER_ROLE};
use crate::testing::{Answer, Lab, TestResult};
use crate::{Credentials, Fixture, SpaceSpec};

fn of(space: &str) -> Value {
    json!({ "DomainId": DOMAIN, "SpaceName": space })
}

fn app(space: &str) -> Value {
    json!({ "DomainId": DOMAIN, "SpaceName": space, "AppType": "JupyterLab", "AppName": "default" })
}

fn with(mut input: Value, member: &str, value: Value) -> Value {
    input[member] = value;
    input
}

async fn app_status(lab: &Lab, space: &str) -> anyhow::Result<String> {
    let described = lab.sagemaker(&lab.service(), "DescribeApp", app(space)).await?;
    Ok(described.body["Status"].as_str().unwrap_or(described.code()).to_owned())
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages_of_ten_and_tokens_fit_one_question() -> TestResult {
    let spaces = (0..23).map(|n| SpaceSpec::private(&format!("s-{n:02}"), "alice")).collect();
    let lab = Lab::with(vec![Fixture { spaces, ..Fixture::bare() }]).await?;
    let list = async |input: Value| lab.sagemaker(&lab.service(), "ListSpaces", input).await;
    let (mut names, mut input) = (Vec::new(), json!({}));
    loop {
        let page = list(input.clone()).await?;
        names.extend(page.column("Spaces", "SpaceName"));
        match page.body.get("NextToken") {
            Some(token) => input = json!({ "NextToken": token }),
            None => break,
        }
        assert_eq!(names.len() % 10, 0);
    }
    assert_eq!(names, (0..23).map(|n| format!("s-{n:02}")).collect::<Vec<_>>());

    let first = list(json!({ "MaxResults": 5 })).await?;
    let token = first.body["NextToken"].clone();
    let next = list(json!({ "MaxResults": 7, "NextToken": token })).await?;
    assert_eq!(next.column("Spaces", "SpaceName").first().map(String::as_str), Some("s-05"));
    assert_eq!(
        list(json!({ "NextToken": token, "SortOrder": "Descending" })).await?.code(),
        "ValidationException"
    );
    assert_eq!(list(json!({ "NextToken": "abc" })).await?.code(), "ValidationException");
    let down = list(json!({ "SortOrder": "Descending", "MaxResults": 1 })).await?;
    assert_eq!(down.column("Spaces", "SpaceName"), ["s-22"]);
    let part = list(json!({ "SpaceNameContains": "2" })).await?;
    assert_eq!(part.column("Spaces", "SpaceName"), ["s-02", "s-12", "s-20", "s-21", "s-22"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lists_show_every_domain_unless_one_is_named() -> TestResult {
    let other = Fixture::domain("d-other", "other").with(SpaceSpec::private("demo", "bo"));
    let elsewhere = Fixture { region: "us-east-1".to_owned(), ..Fixture::domain("d-far", "far") }
        .with(SpaceSpec::private("x", "bo"));
    let lab =
        Lab::with(vec![Fixture::bare().with(SpaceSpec::private("demo", "alice")), other, elsewhere]).await?;
    let service = lab.service();
    let all = lab.sagemaker(&service, "ListSpaces", json!({})).await?;
    assert_eq!(all.column("Spaces", "DomainId"), ["d-other", DOMAIN]);
    let one = lab.sagemaker(&service, "ListSpaces", json!({ "DomainIdEquals": "d-other" })).await?;
    assert_eq!(one.column("Spaces", "DomainId"), ["d-other"]);
    let domains = lab.sagemaker(&service, "ListDomains", json!({})).await?;
    assert_eq!(domains.column("Domains", "DomainId").len(), 2);
    let far = lab.sagemaker(&service, "DescribeDomain", json!({ "DomainId": "d-far" })).await?;
    assert_eq!(far.code(), "ResourceNotFound");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_app_lives_from_pending_to_deleted() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let created = lab.sagemaker(&alice, "CreateApp", app("stopped")).await?;
    assert_eq!(created.status, 200, "{created:?}");
    assert_eq!(app_status(&lab, "stopped").await?, "Pending");
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("stopped")).await?.code(), "ResourceInUse");
    assert_eq!(lab.sagemaker(&lab.service(), "DeleteApp", app("stopped")).await?.code(), "ResourceInUse");
    assert_eq!(lab.open(&alice, "stopped").await?.code(), "ValidationException");
    lab.pass(101).await;
    assert_eq!(app_status(&lab, "stopped").await?, "InService");
    assert_eq!(lab.open(&alice, "stopped").await?.status, 200);
    assert_eq!(lab.sagemaker(&alice, "DeleteApp", app("stopped")).await?.status, 200);
    assert_eq!(app_status(&lab, "stopped").await?, "Deleting");
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("stopped")).await?.code(), "ResourceInUse");
    lab.pass(41).await;
    assert_eq!(app_status(&lab, "stopped").await?, "Deleted");
    assert_eq!(lab.sagemaker(&alice, "DeleteApp", app("stopped")).await?.code(), "ResourceNotFound");
    let listed = lab.sagemaker(&lab.service(), "ListApps", json!({ "SpaceNameEquals": "stopped" })).await?;
    assert_eq!(listed.column("Apps", "Status"), ["Deleted"]);

    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("stopped")).await?.status, 200);
    let listed = lab.sagemaker(&lab.service(), "ListApps", json!({ "SpaceNameEquals": "stopped" })).await?;
    assert_eq!(listed.column("Apps", "Status"), ["Pending"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_deleted_app_is_forgotten_after_a_day() -> TestResult {
    let lab = Lab::new().await?;
    assert!(lab.simulator.stop_app(&lab.simulator.space_arn("demo"))?);
    lab.pass(60).await;
    assert_eq!(app_status(&lab, "demo").await?, "Deleted");
    lab.pass(24 * 3600).await;
    assert_eq!(app_status(&lab, "demo").await?, "ResourceNotFound");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn apps_fail_for_capacity_and_are_refused_for_quota() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("no-capacity")).await?.status, 200);
    lab.pass(101).await;
    let failed = lab.sagemaker(&lab.service(), "DescribeApp", app("no-capacity")).await?;
    assert_eq!(failed.body["Status"], "Failed");
    assert!(failed.body["FailureReason"].as_str().is_some_and(|why| why.starts_with("CapacityError")));

    let refused = lab.sagemaker(&alice, "CreateApp", app("over-quota")).await?;
    assert_eq!(refused.code(), "ResourceLimitExceeded");
    assert!(refused.body["Message"].as_str().is_some_and(|words| words.contains(TYPE_OVER_QUOTA)));
    lab.simulator.set_quota(TYPE_OVER_QUOTA, 1);
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("over-quota")).await?.status, 200);
    lab.simulator.set_capacity_failure("ml.g5.48xlarge", None);
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("no-capacity")).await?.status, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn create_app_is_refused_what_the_space_is_not() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let refused =
        async |input: Value| anyhow::Ok(lab.sagemaker(&alice, "CreateApp", input).await?.code().to_owned());
    let editor = with(app("stopped"), "AppType", json!("CodeEditor"));
    assert_eq!(refused(editor).await?, "ValidationException");
    assert_eq!(refused(with(app("stopped"), "AppName", json!("mine"))).await?, "ValidationException");
    assert_eq!(
        refused(with(app("stopped"), "UserProfileName", json!("alice"))).await?,
        "ValidationException"
    );
    let huge = with(app("stopped"), "ResourceSpec", json!({ "InstanceType": "ml.p5.48xlarge" }));
    assert_eq!(refused(huge).await?, "AccessDeniedException");
    let unknown = with(app("stopped"), "ResourceSpec", json!({ "InstanceType": "ml.z9.large" }));
    assert_eq!(refused(unknown).await?, "ValidationException");
    // Tags on a new app need sagemaker:AddTags too.
    let tagged = with(app("stopped"), "Tags", json!([{ "Key": "a", "Value": "b" }]));
    assert_eq!(refused(tagged).await?, "AccessDeniedException");
    assert_eq!(refused(app("bo-private")).await?, "AccessDeniedException");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn sessions_start_only_where_they_can_arrive() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    for space in ["small", "no-remote"] {
        assert_eq!(lab.sagemaker(&alice, "CreateApp", app(space)).await?.status, 200);
    }
    lab.pass(101).await;
    let open = async |space: &str| anyhow::Ok(lab.open(&alice, space).await?.code().to_owned());
    assert_eq!(open("small").await?, "ValidationException");
    assert_eq!(open("no-remote").await?, "ValidationException");
    // An untagged space, and one that is not there, are denied before anyone looks.
    assert_eq!(open("nowhere").await?, "AccessDeniedException");
    assert_eq!(open("bo-private").await?, "AccessDeniedException");
    assert_eq!(open("team").await?, "");
    assert_eq!(open("Mixed-Case").await?, "");
    assert_eq!(open("mixed-case").await?, "AccessDeniedException");
    let of_app = lab.simulator.space_arn("demo").replace(":space/", ":app/");
    let answer = lab.sagemaker(&alice, "StartSession", json!({ "ResourceIdentifier": of_app })).await?;
    assert_eq!(answer.code(), "AccessDeniedException");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn remote_access_counts_from_the_next_start() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("no-remote")).await?.status, 200);
    lab.pass(101).await;
    let on = with(of("no-remote"), "SpaceSettings", json!({ "RemoteAccess": "ENABLED" }));
    assert_eq!(lab.sagemaker(&alice, "UpdateSpace", on).await?.status, 200);
    lab.pass(7).await;
    assert_eq!(lab.open(&alice, "no-remote").await?.code(), "ValidationException");
    assert_eq!(lab.sagemaker(&alice, "DeleteApp", app("no-remote")).await?.status, 200);
    lab.pass(41).await;
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("no-remote")).await?.status, 200);
    lab.pass(101).await;
    assert_eq!(lab.open(&alice, "no-remote").await?.status, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn registration_lags_behind_the_app() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    lab.simulator.set_delays(|delays| delays.registration_lag = std::time::Duration::from_secs(30));
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("stopped")).await?.status, 200);
    lab.pass(101).await;
    let early = lab.open(&alice, "stopped").await?;
    assert_eq!((early.code(), early.status), ("InternalFailure", 500));
    lab.pass(30).await;
    assert_eq!(lab.open(&alice, "stopped").await?.status, 200);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn update_space_patches() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    let update = async |settings: Value| {
        lab.sagemaker(&alice, "UpdateSpace", with(of("stopped"), "SpaceSettings", settings)).await
    };
    let spec =
        json!({ "JupyterLabAppSettings": { "DefaultResourceSpec": { "InstanceType": "ml.m5.2xlarge" } } });
    assert_eq!(update(spec.clone()).await?.status, 200);
    let described = lab.sagemaker(&lab.service(), "DescribeSpace", of("stopped")).await?;
    assert_eq!(described.body["Status"], "Updating");
    let kept = &described.body["SpaceSettings"];
    assert_eq!(kept["JupyterLabAppSettings"]["DefaultResourceSpec"]["InstanceType"], "ml.m5.2xlarge");
    assert_eq!(kept["JupyterLabAppSettings"]["DefaultResourceSpec"]["SageMakerImageVersionAlias"], "3.2.0");
    assert_eq!((&kept["AppType"], &kept["RemoteAccess"]), (&json!("JupyterLab"), &json!("ENABLED")));
    assert_eq!(update(spec).await?.code(), "ResourceInUse");
    assert_eq!(lab.sagemaker(&alice, "CreateApp", app("stopped")).await?.code(), "ValidationException");
    lab.pass(7).await;
    assert_eq!(update(json!({ "AppType": "JupyterLab" })).await?.code(), "ValidationException");
    let shrink = json!({ "SpaceStorageSettings": { "EbsStorageSettings": { "EbsVolumeSizeInGb": 5 } } });
    assert_eq!(update(shrink).await?.code(), "ValidationException");
    let huge =
        json!({ "JupyterLabAppSettings": { "DefaultResourceSpec": { "InstanceType": "ml.p5.48xlarge" } } });
    assert_eq!(update(huge).await?.code(), "AccessDeniedException");
    Ok(())
}

/// Someone with every right, for what the fixture's roles may not.
async fn administrator(lab: &Lab) -> anyhow::Result<Credentials> {
    let all = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }],
    });
    lab.simulator.set_role_policy(ACCOUNT, SERVICE_ROLE, &all)?;
    Ok(lab.service())
}

#[tokio::test(start_paused = true)]
async fn spaces_are_made_and_removed() -> TestResult {
    let lab = Lab::new().await?;
    let admin = administrator(&lab).await?;
    let call = async |operation: &str, input: Value| lab.sagemaker(&admin, operation, input).await;
    let new = json!({
        "DomainId": DOMAIN, "SpaceName": "new", "SpaceDisplayName": "New one",
        "OwnershipSettings": { "OwnerUserProfileName": "carol" },
        "SpaceSharingSettings": { "SharingType": "Private" },
        "SpaceSettings": { "AppType": "JupyterLab", "RemoteAccess": "ENABLED" },
        "Tags": [{ "Key": "gw-owner", "Value": "carol" }],
    });
    let stranger = with(new.clone(), "OwnershipSettings", json!({ "OwnerUserProfileName": "nobody" }));
    assert_eq!(call("CreateSpace", stranger).await?.code(), "ValidationException");
    assert_eq!(call("CreateSpace", new.clone()).await?.status, 200);
    assert_eq!(call("CreateSpace", new).await?.code(), "ResourceInUse");
    let described = call("DescribeSpace", of("new")).await?;
    assert_eq!(described.body["Status"], "Pending");
    assert_eq!(described.body["OwnershipSettings"]["OwnerUserProfileName"], "carol");
    lab.pass(7).await;
    let arn = lab.simulator.space_arn("new");
    let tags = call("ListTags", json!({ "ResourceArn": arn })).await?;
    assert_eq!(tags.body["Tags"], json!([{ "Key": "gw-owner", "Value": "carol" }]));

    assert_eq!(call("CreateApp", app("new")).await?.status, 200);
    assert_eq!(call("DeleteSpace", of("new")).await?.code(), "ValidationException");
    lab.pass(101).await;
    assert_eq!(call("DeleteApp", app("new")).await?.status, 200);
    lab.pass(41).await;
    assert_eq!(call("DeleteSpace", of("new")).await?.status, 200);
    assert_eq!(call("DescribeSpace", of("new")).await?.body["Status"], "Deleting");
    lab.pass(7).await;
    assert_eq!(call("DescribeSpace", of("new")).await?.code(), "ResourceNotFound");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tags_decide_and_only_the_owner_tag_may_be_set() -> TestResult {
    let lab = Lab::with(vec![Fixture::bare()]).await?;
    let spec = SpaceSpec { untagged: true, ..SpaceSpec::private("old", "alice").running() };
    let arn = lab.simulator.create_space(spec).await?;
    let alice = lab.person("alice", None).await?;
    assert_eq!(lab.open(&alice, "old").await?.code(), "AccessDeniedException");
    let tag = async |key: &str| {
        let tags = json!([{ "Key": key, "Value": "alice" }]);
        lab.sagemaker(&lab.service(), "AddTags", json!({ "ResourceArn": arn, "Tags": tags })).await
    };
    assert_eq!(tag("team").await?.code(), "AccessDeniedException");
    assert_eq!(tag("gw-owner").await?.status, 200);
    assert_eq!(lab.open(&alice, "old").await?.status, 200);
    let own = json!({ "ResourceArn": arn, "Tags": [{ "Key": "gw-owner", "Value": "bo" }] });
    assert_eq!(lab.sagemaker(&alice, "AddTags", own).await?.code(), "AccessDeniedException");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn faults_and_role_changes_take_effect_at_once() -> TestResult {
    let lab = Lab::new().await?;
    let alice = lab.person("alice", None).await?;
    lab.simulator.fail_next("StartSession", "ThrottlingException", 2);
    let open = async || anyhow::Ok(lab.open(&alice, "demo").await?.code().to_owned());
    assert_eq!(open().await?, "ThrottlingException");
    assert_eq!(open().await?, "ThrottlingException");
    assert_eq!(open().await?, "");
    lab.simulator.deny_action(ACCOUNT, USER_ROLE, "sagemaker:StartSession")?;
    assert_eq!(open().await?, "AccessDeniedException");
    lab.simulator.allow_action(ACCOUNT, USER_ROLE, "sagemaker:StartSession")?;
    assert_eq!(open().await?, "");

    let events = lab.simulator.cloudtrail();
    let starts: Vec<_> = events.iter().filter(|e| e.event_name == "StartSession").collect();
    let codes: Vec<_> = starts.iter().map(|e| e.error_code.as_deref()).collect();
    let throttled = Some("ThrottlingException");
    assert_eq!(codes, [throttled, throttled, None, Some("AccessDeniedException"), None]);
    let last = starts.last().ok_or_else(|| anyhow::anyhow!("no event"))?;
    assert_eq!(last.resource, Some(lab.simulator.space_arn("demo")));
    assert_eq!(last.source_identity(), Some("alice"));
    assert!(last.response_elements["SessionId"].as_str().is_some());
    assert!(!last.response_elements.to_string().contains("Token"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn reads_describe_what_is_there() -> TestResult {
    let lab = Lab::with(vec![Fixture { sso: true, ..Fixture::bare() }]).await?;
    let call = async |operation: &str, input: Value| lab.sagemaker(&lab.service(), operation, input).await;
    let domain = call("DescribeDomain", json!({ "DomainId": DOMAIN })).await?;
    assert_eq!(
        (&domain.body["AuthMode"], &domain.body["TagPropagation"]),
        (&json!("SSO"), &json!("ENABLED"))
    );
    let profile =
        call("DescribeUserProfile", json!({ "DomainId": DOMAIN, "UserProfileName": "alice" })).await?;
    assert_eq!(profile.body["SingleSignOnUserValue"], "alice@example.org");
    let nobody = call("DescribeUserProfile", json!({ "DomainId": DOMAIN, "UserProfileName": "eve" })).await?;
    assert_eq!((nobody.code(), nobody.body.get("Message").is_some()), ("ResourceNotFound", true));
    let profiles: Answer = call("ListUserProfiles", json!({ "DomainIdEquals": DOMAIN })).await?;
    assert_eq!(profiles.column("UserProfiles", "UserProfileName"), ["alice", "bo", "carol"]);
    assert_eq!(call("DescribeSpace", of("nowhere")).await?.code(), "ResourceNotFound");
    assert_eq!(call("DescribeApp", app("nowhere")).await?.code(), "ResourceNotFound");
    assert_eq!(call("DeleteDomain", json!({})).await?.code(), "UnknownOperationException");
    Ok(())
}
