//! SageMaker, by what the gateway needs of it.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sagemaker::Client;
use aws_sdk_sagemaker::operation::RequestId;
use aws_sdk_sagemaker::operation::describe_space::DescribeSpaceOutput;
use aws_sdk_sagemaker::operation::start_session::StartSessionOutput;
use aws_sdk_sagemaker::types as sdk;
use secrecy::SecretString;

use super::Aws;
use super::calls::Repeat;
use super::clients::DomainClients;
use super::errors::from_sagemaker;
use super::listing::{
    APP_NAME, read_app_status, read_instance_type, read_space_status, read_time, write_app_type,
};
use super::roles::Purpose;
use crate::domain::actor::Actor;
use crate::domain::ids::{DomainAlias, InstanceType, UserProfileName};
use crate::domain::ports::{AwsError, SessionGrant, SpaceControl};
use crate::domain::run::Tags;
use crate::domain::space::{AppType, Space, SpaceArn, SpaceStatus};
use crate::domain::start::{AppReport, StartSettings};

/// How long one `DeleteApp` of the service may take before nobody knows what became of it.
const STOP: Duration = Duration::from_secs(10);

#[async_trait]
impl SpaceControl for Aws {
    fn domains(&self) -> Vec<DomainAlias> {
        self.inner.domains.iter().map(|domain| domain.config.alias.clone()).collect()
    }

    async fn list_spaces(&self, domain: &DomainAlias) -> Result<Vec<Space>, AwsError> {
        self.domain(domain)?.list().await
    }

    async fn sso_user(
        &self,
        domain: &DomainAlias,
        profile: &UserProfileName,
    ) -> Result<Option<String>, AwsError> {
        let domain = self.domain(domain)?;
        let operation = "sagemaker:DescribeUserProfile";
        let request = domain
            .background
            .describe_user_profile()
            .domain_id(domain.config.id.as_str())
            .user_profile_name(profile.as_str());
        match domain.paced(operation, || request.clone().send()).await {
            Ok(described) => Ok(described.single_sign_on_user_value.filter(|user| !user.is_empty())),
            Err(AwsError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn may_probe(&self, domain: &DomainAlias) -> bool {
        self.domain(domain).is_ok_and(|domain| domain.config.probe_role.is_some())
    }

    async fn space_tags(&self, space: &Space) -> Result<Tags, AwsError> {
        self.domain_of(space)?.tags(&space.arn).await
    }

    async fn start_settings(&self, actor: &Actor, space: &Space) -> Result<StartSettings, AwsError> {
        let domain = self.domain_of(space)?;
        let app_type = served(space)?;
        let client = domain.to_start(actor, space, Repeat::Yes).await?;
        let described = domain.describe_space(&client, space).await?;
        let settings = described.space_settings.as_ref();
        let spec =
            settings.and_then(|settings| resource_spec(settings, app_type)).cloned().unwrap_or_else(no_spec);
        Ok(StartSettings {
            instance_type: read_instance_type(&spec),
            image_version: spec.sage_maker_image_version_alias,
            image: spec.sage_maker_image_arn,
            image_version_arn: spec.sage_maker_image_version_arn,
            lifecycle_config: spec.lifecycle_config_arn,
            remote_access: settings.and_then(|s| s.remote_access.as_ref())
                == Some(&sdk::FeatureStatus::Enabled),
            status: described.status.as_ref().map_or(SpaceStatus::Updating, read_space_status),
        })
    }

    async fn update_space(
        &self,
        actor: &Actor,
        space: &Space,
        remote_access: Option<bool>,
        instance_type: Option<&InstanceType>,
    ) -> Result<(), AwsError> {
        let domain = self.domain_of(space)?;
        let app_type = served(space)?;
        let client = domain.to_start(actor, space, Repeat::No).await?;
        // Never the app type: AWS refuses it even if it is the same.
        let mut settings = sdk::SpaceSettings::builder();
        if let Some(on) = remote_access {
            settings = settings.remote_access(if on {
                sdk::FeatureStatus::Enabled
            } else {
                sdk::FeatureStatus::Disabled
            });
        }
        if let Some(instance_type) = instance_type {
            let described = domain.describe_space(&client, space).await?;
            settings = with_instance_type(settings, described.space_settings, app_type, instance_type);
        }
        let request = client
            .update_space()
            .domain_id(space.arn.domain.as_str())
            .space_name(space.name().as_str())
            .space_settings(settings.build());
        let call = async { request.send().await.map_err(|e| from_sagemaker("sagemaker:UpdateSpace", &e)) };
        domain.observed("sagemaker:UpdateSpace", call).await.map(drop)
    }

    async fn create_app(
        &self,
        actor: &Actor,
        space: &Space,
        settings: &StartSettings,
    ) -> Result<(), AwsError> {
        let domain = self.domain_of(space)?;
        let app_type = served(space)?;
        let client = domain.to_start(actor, space, Repeat::No).await?;
        let request = client
            .create_app()
            .domain_id(space.arn.domain.as_str())
            .space_name(space.name().as_str())
            .app_type(write_app_type(app_type))
            .app_name(APP_NAME)
            .set_resource_spec(spec_of(settings));
        let call = async { request.send().await.map_err(|e| from_sagemaker("sagemaker:CreateApp", &e)) };
        domain.observed("sagemaker:CreateApp", call).await.map(drop)
    }

    async fn describe_app(
        &self,
        arn: &SpaceArn,
        domain: &DomainAlias,
        app: AppType,
    ) -> Result<AppReport, AwsError> {
        let domain = self.domain(domain)?;
        // Somebody waits for a start: it is counted and not held back.
        let _ = domain.take_turn();
        let request = domain
            .service
            .describe_app()
            .domain_id(arn.domain.as_str())
            .space_name(arn.name.as_str())
            .app_type(write_app_type(app))
            .app_name(APP_NAME);
        let call = async { request.send().await.map_err(|e| from_sagemaker("sagemaker:DescribeApp", &e)) };
        let described = domain.observed("sagemaker:DescribeApp", call).await?;
        let status =
            described.status.as_ref().ok_or_else(|| incomplete("sagemaker:DescribeApp", "a status"))?;
        Ok(AppReport {
            status: read_app_status(status),
            failure: described.failure_reason.filter(|reason| !reason.is_empty()),
            created_at: described.creation_time.as_ref().and_then(read_time),
            instance_type: described.resource_spec.as_ref().and_then(read_instance_type),
        })
    }

    async fn delete_app(&self, actor: &Actor, space: &Space) -> Result<(), AwsError> {
        let domain = self.domain_of(space)?;
        let app_type = served(space)?;
        let client = domain.to_start(actor, space, Repeat::No).await?;
        let request = client
            .delete_app()
            .domain_id(space.arn.domain.as_str())
            .space_name(space.name().as_str())
            .app_type(write_app_type(app_type))
            .app_name(APP_NAME);
        let call = async { request.send().await.map_err(|e| from_sagemaker("sagemaker:DeleteApp", &e)) };
        domain.observed("sagemaker:DeleteApp", call).await.map(drop)
    }

    async fn stop_app(&self, space: &Space) -> Result<(), AwsError> {
        let domain = self.domain_of(space)?;
        let request = (domain.background.delete_app())
            .domain_id(space.arn.domain.as_str())
            .space_name(space.name().as_str())
            .app_type(write_app_type(served(space)?))
            .app_name(APP_NAME);
        let call = async {
            let sent = tokio::time::timeout(STOP, request.send()).await;
            let sent = sent.map_err(|_| AwsError::Unreachable(format!("no answer within {STOP:?}")))?;
            sent.map_err(|e| from_sagemaker("sagemaker:DeleteApp", &e))
        };
        domain.observed("sagemaker:DeleteApp", call).await.map(drop)
    }

    async fn start_session(&self, actor: &Actor, space: &Space) -> Result<SessionGrant, AwsError> {
        let domain = self.domain_of(space)?;
        let role = domain.become_actor(actor, &space.arn, Purpose::Open).await?;
        let client = domain.sagemaker_as(role.credentials.clone(), Repeat::No);
        let request = client.start_session().resource_identifier(space.arn.to_string());
        let call = async { request.send().await.map_err(|e| from_sagemaker("sagemaker:StartSession", &e)) };
        let started = domain.observed("sagemaker:StartSession", call).await?;
        let grant = grant_of(started, role.arn)?;
        self.inner.grants.keep(&grant.session_id, role.credentials);
        Ok(grant)
    }
}

impl DomainClients {
    /// SageMaker as a person who may start, change and stop this space.
    async fn to_start(&self, actor: &Actor, space: &Space, repeat: Repeat) -> Result<Client, AwsError> {
        let role = self.become_actor(actor, &space.arn, Purpose::Start).await?;
        Ok(self.sagemaker_as(role.credentials, repeat))
    }

    async fn describe_space(&self, client: &Client, space: &Space) -> Result<DescribeSpaceOutput, AwsError> {
        let request =
            client.describe_space().domain_id(space.arn.domain.as_str()).space_name(space.name().as_str());
        let call = async { request.send().await.map_err(|e| from_sagemaker("sagemaker:DescribeSpace", &e)) };
        self.observed("sagemaker:DescribeSpace", call).await
    }
}

/// The space's kind, if remote access serves it.
fn served(space: &Space) -> Result<AppType, AwsError> {
    let reason =
        || AwsError::Invalid(format!("{} is of a kind that remote access does not serve", space.name()));
    space.app_type.ok_or_else(reason)
}

fn incomplete(operation: &'static str, what: &str) -> AwsError {
    AwsError::Internal { operation, message: format!("the answer holds no {what}") }
}

fn grant_of(started: StartSessionOutput, role_session: String) -> Result<SessionGrant, AwsError> {
    let operation = "sagemaker:StartSession";
    let request_id = started.request_id().map(ToOwned::to_owned);
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(SessionGrant {
        session_id: filled(started.session_id).ok_or_else(|| incomplete(operation, "session id"))?,
        stream_url: filled(started.stream_url).ok_or_else(|| incomplete(operation, "stream address"))?,
        token: filled(started.token_value)
            .map(SecretString::from)
            .ok_or_else(|| incomplete(operation, "token"))?,
        role_session,
        request_id,
    })
}

fn no_spec() -> sdk::ResourceSpec {
    sdk::ResourceSpec::builder().build()
}

fn resource_spec(settings: &sdk::SpaceSettings, app_type: AppType) -> Option<&sdk::ResourceSpec> {
    match app_type {
        AppType::JupyterLab => settings.jupyter_lab_app_settings.as_ref()?.default_resource_spec.as_ref(),
        AppType::CodeEditor => settings.code_editor_app_settings.as_ref()?.default_resource_spec.as_ref(),
    }
}

/// The app's settings as they are, with another instance type. AWS keeps sections that are left out; whether it also
/// merges within one is not said, so this one is sent whole.
fn with_instance_type(
    builder: sdk::builders::SpaceSettingsBuilder,
    now: Option<sdk::SpaceSettings>,
    app_type: AppType,
    instance_type: &InstanceType,
) -> sdk::builders::SpaceSettingsBuilder {
    let instance_type = Some(sdk::AppInstanceType::from(instance_type.as_str()));
    let (jupyter_lab, code_editor) =
        now.map_or((None, None), |now| (now.jupyter_lab_app_settings, now.code_editor_app_settings));
    match app_type {
        AppType::JupyterLab => {
            let mut app = jupyter_lab.unwrap_or_else(|| sdk::SpaceJupyterLabAppSettings::builder().build());
            app.default_resource_spec.get_or_insert_with(no_spec).instance_type = instance_type;
            builder.jupyter_lab_app_settings(app)
        }
        AppType::CodeEditor => {
            let mut app = code_editor.unwrap_or_else(|| sdk::SpaceCodeEditorAppSettings::builder().build());
            app.default_resource_spec.get_or_insert_with(no_spec).instance_type = instance_type;
            builder.code_editor_app_settings(app)
        }
    }
}

/// What the app gets: the space's own choice. Where it made none, AWS takes its defaults.
fn spec_of(settings: &StartSettings) -> Option<sdk::ResourceSpec> {
    let spec = sdk::ResourceSpec::builder()
        .set_instance_type(settings.instance_type.as_ref().map(|t| sdk::AppInstanceType::from(t.as_str())))
        .set_sage_maker_image_arn(settings.image.clone())
        .set_sage_maker_image_version_arn(settings.image_version_arn.clone())
        .set_sage_maker_image_version_alias(settings.image_version.clone())
        .set_lifecycle_config_arn(settings.lifecycle_config.clone())
        .build();
    (spec != no_spec()).then_some(spec)
}
