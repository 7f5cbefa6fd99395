//! Pages with ten thousand live sessions and millions that ended: how long they take, what open ones cost, and whether
//! an export of everything holds it in memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use futures_util::future::try_join_all;
use reqwest::Client;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use spaceport_tests::provider::{CLIENT, Provider, SECRET, account};
use spaceport_tests::world::{Wish, World};
use sqlx::PgPool;

use crate::machine;
use crate::measure::Figure;

const LIVE: i32 = 10_000;
/// Sessions that ended; SPACEPORT_BENCH_ENDED says otherwise.
const ENDED: i32 = 5_000_000;
/// Rows of one statement.
const BATCH: i32 = 250_000;
const PEOPLE: i32 = 1_000;
/// Pages that are open, and whose they are: one person may have twelve.
const OPEN: usize = 200;
const ADMINS: usize = 20;
/// Times that a page is asked for.
const ASKED: usize = 41;
/// How long open pages are looked at.
const WATCHED: Duration = Duration::from_secs(30);
/// How long whoever takes an export away stops reading once it has begun: what is not held back meanwhile is in memory.
const STALLED: Duration = Duration::from_secs(5);
/// What was promised: milliseconds, cores, and MiB that an export may add; and what is aimed at for changes on a page.
const MOST_MS: f64 = 100.0;
const MOST_NEWS_MS: f64 = 1_000.0;
const MOST_CORES: f64 = 0.5;
const MOST_MIB: f64 = 64.0;

/// A gateway with pages, and the cookies of admins.
struct Site {
    world: World,
    _provider: Provider,
    url: String,
    http: Client,
    cookies: Vec<String>,
    ended: i32,
}

/// What was measured about pages, and with how many sessions.
pub(crate) struct Pages {
    pub(crate) figures: Vec<Figure>,
    pub(crate) live: usize,
    pub(crate) ended: usize,
}

/// Everything about pages.
pub(crate) async fn pages() -> Result<Pages> {
    let site = Site::start().await?;
    site.fill().await?;
    // First, while the gateway has had no reason to take memory that an export could use.
    let (mib, ended) = site.export().await?;
    let mut figures = Vec::new();
    let mut promised = |what: &str, unit, ours, most| {
        figures.push(Figure::lower(what, unit, ours, most).against("promised"));
    };
    for (what, path) in [
        ("live sessions", "/sessions"),
        ("live sessions of a person", "/sessions?q=person-77"),
        ("live sessions, longest idle first", "/sessions?sort=idle"),
        ("history", "/sessions/history"),
        ("history of a person", "/sessions/history?q=person-77"),
        ("history, a session by its id", "/sessions/history?q=abcd"),
    ] {
        promised(&format!("page, {what}, median"), "ms", site.median(path).await?, MOST_MS);
    }
    let (cores, news) = site.open_pages().await?;
    promised(&format!("{OPEN} open pages, gateway and Postgres"), "cores", cores, MOST_CORES);
    promised("memory that an export of everything adds", "MiB", mib, MOST_MIB);
    let news = Figure::lower("until a change shows on an open page, median", "ms", news, MOST_NEWS_MS);
    figures.push(news.against("aimed at"));
    let live = usize::try_from(LIVE)?;
    site.world.end().await?;
    Ok(Pages { figures, live, ended })
}

impl Site {
    async fn start() -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url = format!("http://localhost:{port}");
        let callback = format!("{url}/signin/idp/callback");
        let provider =
            Provider::with(&[account("ada", &["ml", "platform"])], &[&callback], json!({})).await?;
        provider.register(CLIENT, SECRET, &[&callback], &[&format!("{url}/signin")]).await?;
        let issuer = &provider.issuer;
        let gateway = format!(
            "[web]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{url}\"\n\n[[providers]]\nalias = \"idp\"\n\
             name = \"Example login\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT}\"\n\
             client_secret = \"{SECRET}\"\nrequired_groups = [\"ml\"]\n\n[roles]\nadmin = [\"idp/platform\"]\n"
        );
        let world = World::with(Wish { gateway, ..Wish::default() }).await?;
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let ended = std::env::var("SPACEPORT_BENCH_ENDED").ok().map(|text| text.parse()).transpose()?;
        let (cookies, ended) = (admins(&world.database).await?, ended.unwrap_or(ENDED));
        Ok(Self { world, _provider: provider, url, http, cookies, ended })
    }

    /// People, spaces and sessions.
    async fn fill(&self) -> Result<()> {
        let database = &self.world.database;
        let ended = self.ended;
        eprintln!("writing {LIVE} live sessions and {ended} that ended");
        let people = "INSERT INTO users (id, subject, name, created_at)
             SELECT gen_random_uuid(), 'bench-' || n, 'person-' || n, now() FROM generate_series(1, $1) n";
        sqlx::query(people).bind(PEOPLE).execute(database).await?;
        let spaces =
            "INSERT INTO spaces (id, arn, domain, name, sharing, remote_access, first_seen_at, deleted_at)
             SELECT gen_random_uuid(), 'arn:bench:' || n, 'main', 'space-' || n, 'private', true, now(), now()
             FROM generate_series(1, $1) n";
        sqlx::query(spaces).bind(PEOPLE).execute(database).await?;
        let mut done = 0;
        while done < ended {
            let to = ended.min(done + BATCH);
            self.sessions(done, to, "ended").await?;
            done = to;
        }
        self.sessions(ended, ended + LIVE, "live").await?;
        let signs = "INSERT INTO signs (space_id, user_id, sign, at)
             SELECT DISTINCT ON (space_id, user_id) space_id, user_id, 'keys', now() - random() * interval '5 h'
             FROM sessions WHERE ended_at IS NULL";
        sqlx::query(signs).execute(database).await?;
        let channels = "INSERT INTO channels (id, replica_id, session_id, stream_id, kind, pty, started_at)
             SELECT gen_random_uuid(), replica_id, id, gen_random_uuid(), 'shell', true, started_at
             FROM sessions WHERE ended_at IS NULL";
        sqlx::query(channels).execute(database).await?;
        sqlx::query("VACUUM ANALYZE").execute(database).await?;
        Ok(())
    }

    async fn sessions(&self, from: i32, to: i32, which: &str) -> Result<()> {
        let (ended, code) = match which {
            "ended" => ("t.began + interval '20 min'", "'client_left'"),
            _ => ("NULL", "NULL"),
        };
        let statement = format!(
            "INSERT INTO sessions (id, replica_id, user_id, space_id, connection_id, mode, client_address,
                                   client_version, key_fingerprint, started_at, ended_at, end_code, end_reason)
             SELECT lpad(to_hex(t.n), 32, '0')::uuid, (SELECT id FROM replicas LIMIT 1), u.id, p.id, gen_random_uuid(), 'session',
                    '198.51.100.7', 'SSH-2.0-OpenSSH_9.9', 'SHA256:x', t.began, {ended}, {code}, {code}
             FROM (SELECT n, now() - ($3 + n - $1) * interval '6 s' AS began FROM generate_series($1::int + 1, $2) n) t
             JOIN (SELECT id, row_number() OVER () AS r FROM users WHERE subject LIKE 'bench-%') u
                  ON u.r = 1 + t.n % {PEOPLE}
             JOIN (SELECT id, row_number() OVER () AS r FROM spaces WHERE arn LIKE 'arn:bench:%') p
                  ON p.r = 1 + t.n % {PEOPLE}"
        );
        let statement = sqlx::AssertSqlSafe(statement);
        // Those that ended lie behind one another, and what is live began last.
        let behind = if which == "live" { 0 } else { from };
        let mut writing = self.world.database.begin().await?;
        // What is referred to was selected: looking it up for each row again would take as long as the rows do.
        sqlx::query("SET LOCAL session_replication_role = replica").execute(&mut *writing).await?;
        sqlx::query(statement).bind(from).bind(to).bind(behind).execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(())
    }

    async fn get(&self, person: usize, path: &str) -> Result<reqwest::Response> {
        let cookie = self.cookies.get(person % self.cookies.len()).context("a cookie")?;
        let asked =
            self.http.get(format!("{}{path}", self.url)).header("cookie", format!("spaceport={cookie}"));
        let answer = asked.send().await?;
        ensure!(answer.status() == 200, "{path}: {}", answer.status());
        Ok(answer)
    }

    async fn median(&self, path: &str) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let begun = Instant::now();
            self.get(0, path).await?.bytes().await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        median(times)
    }

    /// What the gateway and Postgres use of a core while pages are open and bytes move, and how many milliseconds it takes
    /// until a change shows.
    async fn open_pages(&self) -> Result<(f64, f64)> {
        let page = self.get(0, "/sessions").await?.text().await?;
        let (_, rest) = page.split_once("data-live=\"").context("a live page")?;
        let path = rest.split_once('"').context("an address")?.0.replace("&#38;", "&");
        let mut streams = try_join_all((0..OPEN).map(|n| self.get(n, &path))).await?;
        // The first piece of news is the whole state: from here on only what changes is told.
        try_join_all(streams.iter_mut().map(reqwest::Response::chunk)).await?;
        let mut reader = NewsReader::of(streams.pop().context("a stream")?);
        let readers: Vec<_> = streams
            .into_iter()
            .map(|mut stream| tokio::spawn(async move { while let Ok(Some(_)) = stream.chunk().await {} }))
            .collect();
        let database = self.world.database.clone();
        let churn = tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                let moved = "UPDATE sessions SET bytes_out = bytes_out + 1000 WHERE id IN
                             (SELECT id FROM sessions WHERE ended_at IS NULL ORDER BY random() LIMIT 300)";
                let _ = sqlx::query(moved).execute(&database).await;
            }
        });
        let (begun, before) = (Instant::now(), machine::children_cpu_seconds()?);
        let mut news = Vec::new();
        while begun.elapsed() < WATCHED {
            // At any time between two looks.
            let apart = Duration::from_millis(200 + 370 * news.len() as u64 % 1_000);
            reader.until_after(Instant::now() + apart).await?;
            news.push(self.change(&mut reader, news.len()).await?);
        }
        let cores = (machine::children_cpu_seconds()? - before) / begun.elapsed().as_secs_f64();
        churn.abort();
        readers.iter().for_each(tokio::task::JoinHandle::abort);
        eprintln!("{} changes were watched", news.len());
        Ok((cores, median(news)?))
    }

    /// How many milliseconds it takes until a change of the newest session is told.
    async fn change(&self, reader: &mut NewsReader, round: usize) -> Result<f64> {
        let changed = "UPDATE sessions SET bytes_in = $1 WHERE id =
                       (SELECT id FROM sessions WHERE ended_at IS NULL ORDER BY started_at DESC LIMIT 1)
                       RETURNING id";
        // As pages show it, no two are the same.
        let bytes = i64::try_from(round + 1)? << 30;
        let session: uuid::Uuid =
            sqlx::query_scalar(changed).bind(bytes).fetch_one(&self.world.database).await?;
        let begun = Instant::now();
        reader.until_told(session, &format!("{}.0 GiB", round + 1)).await?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }

    /// What an export of everything adds to the gateway's memory at most, in MiB, and how many rows it had. Its reader
    /// stalls at the beginning.
    async fn export(&self) -> Result<(f64, usize)> {
        let pid = self.world.gateway.pid()?;
        // What the first export ever needs for good is no part of what it holds.
        self.get(0, "/sessions/history.csv?q=person-77").await?.bytes().await?;
        let memory = machine::Peak::begin(pid)?;
        let mut answer = self.get(0, "/sessions/history.csv").await?;
        let first = answer.chunk().await?.context("a first part")?;
        tokio::time::sleep(STALLED).await;
        let mut lines = newlines(&first);
        while let Some(part) = answer.chunk().await? {
            lines += newlines(&part);
        }
        let most = memory.added_mib()?;
        ensure!(lines > usize::try_from(self.ended)?, "{lines} lines");
        Ok((most, lines - 1))
    }
}

/// Somebody who reads what a page is told, as its script does.
struct NewsReader {
    stream: reqwest::Response,
    unread: String,
}

impl NewsReader {
    fn of(stream: reqwest::Response) -> Self {
        Self { stream, unread: String::new() }
    }

    /// Reads past whatever comes until then.
    async fn until_after(&mut self, then: Instant) -> Result<()> {
        while let Ok(part) = tokio::time::timeout_at(then.into(), self.stream.chunk()).await {
            self.take(&part?.context("the stream ended")?);
        }
        Ok(())
    }

    /// Reads until the page was told that this row shows so many bytes.
    async fn until_told(&mut self, session: uuid::Uuid, up: &str) -> Result<()> {
        loop {
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                let told = event.lines().find_map(|line| line.strip_prefix("data: "));
                let told: Value = told.map_or(Ok(Value::Null), serde_json::from_str)?;
                let mut rows = told["changed"].as_array().into_iter().flatten();
                let found = rows.any(|row| row["id"] == json!(session) && row["up"] == up);
                self.unread = rest.to_owned();
                if found {
                    return Ok(());
                }
            }
            let part = tokio::time::timeout(WATCHED, self.stream.chunk()).await??;
            self.take(&part.context("the stream ended")?);
        }
    }

    fn take(&mut self, part: &[u8]) {
        self.unread.push_str(&String::from_utf8_lossy(part));
    }
}

fn newlines(part: &[u8]) -> usize {
    part.iter().filter(|byte| **byte == b'\n').count()
}

fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("a median")
}

/// Admins who are signed in, by their cookies.
async fn admins(database: &PgPool) -> Result<Vec<String>> {
    let mut cookies = Vec::new();
    for n in 0..ADMINS {
        let cookie = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4());
        let statement = "WITH admin AS (
                 INSERT INTO users (id, subject, name, created_at, provider, groups, standing_until)
                 VALUES (gen_random_uuid(), $1, $1, now(), 'idp', '{ml,platform}', now() + interval '8 h')
                 RETURNING id)
             INSERT INTO logins (id, user_id, cookie, began_at, seen_at, ends_at, address, user_agent, id_token,
                                 refreshed_at)
             SELECT gen_random_uuid(), id, $2, now(), now(), now() + interval '8 h', '127.0.0.1', 'bench', '', now()
             FROM admin";
        let digest = Sha256::digest(cookie.as_bytes()).to_vec();
        sqlx::query(statement).bind(format!("admin-{n}")).bind(digest).execute(database).await?;
        cookies.push(cookie);
    }
    sqlx::query("UPDATE people_version SET version = version + 1").execute(database).await?;
    Ok(cookies)
}
