//! Listings and tags: every page, in their turn, and again when AWS throttles.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::stub::{Call, Stub};
use super::{aws, graphs};
use crate::domain::ports::{AwsError, SpaceControl};
use crate::domain::run::Tags;
use crate::domain::space::{AppImage, AppStatus, AppType, Sharing, SpaceStatus};

fn pages(call: &Call) -> (u16, String) {
    let body = call.json();
    let page: Value = match (call.operation.as_str(), body["NextToken"].as_str()) {
        ("ListSpaces", None) => json!({"NextToken": "2", "Spaces": [
            {"DomainId": "d-main", "SpaceName": "graphs", "Status": "InService",
             "SpaceSettingsSummary": {"AppType": "JupyterLab", "RemoteAccess": "ENABLED",
                "SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": 50}}},
             "SpaceSharingSettingsSummary": {"SharingType": "Private"},
             "OwnershipSettingsSummary": {"OwnerUserProfileName": "anna"}},
            {"DomainId": "d-other", "SpaceName": "foreign", "Status": "InService"},
            {"DomainId": "d-main", "SpaceName": "under_score", "Status": "InService"},
        ]}),
        ("ListSpaces", Some(_)) => json!({"Spaces": [
            {"DomainId": "d-main", "SpaceName": "Team", "Status": "Update_Failed",
             "SpaceSettingsSummary": {"AppType": "CodeEditor"},
             "SpaceSharingSettingsSummary": {"SharingType": "Shared"}},
            {"DomainId": "d-main", "SpaceName": "classic", "Status": "InService",
             "SpaceSettingsSummary": {"AppType": "KernelGateway"}},
        ]}),
        ("ListApps", None) => json!({"NextToken": "2", "Apps": [
            {"DomainId": "d-main", "SpaceName": "graphs", "AppType": "JupyterLab", "AppName": "default",
             "Status": "Deleted", "CreationTime": 1.7e9},
            {"DomainId": "d-main", "UserProfileName": "anna", "AppType": "JupyterLab", "AppName": "default",
             "Status": "InService", "CreationTime": 1.7e9},
        ]}),
        _ => json!({"Apps": [
            {"DomainId": "d-main", "SpaceName": "graphs", "AppType": "JupyterLab", "AppName": "default",
             "Status": "InService", "CreationTime": 1_700_000_100.5, "ResourceSpec":
             {"InstanceType": "ml.g5.xlarge", "SageMakerImageArn": "arn:image", "SageMakerImageVersionAlias": "3.2.0"}},
            {"DomainId": "d-main", "SpaceName": "graphs", "AppType": "KernelGateway", "AppName": "k",
             "Status": "InService", "CreationTime": 1.8e9},
        ]}),
    };
    (200, page.to_string())
}

#[tokio::test]
async fn listing_reads_every_page_and_joins_spaces_with_their_apps() {
    let stub = Stub::serve(pages).await;
    let spaces = aws(&stub).list_spaces(&"main".parse().unwrap()).await.unwrap();

    let names: Vec<&str> = spaces.iter().map(|space| space.name().as_str()).collect();
    assert_eq!(names, ["graphs", "Team", "classic"]);
    let (graphs, team, classic) = (&spaces[0], &spaces[1], &spaces[2]);
    assert_eq!(graphs.arn.to_string(), "arn:aws:sagemaker:us-east-1:123456789012:space/d-main/graphs");
    assert_eq!(graphs.owner.as_ref().map(|owner| owner.as_str()), Some("anna"));
    assert!(graphs.remote_access);
    let app = graphs.app.as_ref().unwrap();
    assert_eq!((app.status, app.created_at.unix_timestamp()), (AppStatus::InService, 1_700_000_100));
    assert_eq!(app.instance_type.as_ref().map(|t| t.as_str()), Some("ml.g5.xlarge"));
    let image = AppImage { arn: "arn:image".to_owned(), version: Some("3.2.0".to_owned()) };
    assert_eq!((app.image.as_ref(), graphs.storage_gib), (Some(&image), Some(50)));
    assert_eq!((team.sharing, team.status), (Sharing::Shared, SpaceStatus::Failed));
    assert_eq!((team.app_type, team.remote_access), (Some(AppType::CodeEditor), false));
    assert_eq!((classic.app_type, classic.sharing), (None, Sharing::Private));

    for call in stub.calls() {
        assert_eq!(
            (&call.json()["DomainIdEquals"], &call.json()["MaxResults"]),
            (&json!("d-main"), &json!(100))
        );
        assert_eq!(call.key, "OWNKEY");
    }
}

#[tokio::test]
async fn a_listing_that_is_throttled_tries_again_and_gives_up_in_the_end() {
    let throttled = || (400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#.to_owned());
    let refusals = AtomicUsize::new(0);
    let stub = Stub::serve(move |call| match refusals.fetch_add(1, Ordering::Relaxed) {
        0 | 2 => throttled(),
        _ => pages(call),
    })
    .await;
    assert_eq!(aws(&stub).list_spaces(&"main".parse().unwrap()).await.unwrap().len(), 3);
    assert_eq!(stub.calls().len(), 4 + 2, "one more for each refusal");

    let stub = Stub::serve(move |_| throttled()).await;
    let error = aws(&stub).list_spaces(&"main".parse().unwrap()).await.unwrap_err();
    assert_eq!(error, AwsError::Throttled("sagemaker:ListSpaces"));
    assert_eq!(stub.calls().len(), 6);
}

#[tokio::test]
async fn tags_are_read_page_by_page() {
    let stub = Stub::serve(|call| {
        let body = call.json();
        let arn = graphs().arn.to_string();
        match (body["ResourceArn"] == arn, body["NextToken"].as_str()) {
            (true, None) => (200, r#"{"Tags":[{"Key":"team","Value":"risk"}],"NextToken":"2"}"#.to_owned()),
            _ => (200, r#"{"Tags":[{"Key":"cost","Value":""}]}"#.to_owned()),
        }
    })
    .await;
    let tags = aws(&stub).space_tags(&graphs()).await.unwrap();
    assert_eq!(tags, Tags::from([("team", "risk"), ("cost", "")].map(|(k, v)| (k.to_owned(), v.to_owned()))));
    assert_eq!(stub.calls_of("ListTags").len(), 2);
}
