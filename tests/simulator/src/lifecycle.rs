//! How apps and spaces live: each change of status is a task that waits its delay, then looks whether it still applies.

use std::sync::Arc;
use std::time::Duration;

use crate::account::{AppKey, AppStatus, Owner, SpaceStatus};
use crate::cloud::Cloud;
use crate::sagemaker::instance_types::gpus;
use crate::sessions::Machine;

/// The most characters of a `FailureReason`, which may be any.
const LONGEST_REASON: usize = 1024;

impl Cloud {
    /// Runs a change in the background until the simulator ends.
    fn later(self: &Arc<Self>, change: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = change => {}
            }
        });
    }

    /// Brings a Pending app up, or fails it.
    pub(crate) fn bring_up(self: &Arc<Self>, key: AppKey, run: String) {
        let cloud = Arc::clone(self);
        self.later(async move {
            cloud.clock.pass(cloud.delays().app_start).await;
            cloud.finish_start(&key, &run).await;
        });
    }

    /// Starts the SSH server of a Pending app and puts it in service.
    pub(crate) async fn finish_start(&self, key: &AppKey, run: &str) {
        if let Some(reason) = self.capacity_failure(key, run) {
            self.fail_app(key, run, reason);
            return;
        }
        let Some(space_arn) = self.space_arn_of(key) else { return };
        let Some(machine) = self.machine_of(key, run) else { return };
        let started = self.spaces.start(&space_arn, run, &machine).await;
        let address = match started {
            Ok(address) => address,
            Err(error) => {
                tracing::warn!(space.arn = %space_arn, %error, "the SSH server of a space did not start");
                self.fail_app(key, run, format!("InternalFailure: {error:#}"));
                return;
            }
        };
        let now = self.clock.now();
        let wanted = match self.world().apps.get_mut(key) {
            Some(app) if app.run == run && app.status == AppStatus::Pending => {
                app.status = AppStatus::InService;
                app.in_service = Some(now);
                app.ssh = Some(address);
                true
            }
            _ => false,
        };
        if !wanted {
            self.spaces.stop(&space_arn).await;
        }
    }

    fn fail_app(&self, key: &AppKey, run: &str, reason: String) {
        let now = self.clock.now();
        if let Some(app) = self.world().apps.get_mut(key).filter(|app| app.run == run) {
            app.status = AppStatus::Failed;
            app.failure = Some(reason.chars().take(LONGEST_REASON).collect());
            app.ended = Some(now);
        }
    }

    fn capacity_failure(&self, key: &AppKey, run: &str) -> Option<String> {
        let instance_type = {
            let world = self.world();
            world.apps.get(key).filter(|app| app.run == run)?.instance_type().to_owned()
        };
        let faults = self.faults();
        faults.capacity.get(&instance_type).or_else(|| faults.capacity.get(key.owner.name())).cloned()
    }

    fn machine_of(&self, key: &AppKey, run: &str) -> Option<Machine> {
        let world = self.world();
        let app = world.apps.get(key).filter(|app| app.run == run)?;
        Some(Machine { app_type: key.app_type.clone(), gpus: gpus(app.instance_type()) })
    }

    fn space_arn_of(&self, key: &AppKey) -> Option<String> {
        let Owner::Space(name) = &key.owner else { return None };
        let world = self.world();
        Some(world.domains.get(&key.domain)?.arn_of(&format!("space/{}/{name}", key.domain)))
    }

    /// Begins to stop an app: its sessions end now, its SSH server soon, and after a while it is Deleted.
    /// Says whether it was running.
    pub(crate) fn take_down(self: &Arc<Self>, key: &AppKey) -> bool {
        let run = {
            let mut world = self.world();
            let stoppable = [AppStatus::InService, AppStatus::Failed];
            let Some(app) = world.apps.get_mut(key).filter(|app| stoppable.contains(&app.status)) else {
                return false;
            };
            app.status = AppStatus::Deleting;
            app.ssh = None;
            app.run.clone()
        };
        self.live().end_run(&run);
        let (cloud, key) = (Arc::clone(self), key.clone());
        self.later(async move {
            if let Some(arn) = cloud.space_arn_of(&key) {
                cloud.spaces.stop(&arn).await;
            }
            cloud.clock.pass(cloud.delays().app_stop).await;
            let now = cloud.clock.now();
            if let Some(app) = cloud.world().apps.get_mut(&key).filter(|app| app.run == run) {
                app.status = AppStatus::Deleted;
                app.ended = Some(now);
            }
        });
        true
    }

    /// Lets a space that is Pending or Updating come into service.
    pub(crate) fn settle_space(self: &Arc<Self>, domain: &str, name: &str) {
        let (cloud, key) = (Arc::clone(self), (domain.to_owned(), name.to_owned()));
        self.later(async move {
            cloud.clock.pass(cloud.delays().space_change).await;
            let changing = [SpaceStatus::Pending, SpaceStatus::Updating];
            if let Some(space) = cloud.world().spaces.get_mut(&key).filter(|s| changing.contains(&s.status)) {
                space.status = SpaceStatus::InService;
            }
        });
    }

    /// Lets a space that is Deleting go.
    pub(crate) fn remove_space(self: &Arc<Self>, domain: &str, name: &str) {
        let (cloud, key) = (Arc::clone(self), (domain.to_owned(), name.to_owned()));
        self.later(async move {
            cloud.clock.pass(cloud.delays().space_change).await;
            let mut world = cloud.world();
            if world.spaces.get(&key).is_some_and(|space| space.status == SpaceStatus::Deleting) {
                world.spaces.remove(&key);
                world.apps.retain(|app, _| app.domain != key.0 || app.owner != Owner::Space(key.1.clone()));
            }
        });
    }

    /// Forgets apps that were deleted longer ago than AWS lists them.
    pub(crate) fn forget_old_apps(&self) {
        let (now, listed) = (self.clock.now(), self.clock.scaled(self.delays().deleted_listed));
        // A fast clock must not make apps vanish before anyone could look.
        let listed = listed.max(Duration::from_secs(60));
        self.world().apps.retain(|_, app| {
            app.status != AppStatus::Deleted || app.ended.is_none_or(|ended| ended + listed > now)
        });
    }
}
