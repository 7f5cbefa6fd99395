//! Messages to the terminals of a session.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::SessionId;
use crate::domain::message::{MOST_IN_A_MINUTE, MessageText, Told};
use crate::store::messages::MessageRequest;
use crate::web::api::admit::Caller;
use crate::web::api::problem::{Kind, Problem};
use crate::web::api::read::Body;
use crate::web::api::told::Json;
use crate::web::pages::users::sentence;
use crate::web::site::Site;

/// A message to whoever is at the terminals of a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::web::api) struct Message {
    /// One paragraph without control characters. Letters other than ASCII are shown as `?`.
    #[schema(min_length = 1, max_length = 500)]
    text: String,
}

/// What came of a message.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It is on a terminal.
    Shown,
    /// There are terminals, and none of them has shown it yet.
    Waiting,
    /// There is no terminal that could show it.
    NoTerminal,
    /// The gateway that serves the session took it and has not said more.
    Unconfirmed,
}

/// What came of a message.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web::api) struct Messaged {
    /// In one word.
    #[schema(inline)]
    outcome: Outcome,
    /// How many terminals have shown it.
    terminals: u32,
    /// How many more have it and could show nothing while the others were counted.
    waiting: u32,
    /// The same for people.
    says: String,
}

/// Writes to the open terminals of a live session, with the caller's name. The answer says in how many it was shown, and
/// comes within some seconds. A session gets 10 messages a minute.
#[utoipa::path(
    post, path = "/sessions/{session}/message", operation_id = "messageSession", tag = "Sessions",
    params(("session" = String, Path, description = "Its id")), request_body = Message,
    responses((status = 200, body = Messaged)), security(("token" = ["sessions:write"]))
)]
pub(in crate::web::api) async fn send(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(session): Path<String>,
    Body(message): Body<Message>,
) -> Result<Json<Messaged>, Problem> {
    let session: SessionId = session.parse().map_err(|_| Problem::not_found())?;
    let text: MessageText = message.text.parse().map_err(|why| Problem::invalid(sentence(why)))?;
    let id = match site.store.send_message(&session.to_string(), &caller.user.name, &text).await? {
        MessageRequest::Sent(id, _) => id,
        MessageRequest::TooMany(wait) => {
            let what = format!("A session gets {MOST_IN_A_MINUTE} messages a minute.");
            return Err(Problem::too_often(&what, wait.as_secs()));
        }
        MessageRequest::NotLive | MessageRequest::Several(_) => return Err(Problem::not_found()),
    };
    let told = site.store.hear_of_message(id, &*site.clock).await?;
    let (outcome, terminals, waiting) = match told {
        Told::Shown { terminals: 0, waiting } => (Outcome::Waiting, 0, waiting),
        Told::Shown { terminals, waiting } => (Outcome::Shown, terminals, waiting),
        Told::NoTerminal(_) => (Outcome::NoTerminal, 0, 0),
        Told::Unconfirmed => (Outcome::Unconfirmed, 0, 0),
        // Nothing was done, so that a second try with the same key is one.
        Told::NotTaken => return Err(Problem::new(Kind::Away, capital(&told.words()))),
    };
    Ok(Json(Messaged { outcome, terminals, waiting, says: capital(&told.words()) }))
}

/// A sentence with a capital.
fn capital(words: &str) -> String {
    sentence(words.trim_end_matches('.'))
}
