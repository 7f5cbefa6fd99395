//! Cookies as a browser keeps them: by host (not port) and path.

use reqwest::Url;

/// The cookies of a browser.
#[derive(Debug, Default)]
pub(super) struct Jar {
    cookies: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
    secure: bool,
}

impl Jar {
    /// The cookies that an address gets, those with the longest path first.
    pub(super) fn of(&self, url: &Url) -> Vec<(String, String)> {
        let host = url.host_str().unwrap_or_default();
        let safe = safe(url);
        let mut found: Vec<&Cookie> = self.cookies.iter().filter(|cookie| cookie.host == host).collect();
        found.retain(|cookie| (safe || !cookie.secure) && covers(&cookie.path, url.path()));
        found.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        found.into_iter().map(|cookie| (cookie.name.clone(), cookie.value.clone())).collect()
    }

    /// Keeps what a `Set-Cookie` line says, or forgets the cookie if it is to end at once.
    pub(super) fn set(&mut self, url: &Url, line: &str) {
        let mut parts = line.split(';').map(|part| part.trim().split_once('=').unwrap_or((part.trim(), "")));
        let Some((name, value)) = parts.next() else { return };
        let attributes: Vec<(String, &str)> =
            parts.map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
        let find = |key: &str| attributes.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
        let secure = find("secure").is_some();
        let host = url.host_str().unwrap_or_default().to_owned();
        let path =
            find("path").filter(|path| path.starts_with('/')).map_or_else(|| folder(url), str::to_owned);
        // A browser takes these only when they are what their name promises.
        let whole = path == "/" && find("domain").is_none();
        if (secure && !safe(url))
            || (name.starts_with("__Host-") && !(secure && whole))
            || (name.starts_with("__Secure-") && !secure)
        {
            return;
        }
        self.cookies.retain(|old| !(old.host == host && old.path == path && old.name == name));
        // The epoch is how servers write "over"; no test waits for another date.
        let over = find("max-age").is_some_and(|age| age.parse::<i64>().is_ok_and(|age| age <= 0))
            || find("expires").is_some_and(|date| date.contains(" 1970 "));
        if !over {
            self.cookies.push(Cookie { host, path, name: name.to_owned(), value: value.to_owned(), secure });
        }
    }
}

/// Whether cookies that want a safe connection go there: browsers count loopback.
fn safe(url: &Url) -> bool {
    url.scheme() == "https"
        || matches!(url.host_str(), Some("localhost" | "[::1]"))
        || url.host_str().is_some_and(|host| host.starts_with("127."))
}

/// The path of a cookie that names none.
fn folder(url: &Url) -> String {
    match url.path().rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((folder, _)) => folder.to_owned(),
    }
}

fn covers(cookie: &str, path: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}
