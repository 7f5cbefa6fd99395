//! What a test may do to a running simulator, as methods.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::{Value, json};

use crate::account::{AppKey, Owner, space_of_arn};
use crate::cloud::{Cloud, Delays};
use crate::faults::{RequestRate, Switches};
use crate::fixture::{SpaceSpec, profile};
use crate::iam::{Policy, PolicyKind};
use crate::roles::role_arn;
use crate::simulator::Simulator;
use crate::trail::Event;

/// How a space stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpaceState {
    /// ARN of the space.
    pub arn: String,
    /// Status of the space.
    pub status: String,
    /// Status of its latest app; absent if it never had one.
    pub app_status: Option<String>,
    /// Why that app failed.
    pub app_failure: Option<String>,
    /// Instance type of that app.
    pub instance_type: Option<String>,
    /// Id of that app's life.
    pub run: Option<String>,
    /// Sessions to the space that are not over.
    pub sessions: Vec<String>,
}

impl Cloud {
    /// ARNs of spaces that have an SSH server.
    pub(crate) fn arns_with_server(&self) -> Vec<String> {
        let world = self.world();
        let running = world.apps.iter().filter(|(_, app)| app.ssh.is_some());
        running
            .filter_map(|(key, _)| {
                let domain = world.domains.get(&key.domain)?;
                Some(domain.arn_of(&format!("space/{}/{}", key.domain, key.owner.name())))
            })
            .collect()
    }
}

impl Simulator {
    /// Makes a space, in service at once, and waits for its app if it should be running. Gives the ARN.
    pub async fn create_space(&self, spec: SpaceSpec) -> anyhow::Result<String> {
        spec.check()?;
        let domain_id = spec.domain.clone().unwrap_or_else(|| self.default_domain().to_owned());
        let now = self.cloud.clock.now();
        let (arn, started) = {
            let mut world = self.cloud.world();
            let domain =
                world.domains.get(&domain_id).with_context(|| format!("no domain {domain_id}"))?.clone();
            let space = spec.space(now);
            let arn = domain.arn_of(&format!("space/{domain_id}/{}", spec.name));
            let started = spec.running.then(|| spec.app(&domain, &space, now));
            if world.spaces.insert((domain_id.clone(), spec.name.clone()), space).is_some() {
                bail!("space {} exists already", spec.name);
            }
            if let Some((key, app)) = &started {
                world.apps.insert(key.clone(), app.clone());
            }
            (arn, started)
        };
        if let Some((key, app)) = started {
            self.cloud.finish_start(&key, &app.run).await;
            let lag = self.cloud.clock.scaled(self.cloud.delays().registration_lag);
            if let Some(app) = self.cloud.world().apps.get_mut(&key) {
                // A fixture's app has been up for long.
                app.in_service = app.in_service.map(|since| since - lag);
                if let Some(reason) = &app.failure {
                    bail!("the app of {} failed: {reason}", spec.name);
                }
            }
        }
        Ok(arn)
    }

    /// Removes a space and its apps at once.
    pub async fn delete_space(&self, space_arn: &str) -> anyhow::Result<()> {
        let (domain, name) = space_of_arn(space_arn).context("no ARN of a space")?;
        let (domain, name) = (domain.to_owned(), name.to_owned());
        let runs: Vec<String> = {
            let mut world = self.cloud.world();
            let owner = Owner::Space(name.clone());
            let gone = world.apps.extract_if(.., |key, _| key.domain == domain && key.owner == owner);
            let runs = gone.map(|(_, app)| app.run).collect();
            world.spaces.remove(&(domain, name)).context("no such space")?;
            runs
        };
        runs.iter().for_each(|run| self.cloud.live().end_run(run));
        self.cloud.spaces.stop(space_arn).await;
        Ok(())
    }

    /// Merges into a space's settings, as the console would, whatever its status.
    pub fn change_space(&self, space_arn: &str, change: impl FnOnce(&mut SpaceChange)) -> anyhow::Result<()> {
        let (domain, name) = space_of_arn(space_arn).context("no ARN of a space")?;
        let mut world = self.cloud.world();
        let space = world.spaces.get_mut(&(domain.to_owned(), name.to_owned())).context("no such space")?;
        let mut wanted = SpaceChange::default();
        change(&mut wanted);
        let app_type = space.app_type().unwrap_or("JupyterLab").to_owned();
        if let Some(on) = wanted.remote_access {
            space.settings.insert("RemoteAccess".to_owned(), json!(if on { "ENABLED" } else { "DISABLED" }));
        }
        if let Some(instance_type) = wanted.instance_type {
            let settings =
                space.settings.entry(format!("{app_type}AppSettings")).or_insert_with(|| json!({}));
            settings["DefaultResourceSpec"]["InstanceType"] = json!(instance_type);
        }
        if let Some(owner) = wanted.owner {
            space.owner = Some(owner);
        }
        for (key, value) in wanted.tags {
            match value {
                Some(value) => drop(space.tags.insert(key, value)),
                None => drop(space.tags.remove(&key)),
            }
        }
        space.modified = self.cloud.clock.now();
        Ok(())
    }

    /// Adds a user profile.
    pub fn create_profile(&self, domain: &str, name: &str) -> anyhow::Result<()> {
        let now = self.cloud.clock.now();
        let mut world = self.cloud.world();
        let sso =
            world.domains.get(domain).with_context(|| format!("no domain {domain}"))?.auth_mode == "SSO";
        world.profiles.insert((domain.to_owned(), name.to_owned()), profile(name, sso, now));
        Ok(())
    }

    /// Removes a user profile.
    pub fn delete_profile(&self, domain: &str, name: &str) -> anyhow::Result<()> {
        let gone = self.cloud.world().profiles.remove(&(domain.to_owned(), name.to_owned()));
        gone.map(drop).context("no such profile")
    }

    /// Stops the space's app as if from the console. Says whether one was running.
    pub fn stop_app(&self, space_arn: &str) -> anyhow::Result<bool> {
        let key = self.live_key(space_arn)?;
        Ok(key.is_some_and(|key| self.cloud.take_down(&key)))
    }

    /// Starts the space's app as if from the console, with the usual delay.
    pub fn start_app(&self, space_arn: &str) -> anyhow::Result<()> {
        let now = self.cloud.clock.now();
        let (key, run) = {
            let mut world = self.cloud.world();
            let (domain, space) = world.space_by_arn(space_arn).context("no such space")?;
            if world.live_app(&domain.id, &space.name).is_some() {
                bail!("the space has an app already");
            }
            let app_type = space.app_type().unwrap_or("JupyterLab").to_owned();
            let spec = SpaceSpec { app_type, ..SpaceSpec::private(&space.name, "") };
            let (key, app) = spec.app(domain, space, now);
            let run = app.run.clone();
            world.apps.insert(key.clone(), app);
            (key, run)
        };
        self.cloud.bring_up(key, run);
        Ok(())
    }

    fn live_key(&self, space_arn: &str) -> anyhow::Result<Option<AppKey>> {
        let world = self.cloud.world();
        let (domain, space) = world.space_by_arn(space_arn).context("no such space")?;
        Ok(world.live_app(&domain.id, &space.name).map(|(key, _)| key.clone()))
    }

    /// How a space stands now.
    pub fn space(&self, space_arn: &str) -> anyhow::Result<SpaceState> {
        let sessions = self.cloud.live().of_space(space_arn);
        let world = self.cloud.world();
        let (domain, space) = world.space_by_arn(space_arn).context("no such space")?;
        let owner = Owner::Space(space.name.clone());
        let apps = world.apps.iter().filter(|(key, _)| key.domain == domain.id && key.owner == owner);
        let app = apps.map(|(_, app)| app).max_by_key(|app| (app.status.holds_machine(), app.created));
        Ok(SpaceState {
            arn: space_arn.to_owned(),
            status: space.status.as_str().to_owned(),
            app_status: app.map(|app| app.status.as_str().to_owned()),
            app_failure: app.and_then(|app| app.failure.clone()),
            instance_type: app.map(|app| app.instance_type().to_owned()),
            run: app.map(|app| app.run.clone()),
            sessions,
        })
    }

    /// Where the SSH server of a running space listens: what an agent dials.
    pub fn ssh_address(&self, space_arn: &str) -> Option<std::net::SocketAddr> {
        let key = self.live_key(space_arn).ok()??;
        self.cloud.world().apps.get(&key)?.ssh
    }

    /// ARN of a space of the default domain, whether it exists or not.
    pub fn space_arn(&self, name: &str) -> String {
        let world = self.cloud.world();
        let domain = world.domains.get(self.default_domain());
        domain.map(|domain| domain.arn_of(&format!("space/{}/{name}", domain.id))).unwrap_or_default()
    }

    /// ARN of a space that exists.
    pub fn space_arn_in(&self, domain: &str, name: &str) -> Option<String> {
        let world = self.cloud.world();
        let space = world.spaces.get(&(domain.to_owned(), name.to_owned()))?;
        Some(world.domains.get(domain)?.arn_of(&format!("space/{domain}/{}", space.name)))
    }

    /// Every space.
    pub fn spaces(&self) -> Vec<SpaceState> {
        let arns: Vec<String> = {
            let world = self.cloud.world();
            let arn = |(domain, name): &(String, String)| {
                Some(world.domains.get(domain)?.arn_of(&format!("space/{domain}/{name}")))
            };
            world.spaces.keys().filter_map(arn).collect()
        };
        arns.iter().filter_map(|arn| self.space(arn).ok()).collect()
    }

    /// Sets how many apps of an instance type may run at once.
    pub fn set_quota(&self, instance_type: &str, limit: u32) {
        self.cloud.world().quotas.insert(instance_type.to_owned(), limit);
    }

    /// Makes apps of an instance type, or of a space by its name, fail with a reason; `None` takes that back.
    pub fn set_capacity_failure(&self, what: &str, reason: Option<&str>) {
        let mut faults = self.cloud.faults();
        match reason {
            Some(reason) => faults.capacity.insert(what.to_owned(), reason.to_owned()),
            None => faults.capacity.remove(what),
        };
    }

    /// Makes the next calls of an operation fail with an error's code. `OpenDataChannel` means opening a stream.
    pub fn fail_next(&self, operation: &str, code: &str, times: u32) {
        self.cloud.faults().fail_next(operation, code, None, times);
    }

    /// As `fail_next`, with words of its own.
    pub fn fail_next_with(&self, operation: &str, code: &str, message: &str, times: u32) {
        self.cloud.faults().fail_next(operation, code, Some(message.to_owned()), times);
    }

    /// Makes every call of an operation wait, in real time; zero takes that back.
    pub fn delay(&self, operation: &str, delay: Duration) {
        self.cloud.faults().delay(operation, delay);
    }

    /// Limits the SageMaker calls of each account from now on; `None` takes that back.
    pub fn limit_rate(&self, rate: Option<RequestRate>) {
        self.cloud.faults().limit_rate(rate);
    }

    /// Takes all failures and delays of operations back.
    pub fn clear_faults(&self) {
        self.cloud.faults().clear();
    }

    /// Lists an app's hour at another price: `platform` is a `platoinstancetype`.
    pub fn set_price(&self, region: &str, platform: &str, instance_type: &str, usd: &str) {
        self.cloud.products().set(region, platform, instance_type, usd);
    }

    /// Lists a product with a text of one's own, which need not be JSON, where its attributes answer a filter.
    pub fn add_product(&self, attributes: &Value, text: &str) {
        self.cloud.products().add_text(attributes, text);
    }

    /// Lists no product any more.
    pub fn clear_products(&self) {
        self.cloud.products().clear();
    }

    /// What the account allows.
    pub fn switches(&self) -> Switches {
        self.cloud.faults().switches
    }

    /// Changes what the account allows.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.cloud.faults().switches);
    }

    /// Changes AWS's delays, before scaling, for what begins from now on.
    pub fn set_delays(&self, change: impl FnOnce(&mut Delays)) {
        self.cloud.change_delays(change);
    }

    /// Shifts the account's clock against the machine's.
    pub fn set_clock_offset(&self, offset: time::Duration) {
        self.cloud.clock.set_offset(offset);
    }

    /// Ends temporary credentials now. Says whether there were any with this key.
    pub fn expire_credentials(&self, access_key_id: &str) -> bool {
        self.cloud.keys().expire(access_key_id, self.cloud.clock.now())
    }

    /// Makes role sessions last so long at most, whatever was asked for: what is issued says so.
    pub fn shorten_role_sessions(&self, longest: Duration) {
        self.cloud.faults().longest_role_session = Some(longest);
    }

    /// Every secret that was handed out and not forgotten: secret keys, session tokens, tokens of streams.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.cloud.keys().secrets();
        secrets.extend(self.cloud.live().tokens());
        secrets
    }

    /// Replaces a role's permissions.
    pub fn set_role_policy(&self, account: &str, role: &str, document: &Value) -> anyhow::Result<()> {
        let policy = Policy::parse(document, PolicyKind::Identity)?;
        let mut world = self.cloud.world();
        let role = world.roles.get_mut(&role_arn(account, role)).context("no such role")?;
        role.policies = BTreeMap::from([("main".to_owned(), policy)]);
        Ok(())
    }

    /// Replaces who may become a role.
    pub fn set_role_trust(&self, account: &str, role: &str, document: &Value) -> anyhow::Result<()> {
        let policy = Policy::parse(document, PolicyKind::Trust)?;
        let mut world = self.cloud.world();
        world.roles.get_mut(&role_arn(account, role)).context("no such role")?.trust = policy;
        Ok(())
    }

    /// Denies an action to a role from now on, as a second policy that `allow_action` takes away.
    pub fn deny_action(&self, account: &str, role: &str, action: &str) -> anyhow::Result<()> {
        let document = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Deny", "Action": action, "Resource": "*" }],
        });
        let policy = Policy::parse(&document, PolicyKind::Identity)?;
        let mut world = self.cloud.world();
        let role = world.roles.get_mut(&role_arn(account, role)).context("no such role")?;
        role.policies.insert(format!("deny {action}"), policy);
        Ok(())
    }

    /// Takes a `deny_action` back.
    pub fn allow_action(&self, account: &str, role: &str, action: &str) -> anyhow::Result<()> {
        let mut world = self.cloud.world();
        let role = world.roles.get_mut(&role_arn(account, role)).context("no such role")?;
        role.policies.remove(&format!("deny {action}")).map(drop).context("it was not denied")
    }

    /// Who called what, oldest first.
    pub fn cloudtrail(&self) -> Vec<Event> {
        self.cloud.trail().events()
    }

    /// Forgets who called what.
    pub fn clear_cloudtrail(&self) {
        self.cloud.trail().clear();
    }
}

/// What `change_space` changes; absent parts stay.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpaceChange {
    /// Remote access on or off.
    pub remote_access: Option<bool>,
    /// Instance type of the settings.
    pub instance_type: Option<String>,
    /// Owner's user profile.
    pub owner: Option<String>,
    /// Tags to set, or to remove if null.
    pub tags: BTreeMap<String, Option<String>>,
}
