//! Messages of admins to the terminals of a session, from its row and from its page.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::one;
use crate::domain::ids::{MessageId, SessionId};
use crate::domain::message::{MOST_IN_A_MINUTE, MessageText};
use crate::store::messages::MessageRequest;
use crate::web::pages::Problem;
use crate::web::site::Site;
use crate::web::visit::Admin;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Wish {
    #[serde(default)]
    text: String,
    #[serde(default)]
    back: String,
}

/// What a form was refused for, and what it had.
pub(super) struct Refused {
    pub(super) why: String,
    pub(super) typed: String,
}

/// Sends one, and waits until it is known what came of it.
pub(in crate::web) async fn send(
    State(site): State<Arc<Site>>,
    Admin(person): Admin,
    Path(session): Path<String>,
    form: Result<Form<Wish>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(Wish { text: typed, back }) = form.map_err(|_| Problem::Form)?;
    let session: SessionId = session.parse().map_err(|_| Problem::NotFound)?;
    let text: MessageText = match typed.parse() {
        Ok(text) => text,
        Err(why) => {
            let refused = Refused { why: format!("It is not sent: {why}."), typed };
            let page = one::refused(&site, &person, session, refused).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    match site.store.send_message(&session.to_string(), &person.who.user.name, &text).await? {
        MessageRequest::Sent(message, session) => {
            site.store.hear_of_message(message, &*site.clock).await?;
            let page = if back == "one" { format!("/sessions/{session}") } else { "/sessions".to_owned() };
            Ok(Redirect::to(&format!("{page}?messaged={message}")).into_response())
        }
        MessageRequest::TooMany(wait) => {
            let seconds = wait.as_secs();
            let why = format!(
                "It is not sent: the session has had {MOST_IN_A_MINUTE} messages in a minute, the most that it gets. \
                 Wait {seconds} s."
            );
            let page = one::refused(&site, &person, session, Refused { why, typed }).await?;
            Ok((StatusCode::TOO_MANY_REQUESTS, AppendHeaders([(RETRY_AFTER, seconds)]), page).into_response())
        }
        MessageRequest::NotLive | MessageRequest::Several(_) => Err(Problem::NotFound),
    }
}

/// What came of a message that an address names, in words; of one to this session, if only those count.
pub(super) async fn told(
    site: &Site,
    message: &str,
    of: Option<SessionId>,
) -> Result<Option<String>, Problem> {
    let Ok(message) = message.parse::<MessageId>() else { return Ok(None) };
    let Some((session, told)) = site.store.message(message).await? else { return Ok(None) };
    let wanted = of.is_none_or(|of| of == session);
    Ok(wanted.then(|| format!("Session {}: {}", session.short(), told.words())))
}
