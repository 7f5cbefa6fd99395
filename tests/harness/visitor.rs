//! A person with a browser without scripts: keeps cookies, follows redirects, fills in forms.

mod jar;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use reqwest::header::{HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Method, StatusCode, Url};

pub use crate::form::{Form, forms};
use jar::Jar;

/// How many redirects a browser follows.
const REDIRECTS: usize = 20;

/// A browser; its clones share the cookies, as tabs do.
#[derive(Clone)]
pub struct Visitor {
    http: reqwest::Client,
    jar: Arc<Mutex<Jar>>,
    stop: Option<String>,
}

/// What a page says of itself, and how one came there.
#[derive(Clone)]
pub struct Page {
    visitor: Visitor,
    /// Where it is, after redirects.
    pub url: Url,
    /// The last answer's status.
    pub status: StatusCode,
    /// The last answer's headers.
    pub headers: HeaderMap,
    /// The last answer's body as text.
    pub body: String,
    /// The answers on the way, this one included: address, status and headers.
    pub hops: Vec<(Url, StatusCode, HeaderMap)>,
    /// Where the last answer sends the browser, which did not follow: see [`Visitor::stopping_at`].
    pub next: Option<Url>,
}

impl Visitor {
    /// A browser without cookies.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new() -> Result<Self> {
        Self::with(reqwest::Client::builder())
    }

    /// A browser with a network of its own: an address to come from, headers, authorities to trust.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn with(network: ClientBuilder) -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = network.no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { http, jar: Arc::default(), stop: None })
    }

    /// The same browser, which does not follow redirects to addresses that begin like this; the empty text stops at all.
    #[must_use]
    pub fn stopping_at(&self, prefix: &str) -> Self {
        Self { stop: Some(prefix.to_owned()), ..self.clone() }
    }

    /// The same browser, cookies and all, at another address of this machine.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn at(&self, address: Ipv4Addr) -> Result<Self> {
        let moved = Self::with(reqwest::Client::builder().local_address(Some(address.into())))?;
        Ok(Self { http: moved.http, ..self.clone() })
    }

    /// Opens an address, as if it were typed in.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, url: &str) -> Result<Page> {
        self.open(Method::GET, Url::parse(url)?, HeaderMap::new(), None).await
    }

    /// Sends fields by POST from a page of an origin; `None` sends no `Origin`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, origin: Option<&str>, url: &str, fields: &[(String, String)]) -> Result<Page> {
        let url = Url::parse(url)?;
        self.open(Method::POST, url.clone(), from(origin, &url)?, Some(fields)).await
    }

    /// The value of a cookie that an address would get.
    ///
    /// # Errors
    /// When the address is none.
    pub fn cookie(&self, url: &str, name: &str) -> Result<Option<String>> {
        let cookies = self.jar.lock().unwrap_or_else(PoisonError::into_inner).of(&Url::parse(url)?);
        Ok(cookies.into_iter().find(|(known, _)| known == name).map(|(_, value)| value))
    }

    /// Keeps a cookie for a whole host, as a thief does who copied it.
    ///
    /// # Errors
    /// When the address is none.
    pub fn keep(&self, url: &str, name: &str, value: &str) -> Result<()> {
        let url = Url::parse(url)?;
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).set(&url, &format!("{name}={value}; Path=/"));
        Ok(())
    }

    /// Forgets every cookie.
    pub fn forget(&self) {
        *self.jar.lock().unwrap_or_else(PoisonError::into_inner) = Jar::default();
    }

    async fn open(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        fields: Option<&[(String, String)]>,
    ) -> Result<Page> {
        let (mut method, mut url, mut fields) = (method, url, fields);
        let mut hops = Vec::new();
        loop {
            let (status, answer, body) = self.once(&method, &url, &headers, fields).await?;
            hops.push((url.clone(), status, answer.clone()));
            let next = if status.is_redirection() { target(&url, &answer)? } else { None };
            let stops =
                |next: &Url| self.stop.as_ref().is_some_and(|prefix| next.as_str().starts_with(prefix));
            match next {
                Some(next) if !stops(&next) => {
                    ensure!(hops.len() <= REDIRECTS, "redirected again and again: {:?}", hops.last());
                    if !matches!(status.as_u16(), 307 | 308) {
                        (method, fields) = (Method::GET, None);
                    }
                    url = next;
                }
                next => {
                    return Ok(Page {
                        visitor: self.clone(),
                        url,
                        status,
                        headers: answer,
                        body,
                        hops,
                        next,
                    });
                }
            }
        }
    }

    async fn once(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        fields: Option<&[(String, String)]>,
    ) -> Result<(StatusCode, HeaderMap, String)> {
        let mut asked = self.http.request(method.clone(), url.clone());
        if *method != Method::GET {
            asked = asked.headers(headers.clone());
        }
        let cookies = self.jar.lock().unwrap_or_else(PoisonError::into_inner).of(url);
        if !cookies.is_empty() {
            let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            asked = asked.header("cookie", pairs.join("; "));
        }
        if let Some(fields) = fields {
            asked = asked.form(fields);
        }
        let answer = asked.header("accept", "text/html,*/*").send().await.with_context(|| url.to_string())?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            self.jar.lock().unwrap_or_else(PoisonError::into_inner).set(url, cookie.to_str()?);
        }
        Ok((status, headers, answer.text().await?))
    }
}

/// The headers by which a browser tells where a form was.
fn from(origin: Option<&str>, to: &Url) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(origin) = origin {
        let same = to.origin().ascii_serialization() == origin;
        headers.insert("origin", HeaderValue::from_str(origin)?);
        headers.insert(
            "sec-fetch-site",
            HeaderValue::from_static(if same { "same-origin" } else { "cross-site" }),
        );
        headers.insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
    }
    Ok(headers)
}

fn target(url: &Url, headers: &HeaderMap) -> Result<Option<Url>> {
    headers.get(LOCATION).map(|location| Ok(url.join(location.to_str()?)?)).transpose()
}

impl Page {
    /// The page's form with this name, id or action.
    ///
    /// # Errors
    /// When it has none such.
    pub fn form(&self, name: &str) -> Result<Filled> {
        let all = forms(&self.body);
        let found = all.iter().find(|form| form.is(name)).cloned();
        let form = found.with_context(|| format!("no form {name} among {all:?} in {self:?}"))?;
        Ok(Filled { visitor: self.visitor.clone(), url: self.url.clone(), form, wrong: None })
    }

    /// A header's text, empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Every cookie that was set on the way, as the answers wrote it.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<String> {
        let all = self.hops.iter().flat_map(|(_, _, headers)| headers.get_all(SET_COOKIE));
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// Itself if the status is this one.
    ///
    /// # Errors
    /// When it is another, with what the page shows.
    pub fn is(self, status: u16) -> Result<Self> {
        ensure!(self.status.as_u16() == status, "wanted {status}: {self:?}");
        Ok(self)
    }

    /// Itself if the page shows a text.
    ///
    /// # Errors
    /// When it does not, with what it shows.
    pub fn shows(self, text: &str) -> Result<Self> {
        ensure!(self.body.contains(text), "wanted {text:?}: {self:?}");
        Ok(self)
    }

    /// A parameter in the query of where the browser was sent, or else of where it is.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let url = self.next.as_ref().unwrap_or(&self.url);
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way: Vec<String> =
            self.hops.iter().map(|(url, status, _)| format!("{} {url}", status.as_u16())).collect();
        write!(
            out,
            "{} (next {:?})\n{}",
            way.join("\n  then "),
            self.next.as_ref().map(Url::as_str),
            self.body
        )
    }
}

/// A form that is being filled in. A mistake is told by [`Self::submit`].
pub struct Filled {
    visitor: Visitor,
    url: Url,
    form: Form,
    wrong: Option<anyhow::Error>,
}

impl Filled {
    /// Fills in a field, ticks a box or presses a button.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        if let Err(error) = self.form.put(name, value) {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// Takes a field away, as a forger would.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.form.drop_field(name);
        self
    }

    /// What it holds.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Sends it.
    ///
    /// # Errors
    /// When a field was not there, or there is no answer.
    pub async fn submit(self) -> Result<Page> {
        let Self { visitor, url, form, wrong } = self;
        if let Some(wrong) = wrong {
            return Err(wrong.context(format!("the form at {url}")));
        }
        let mut to = if form.action.is_empty() { url.clone() } else { url.join(&form.action)? };
        if form.post {
            let headers = from(Some(&url.origin().ascii_serialization()), &to)?;
            return visitor.open(Method::POST, to, headers, Some(&form.fields)).await;
        }
        to.query_pairs_mut().clear().extend_pairs(&form.fields);
        visitor.open(Method::GET, to, HeaderMap::new(), None).await
    }
}
