//! The browsers in which a person is signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};

use super::{Bar, Problem, page_of};
use crate::web::show::minute;
use crate::web::site::Site;
use crate::web::visit::{Person, set_cookie};

#[derive(Template)]
#[template(path = "logins.html")]
struct LoginsPage {
    bar: Option<Bar>,
    logins: Vec<Row>,
}

struct Row {
    id: String,
    browser: String,
    /// The browser in its own words.
    user_agent: String,
    address: String,
    began: String,
    seen: String,
    is_this: bool,
}

/// A browser in a few words, as far as it says them itself.
fn browser(user_agent: &str) -> String {
    // Most also call themselves what others are called: the first that fits is it.
    let programs = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "a Mac"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    match (named(&programs), named(&systems)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        (None, Some(system)) => format!("A browser on {system}"),
        (None, None) => "An unknown browser".to_owned(),
    }
}

/// Every live login of the person.
pub(in crate::web) async fn list(State(site): State<Arc<Site>>, person: Person) -> Result<Response, Problem> {
    let logins = site.identity.logins_of(&person.who.user).await?;
    let logins = logins.into_iter().map(|login| Row {
        is_this: login.id == person.who.login,
        id: login.id.to_string(),
        browser: browser(&login.user_agent),
        user_agent: login.user_agent,
        address: login.address,
        began: minute(login.began_at, &person.zone),
        seen: minute(login.seen_at, &person.zone),
    });
    Ok(page_of(&LoginsPage { bar: Some(Bar::of(&person, "/logins")), logins: logins.collect() }))
}

/// Ends one of them.
pub(in crate::web) async fn end(
    State(site): State<Arc<Site>>,
    person: Person,
    Path(login): Path<String>,
) -> Result<Response, Problem> {
    let login = login.parse().map_err(|_| Problem::NotFound)?;
    if !site.identity.end_login(&person.who.user, login, &person.visitor).await? {
        return Err(Problem::NotFound);
    }
    if login != person.who.login {
        return Ok(Redirect::to("/logins").into_response());
    }
    let forget = set_cookie(site.login_cookie(), None, site.public_url.is_https(), 0);
    Ok((AppendHeaders([(header::SET_COOKIE, forget)]), Redirect::to("/signin")).into_response())
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn a_browser_is_called_what_people_call_it() {
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 \
                    Safari/537.36 Edg/131.0.0.0";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/18.1 Mobile/15E148 Safari/604.1";
        let fox = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
        assert_eq!(browser(edge), "Edge on Windows");
        assert_eq!(browser(phone), "Safari on an iPhone");
        assert_eq!(browser(fox), "Firefox on Linux");
        assert_eq!(browser(""), "An unknown browser");
    }
}
