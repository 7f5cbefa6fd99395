//! Looking inside spaces, for idleness.

use async_trait::async_trait;

use super::Gateway;
use crate::domain::idle::{Inside, NoLook};
use crate::domain::ports::Eyes;
use crate::domain::run::OpenRun;

#[async_trait]
impl Eyes for Gateway {
    async fn look_inside(&self, _run: &OpenRun) -> Result<Inside, NoLook> {
        Err(NoLook { why: "no look inside is set up".to_owned(), not_set_up: true })
    }

    async fn person_at_work(&self, _run: &OpenRun) {}
}
