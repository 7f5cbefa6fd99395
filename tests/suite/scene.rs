//! A gateway with pages, the provider that its people sign in with, and pictures of what they see.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use spaceport_tests::browser::{Browser, Theme};
use spaceport_tests::client::{Client, run};
use spaceport_tests::provider::{CLIENT, Provider, SECRET, account};
use spaceport_tests::visitor::{Page, Visitor};
use spaceport_tests::world::{Wish, World};
use studio_simulator::simulator::Config;
use tempfile::TempDir;
use tokio::process::Command;

use crate::terminal::Screen;

/// Nobody of its people is in the gateway's file.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) provider: Provider,
    pub(crate) site: String,
}

/// What is not as usual.
pub(crate) struct Setting {
    /// Settings of the provider.
    pub(crate) provider: Value,
    /// More lines for the gateway's `[web]`.
    pub(crate) web: String,
    /// More lines for its `[ssh]`.
    pub(crate) ssh: String,
    /// More lines for the domain.
    pub(crate) domain: String,
    /// More lines for its configuration.
    pub(crate) gateway: String,
    /// More variables for the gateway.
    pub(crate) environment: Vec<(String, String)>,
    /// The account.
    pub(crate) account: Config,
    /// How browsers reach it.
    pub(crate) scheme: &'static str,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            provider: json!({}),
            web: String::new(),
            ssh: String::new(),
            domain: String::new(),
            gateway: String::new(),
            environment: Vec::new(),
            account: Config::default(),
            scheme: "http",
        }
    }
}

impl Scene {
    /// Anna is a user, Ada an admin, Oskar in no group that may sign in.
    pub(crate) async fn new() -> Result<Self> {
        Self::with(Setting::default()).await
    }

    /// The same where nobody is asked to approve a new key: an unknown one is refused at once.
    pub(crate) async fn without_approvals() -> Result<Self> {
        let gateway = "[ssh.approval]\nenabled = false\n".to_owned();
        Self::with(Setting { gateway, ..Setting::default() }).await
    }

    pub(crate) async fn with(setting: Setting) -> Result<Self> {
        // The address must be known before either of the two is there.
        let port = free_port()?;
        let site = format!("{}://localhost:{port}", setting.scheme);
        let people =
            [account("anna", &["ml"]), account("ada", &["ml", "platform"]), account("oskar", &["hr"])];
        let callback = format!("{site}/signin/idp/callback");
        let provider = Provider::with(&people, &[&callback], setting.provider).await?;
        provider.register(CLIENT, SECRET, &[&callback], &[&format!("{site}/signin")]).await?;
        let issuer = &provider.issuer;
        // Tests look at a page again and again until it shows something.
        let pages = if setting.web.contains("page_requests_per_min") {
            ""
        } else {
            "page_requests_per_min = 1000000\n"
        };
        let gateway = format!(
            "[web]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{site}\"\nrenew_every_s = 1\n{pages}{}\n\n\
             [[providers]]\nalias = \"idp\"\nname = \"Example login\"\nissuer = \"{issuer}\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = \"{SECRET}\"\nrequired_groups = [\"ml\"]\n\
             scopes = [\"email\", \"profile\", \"groups\", \"offline_access\"]\n\n\
             [roles]\nadmin = [\"idp/platform\"]\nauditor = [\"idp/auditors\"]\n\n\
             [[access.members]]\ndomain = \"main\"\ngroup = \"idp/ml\"\n\n{}\n",
            setting.web, setting.gateway
        );
        let Setting { ssh, domain, environment, account, .. } = setting;
        let wish = Wish { gateway, ssh, domain, environment, account, ..Wish::default() };
        let world = World::with(wish).await?;
        Ok(Self { world, provider, site })
    }

    /// Where the pages' listener is.
    pub(crate) fn pages(&self) -> Result<SocketAddr> {
        let port = reqwest::Url::parse(&self.site)?.port().context("a port")?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.site)
    }

    /// Somebody's browser, on the page where signing in leaves it.
    pub(crate) async fn sign_in(&self, login: &str) -> Result<(Visitor, Page)> {
        let visitor = Visitor::new()?;
        let form = visitor.get(&self.page("/signin/idp?return=/keys")).await?;
        let page = form.form("signin")?.set("login", login).submit().await?;
        Ok((visitor, page))
    }

    /// A laptop with a key that nobody knows.
    pub(crate) async fn new_laptop(&self, name: &str) -> Result<Client> {
        let laptop = Client::new(&self.world.folder().join(name)).await?;
        laptop.configure(self.world.gateway.ssh, &["team", "demo", "spaceport"])?;
        Ok(laptop)
    }

    /// A laptop whose key Anna, or whoever, has added.
    pub(crate) async fn laptop(&self, login: &str) -> Result<(Client, Visitor)> {
        let (visitor, page) = self.sign_in(login).await?;
        let laptop = self.new_laptop(login).await?;
        let page = page.is(200)?.form("/keys")?.set("key", &laptop.public_key()?).submit().await?;
        page.is(200)?.shows("SHA256:")?;
        Ok((laptop, visitor))
    }

    pub(crate) async fn shell(&self, laptop: &Client) -> Result<Screen> {
        let config = laptop.config().display().to_string();
        let line = format!("ssh -F {config} -o LogLevel=INFO team; echo ended $?; sleep 60");
        let screen = Screen::open(&self.world, &line).await?;
        screen.line("echo ready $((40+2))").await?;
        screen.shows("ready 42").await?;
        Ok(screen)
    }

    pub(crate) async fn refusals(&self) -> Result<u64> {
        let kinds = "SELECT count(*) FROM audit WHERE kind IN ('login.refused', 'web.refused')";
        let count = self.world.value(kinds).await?;
        Ok(count.context("a count")?.parse()?)
    }
}

/// A certificate for pages on this machine, and its key, in files that end with it.
pub(crate) struct Tls {
    /// The lines for the gateway's `[web]`.
    pub(crate) web: String,
    pem: Vec<u8>,
    _folder: TempDir,
}

impl Tls {
    pub(crate) async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-out").arg(&certificate).arg("-keyout").arg(&key).stderr(Stdio::null());
        run(openssl, &[]).await?.well().context("openssl")?;
        let web =
            format!("tls_certificate = \"{}\"\ntls_key = \"{}\"\n", certificate.display(), key.display());
        Ok(Self { web, pem: std::fs::read(&certificate)?, _folder: folder })
    }

    /// The certificate, for who is to trust it.
    pub(crate) fn trusted(&self) -> Result<reqwest::Certificate> {
        Ok(reqwest::Certificate::from_pem(&self.pem)?)
    }
}

/// A port that nobody listens on, below those that the system gives to connections, and that no other test was given: it
/// stays free until it is used.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..100 {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(20_000 + (std::process::id().wrapping_mul(97) + given) % 12_000)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free")
}

/// The most that the first paint of a page may load, in bytes.
const FIRST_PAINT: u64 = 60 * 1024;

/// Pictures of pages, on a phone and on a desk, by day and by night. With `SPACEPORT_SCREENSHOTS` they are kept there.
pub(crate) struct Pictures {
    folder: PathBuf,
    /// Whether they outlive the test.
    kept: bool,
    taken: usize,
}

impl Pictures {
    pub(crate) fn of(scene: &Scene) -> Result<Self> {
        let kept = std::env::var_os("SPACEPORT_SCREENSHOTS").map(PathBuf::from);
        let is_kept = kept.is_some();
        let folder = kept.unwrap_or_else(|| scene.world.folder().join("pictures"));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, kept: is_kept, taken: 0 })
    }

    /// Of a page, which must not stick out sideways, keep anybody out by the rules of WCAG, load anything from elsewhere
    /// or weigh more than a first paint may. Nor must its menus, and what else is closed at first.
    pub(crate) async fn take(&mut self, browser: &mut Browser, name: &str) -> Result<()> {
        let (loaded, here) = (browser.traffic().await?, browser.url().await?);
        let here = reqwest::Url::parse(&here)?.origin().ascii_serialization();
        for (url, _) in &loaded {
            ensure!(url.starts_with(&here), "{name} loads {url}");
        }
        let bytes: u64 = loaded.iter().map(|(_, bytes)| bytes).sum();
        ensure!(bytes <= FIRST_PAINT, "{name} loads {bytes} bytes: {loaded:?}");
        self.look(browser, name).await
    }

    /// The same of a page that may weigh what it likes.
    pub(crate) async fn look(&mut self, browser: &mut Browser, name: &str) -> Result<()> {
        for (width, height) in [(390, 844), (1440, 900)] {
            for theme in [Theme::Light, Theme::Dark] {
                self.taken += 1;
                let file = self.folder.join(format!("{name}-{width}-{theme:?}.png"));
                browser.screenshot(&file, (width, height), theme).await?;
                let violations = browser.violations().await?;
                ensure!(violations.is_empty(), "{name} at {width}, {theme:?}: {violations:#?}");
                let inside = self.kept.then(|| file.with_extension(""));
                let wrong = browser.violations_inside(inside.as_deref()).await?;
                ensure!(wrong.is_empty(), "{name} at {width}, {theme:?}: {wrong:#?}");
            }
            ensure!(!browser.overflows(width, height).await?, "{name} sticks out at {width}");
        }
        Ok(())
    }

    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }
}
