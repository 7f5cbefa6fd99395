//! The demo's people: an OpenID provider that believes whoever gives a name, and a laptop's key that is Alice's.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use spaceport_tests::client::Client;
use spaceport_tests::provider::{CLIENT, Provider, SECRET, account};
use spaceport_tests::visitor::Visitor;

/// Who can sign in, and their groups. The spaces are Alice's and Bo's.
const PEOPLE: [(&str, &[&str]); 4] =
    [("alice", &["ml"]), ("bo", &["ml"]), ("audrey", &["ml", "auditors"]), ("ada", &["ml", "platform"])];

/// The provider, and where the pages are to be.
pub(super) struct People {
    provider: Provider,
    /// The port of the pages.
    port: u16,
}

impl People {
    /// Starts the provider. The ports stay the same from one demo to the next, so that logins and bookmarks last.
    pub(super) async fn start(folder: &Path) -> Result<Self> {
        let [port, provider_port] = ports(&folder.join("ports"))?;
        let people: Vec<_> = PEOPLE.iter().map(|(name, groups)| account(name, groups)).collect();
        let site = site(port);
        let back = format!("{site}/signin/idp/callback");
        let provider = Provider::with(&people, &[&back], json!({ "port": provider_port })).await?;
        provider.register(CLIENT, SECRET, &[&back], &[&format!("{site}/signin")]).await?;
        Ok(Self { provider, port })
    }

    /// Where the pages are.
    pub(super) fn site(&self) -> String {
        site(self.port)
    }

    /// What the gateway is told of them.
    pub(super) fn configuration(&self) -> String {
        format!(
            "[web]\nlisten = \"127.0.0.1:{}\"\npublic_url = \"{}\"\n\n\
             [[providers]]\nalias = \"idp\"\nname = \"Example login\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n\
             client_secret = \"{SECRET}\"\nrequired_groups = [\"ml\"]\n\
             scopes = [\"email\", \"profile\", \"groups\", \"offline_access\"]\n\n\
             [roles]\nadmin = [\"idp/platform\"]\nauditor = [\"idp/auditors\"]\n\n\
             [[access.members]]\ndomain = \"main\"\ngroup = \"idp/ml\"\n",
            self.port,
            self.site(),
            self.provider.issuer
        )
    }

    /// Signs Alice in and adds the laptop's key, as she would on the page.
    pub(super) async fn add_key(&self, laptop: &Client) -> Result<()> {
        let visitor = Visitor::new()?;
        let form = visitor.get(&format!("{}/signin/idp?return=/keys", self.site())).await?;
        let page = form.form("signin")?.set("login", "alice").submit().await?.is(200)?;
        // An earlier demo has added it.
        if page.body.contains(&laptop.fingerprint().await?) {
            return Ok(());
        }
        page.form("/keys")?.set("key", &laptop.public_key()?).submit().await?.is(200)?.shows("SHA256:")?;
        Ok(())
    }
}

fn site(port: u16) -> String {
    format!("http://localhost:{port}")
}

/// The ports in a file; free ones are written there the first time.
fn ports<const N: usize>(file: &Path) -> Result<[u16; N]> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let ports = text.split_whitespace().map(str::parse).collect::<Result<Vec<u16>, _>>();
            let ports = ports.ok().and_then(|ports| ports.try_into().ok());
            ports.with_context(|| format!("{} is damaged; remove it", file.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // All are held until each has one.
            let mut held = Vec::new();
            for _ in 0..N {
                held.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
            }
            let ports =
                held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<Result<Vec<u16>>>()?;
            let text: Vec<String> = ports.iter().map(u16::to_string).collect();
            std::fs::write(file, text.join(" "))?;
            ports.try_into().ok().context("as many ports as were asked for")
        }
        Err(error) => bail!("{}: {error}", file.display()),
    }
}
