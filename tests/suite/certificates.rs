//! OpenSSH certificates, made by `ssh-keygen` and offered by `ssh`: what lets people in, and every reason that does not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::client::{Client, Done, run};
use spaceport_tests::until::until;
use spaceport_tests::world::{SPACES, Wish, World};
use tempfile::TempDir;
use tokio::process::Command;

async fn keygen(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").args(arguments);
    run(command, &[]).await?.well().with_context(|| format!("ssh-keygen {arguments:?}"))?;
    Ok(())
}

/// An authority that is not the gateway's.
struct Authority {
    key: PathBuf,
}

impl Authority {
    async fn new(folder: &Path, name: &str, kind: &[&str]) -> Result<Self> {
        let key = folder.join(name);
        let file = key.display().to_string();
        keygen(&[kind, &["-N", "", "-C", name, "-f", &file]].concat()).await?;
        Ok(Self { key })
    }

    fn public_key(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.key.with_extension("pub"))?.trim().to_owned())
    }

    /// Certifies a laptop's key, in the file where `ssh` looks for it.
    async fn certify(&self, laptop: &Client, arguments: &[&str]) -> Result<()> {
        let (ca, key) = (self.key.display().to_string(), format!("{}.pub", laptop.key().display()));
        keygen(&[&["-s", &ca, "-I", "a test"], arguments, &[&key]].concat()).await
    }
}

/// A world that trusts `corp` and an RSA authority, and a laptop whose key nobody has listed.
struct Stage {
    world: World,
    laptop: Client,
    corp: Authority,
    rsa: Authority,
    folder: TempDir,
}

impl Stage {
    async fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("spaceport-ca-")?;
        let corp = Authority::new(folder.path(), "corp", &["-t", "ed25519"]).await?;
        let rsa = Authority::new(folder.path(), "rsa", &["-t", "rsa", "-b", "3072"]).await?;
        let gateway = format!(
            "[ssh.certificates]\n\
             [[ssh.certificates.trusted]]\nname = \"corp\"\nkey = \"{}\"\nprincipals = \"name\"\n\
             revoked_serials = [\"13\"]\n\
             [[ssh.certificates.trusted]]\nname = \"old\"\nkey = \"{}\"\nprincipals = {{ a-smith = \"alice\" }}\n",
            corp.public_key()?,
            rsa.public_key()?,
        );
        let world = World::with(Wish { gateway, ..Wish::default() }).await?;
        let laptop = Client::new(&world.folder().join("certified")).await?;
        laptop.configure(world.gateway.ssh, SPACES)?;
        Ok(Self { world, laptop, corp, rsa, folder })
    }

    async fn hello(&self) -> Result<Done> {
        self.laptop.ssh(["demo", "echo hi"]).await
    }

    /// The client is refused, and the log has the reason.
    async fn refused(&self, reason: &str) -> Result<()> {
        let seen = || -> Result<usize> {
            let lines = self.world.gateway.log()?;
            Ok(lines
                .iter()
                .filter(|line| line["message"] == "login refused" && line["reason"] == reason)
                .count())
        };
        let before = seen()?;
        let done = self.hello().await?;
        ensure!(done.code == 255 && done.stderr.contains("Permission denied"), "{reason}: {done:?}");
        let what = format!("a refusal for {reason:?}");
        until(&what, Duration::from_secs(10), async || Ok((seen()? > before).then_some(()))).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_trusted_authorities_let_the_person_in() -> Result<()> {
    let stage = Stage::new().await?;
    stage.refused("unknown key").await?;
    stage.corp.certify(&stage.laptop, &["-n", "alice", "-V", "-1m:+10m"]).await?;
    assert_eq!(stage.hello().await?.well()?.text(), "hi\n");
    let fingerprint = {
        let mut list = Command::new("ssh-keygen");
        list.arg("-lf").arg(stage.laptop.key());
        run(list, &[]).await?.text()
    };
    let fingerprint = fingerprint.split_whitespace().nth(1).context("a fingerprint")?.to_owned();
    let newest = "(SELECT key_fingerprint FROM sessions ORDER BY started_at DESC LIMIT 1)";
    stage.world.expect(newest, &fingerprint).await?;
    let user =
        "(SELECT u.name FROM sessions s JOIN users u ON u.id = s.user_id ORDER BY started_at DESC LIMIT 1)";
    stage.world.expect(user, "alice").await?;
    // Another authority, with SHA-2 over RSA and a list of who is who.
    stage.rsa.certify(&stage.laptop, &["-n", "a-smith", "-O", "source-address=127.0.0.0/8,::1"]).await?;
    assert_eq!(stage.hello().await?.well()?.text(), "hi\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_refused_each_for_its_reason() -> Result<()> {
    let stage = Stage::new().await?;
    let stranger = Authority::new(stage.folder.path(), "stranger", &["-t", "ed25519"]).await?;
    let (corp, rsa) = (&stage.corp, &stage.rsa);
    let cases: &[(&Authority, &[&str], &str)] = &[
        (&stranger, &["-n", "alice"], "certificate of an unknown authority"),
        (corp, &[], "certificate without principals"),
        (corp, &["-n", "nobody"], "certificate for no known person"),
        (corp, &["-n", "alice,bo"], "certificate for several persons"),
        (rsa, &["-n", "alice"], "certificate for no known person"),
        (corp, &["-n", "alice", "-z", "13"], "certificate revoked"),
        (corp, &["-n", "alice", "-O", "force-command=true"], "certificate with force-command"),
        (
            corp,
            &["-n", "alice", "-O", "critical:new@example.com=1"],
            "certificate with an unknown critical option",
        ),
        (
            corp,
            &["-n", "alice", "-O", "source-address=192.0.2.0/24,2001:db8::/32"],
            "certificate not valid from this address",
        ),
        (rsa, &["-t", "ssh-rsa", "-n", "a-smith"], "certificate signed with an unsupported algorithm"),
        // A host's certificate the client does not even offer.
        (corp, &["-h", "-n", "alice"], "unknown key"),
        // These russh turns away by itself, without a word to us: the bare key that follows is what is seen.
        (corp, &["-n", "alice", "-V", "20200101:20200102"], "unknown key"),
        (corp, &["-n", "alice", "-V", "+1h:+2h"], "unknown key"),
    ];
    for (authority, arguments, reason) in cases {
        authority.certify(&stage.laptop, arguments).await?;
        stage.refused(reason).await.with_context(|| format!("{arguments:?}"))?;
    }
    let first = "SELECT count(*) FROM audit WHERE kind = 'auth.refused' \
                 AND detail->>'why' = 'certificate of an unknown authority'";
    stage.world.expect(first, "1").await?;
    // None of that stands in the way of a good one.
    corp.certify(&stage.laptop, &["-n", "alice"]).await?;
    assert_eq!(stage.hello().await?.well()?.text(), "hi\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_certificate_does_not_permit_is_refused() -> Result<()> {
    let stage = Stage::new().await?;
    stage.corp.certify(&stage.laptop, &["-n", "alice", "-O", "no-port-forwarding", "-O", "no-pty"]).await?;
    assert_eq!(stage.hello().await?.well()?.text(), "hi\n");
    let terminal = stage.laptop.ssh(["-tt", "demo", "tty"]).await?;
    ensure!(!terminal.text().contains("/dev/"), "no terminal: {terminal:?}");
    let forward = stage.laptop.ssh(["-o", "LogLevel=INFO", "-W", "127.0.0.1:22", "demo"]).await?;
    ensure!(forward.code != 0 && forward.stderr.contains("certificate"), "{forward:?}");
    stage.corp.certify(&stage.laptop, &["-n", "alice"]).await?;
    let terminal = stage.laptop.ssh(["-tt", "demo", "tty"]).await?.well()?;
    ensure!(terminal.text().contains("/dev/"), "a terminal: {terminal:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_last_as_long_as_the_persons_standing() -> Result<()> {
    let stage = Stage::new().await?;
    let key = format!("{}.pub", stage.laptop.key().display());
    let config = stage.world.config().display().to_string();
    let issue = ["certificate", "issue", "--user", "alice", "--key", &key, "--config", &config];
    let issued = stage.world.operator(&issue).await?.well()?.text();
    ensure!(issued.starts_with("ssh-ed25519-cert-v01@openssh.com "), "{issued}");
    std::fs::write(key.replace(".pub", "-cert.pub"), &issued)?;
    stage.world.expect("SELECT count(*) FROM audit WHERE kind = 'certificate.issued'", "1").await?;
    let authority = stage.world.operator(&["certificate", "authority", "--config", &config]).await?.well()?;
    ensure!(authority.text().starts_with("ssh-ed25519 "), "{authority:?}");
    assert_eq!(stage.hello().await?.well()?.text(), "hi\n");
    let nobody = ["certificate", "issue", "--user", "nobody", "--key", &key, "--config", &config];
    let nobody = stage.world.operator(&nobody).await?;
    ensure!(nobody.code == 1 && nobody.stderr.contains("nobody is called"), "{nobody:?}");
    let alice = "name = \"alice\"\n";
    stage.world.reconfigure(|text| text.replace(alice, &format!("{alice}suspended = true\n"))).await?;
    stage.refused("suspended").await?;
    // An authority outside cannot give standing either.
    stage.corp.certify(&stage.laptop, &["-n", "alice"]).await?;
    stage.refused("suspended").await
}
