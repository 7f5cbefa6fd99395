//! Whose times pages show: those of whoever reads them, in a real browser and without scripts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spaceport_tests::browser::Browser;
use spaceport_tests::until::until;
use spaceport_tests::visitor::{Page, Visitor};

use crate::ledger_pages::log;
use crate::scene::{Pictures, Scene, Setting};
use crate::sessions_pages::{connected, past};
use crate::spaces::{QUICK, shows};

const LIMIT: Duration = Duration::from_secs(30);
/// Where the clocks are a quarter of an hour off everybody else's, and never change.
const ZONE: &str = "Australia/Eucla";
/// Where the day begins first.
const EAST: &str = "Pacific/Kiritimati";
/// Counts the pages that a tab loads.
const COUNT: &str = "if (window === top) sessionStorage.loads = Number(sessionStorage.loads ?? 0) + 1;";

/// Signs Ada in, by way of the provider's pages.
async fn sign_in(scene: &Scene, browser: &mut Browser, page: &str) -> Result<()> {
    browser.goto(&scene.page(&format!("/signin/idp?return={page}"))).await?;
    browser.fill("input[name=login]", "ada").await?;
    browser.press("input[name=login]", "Enter").await?;
    browser.wait("details.who").await
}

/// How many pages of the gateway the tab has loaded.
async fn loads(browser: &mut Browser) -> Result<u64> {
    let loads = browser.value("Number(sessionStorage.loads)").await?;
    loads.as_u64().context("a number")
}

/// Opens a page, and how many it took.
async fn opened(scene: &Scene, browser: &mut Browser, path: &str) -> Result<u64> {
    let before = loads(browser).await?;
    ensure!(browser.goto(&scene.page(path)).await? == 200, "{path}");
    Ok(loads(browser).await? - before)
}

/// An address in a page.
fn link(page: &Page, begin: &str) -> Result<String> {
    let addresses = page.body.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let address = addresses.into_iter().find(|address| address.starts_with(begin));
    Ok(address.with_context(|| format!("{begin} in {page:?}"))?.replace("&#38;", "&"))
}

/// The rows of a file of sessions.
async fn rows(scene: &Scene, visitor: &Visitor, path: &str) -> Result<usize> {
    Ok(visitor.get(&scene.page(path)).await?.is(200)?.body.lines().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_and_live_rows_come_in_the_zone_of_the_browser() -> Result<()> {
    let scene = Scene::new().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    past(&scene, 2_345).await?;
    let mut ada = Browser::start_in(ZONE).await?;
    ada.before(COUNT).await?;
    sign_in(&scene, &mut ada, "/sessions").await?;
    ada.wait(&format!(".foot:has-text(\"Times are those of {ZONE}.\")")).await?;
    ensure!(loads(&mut ada).await? == 2, "it was loaded anew once");

    // Nobody loads the page while the session begins.
    ada.wait("[data-live-state].running").await?;
    let _ssh = connected(&laptop).await?;
    ada.wait("tbody tr[id^='s-'] time").await?;
    let shown = "(() => { const time = document.querySelector('tbody time');
        const clock = { hour: '2-digit', minute: '2-digit' };
        return [time.textContent, new Date(time.dateTime).toLocaleTimeString('en-GB', clock), time.title, time.dateTime];
    })()";
    let shown: Vec<String> = serde_json::from_value(ada.value(shown).await?)?;
    let [text, clock, exact, machine] = &shown[..] else { anyhow::bail!("{shown:?}") };
    ensure!(text.ends_with(clock) && exact.ends_with(" UTC+8:45") && machine.ends_with('Z'), "{shown:?}");

    // The day of the filter is hers, and so it is in the file, whoever takes it.
    let days = "/sessions/history?from=2026-03-01&to=2026-03-01";
    ensure!(opened(&scene, &mut ada, days).await? == 1, "the gateway knows the zone by now");
    ensure!(
        ada.text("h1 + p").await?.starts_with("1245 sessions that began from 1 Mar 2026"),
        "the day is hers"
    );
    let newest = ada.value("document.querySelector('tbody time').title").await?;
    ensure!(newest == "Sun 1 Mar 2026, 20:44:00 UTC+8:45", "{newest}");
    let file = ada.value("document.querySelector('a[href*=jsonl]').getAttribute('href')").await?;
    let (plain, _) = scene.sign_in("ada").await?;
    let file = file.as_str().context("an address")?;
    ensure!(rows(&scene, &plain, file).await? == 1_245, "{file}");
    let noted = "SELECT detail->'filters'->>'zone' FROM audit WHERE kind = 'sessions.exported'";
    scene.world.expect(noted, ZONE).await?;

    // Without a script the page is UTC's, and says so.
    let page =
        plain.get(&scene.page(days)).await?.is(200)?.shows("720 sessions that began from 1 Mar 2026")?;
    let page = page.shows("Times are UTC.")?.shows("title=\"Sun 1 Mar 2026, 11:59:00 UTC\"")?;
    ensure!(rows(&scene, &plain, &link(&page, "/sessions/history.jsonl")?).await? == 720, "{page:?}");
    plain.get(&scene.page("/sessions/history.csv?from=2026-03-01&zone=Mars/Olympus")).await?.is(400)?;
    let complaints = ada.complaints().await?;
    ensure!(complaints.iter().all(|complaint| complaint.contains("404")), "{complaints:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_loaded_anew_once_at_most_and_never_over_what_was_sent() -> Result<()> {
    let scene = Scene::new().await?;
    let times = |zone: &str| format!(".foot:has-text(\"Times are {zone}.\")");
    // A zone that the gateway has never heard of.
    let mut mars = Browser::start_in("UTC").await?;
    let olympus = "Intl.DateTimeFormat.prototype.resolvedOptions = () => ({ timeZone: 'Mars/Olympus' });";
    mars.before(&format!("{COUNT} {olympus}")).await?;
    sign_in(&scene, &mut mars, "/keys").await?;
    until("the second time", LIMIT, async || Ok((loads(&mut mars).await.ok() == Some(2)).then_some(())))
        .await?;
    for path in ["/keys", "/tokens", "/keys"] {
        ensure!(opened(&scene, &mut mars, path).await? == 1, "{path} is loaded once");
        mars.wait(&times("UTC")).await?;
    }
    // A browser that keeps no cookie of a script.
    let mut off = Browser::start_in(ZONE).await?;
    let none = "Object.defineProperty(Document.prototype, 'cookie', { get: () => '', set: () => {} });";
    off.before(&format!("{COUNT} {none}")).await?;
    sign_in(&scene, &mut off, "/keys").await?;
    for path in ["/keys", "/tokens"] {
        ensure!(opened(&scene, &mut off, path).await? == 1, "{path} is loaded once");
        off.wait(&times("UTC")).await?;
    }
    ensure!(loads(&mut off).await? == 3, "nothing was loaded anew");
    // The answer to a form stays as it is, with what was typed, and the next page has the zone.
    let mut ada = Browser::start_in(ZONE).await?;
    ada.before(COUNT).await?;
    sign_in(&scene, &mut ada, "/keys").await?;
    let here = times(&format!("those of {ZONE}"));
    ada.wait(&here).await?;
    ada.value("(document.cookie = 'spaceport-zone=; Path=/; Max-Age=0', sessionStorage.clear())").await?;
    ada.fill("form[action='/keys'] textarea", "no key at all").await?;
    ada.click("form[action='/keys'] button:has-text(\"Add key\")").await?;
    ada.wait("[role=alert]").await?;
    ada.wait(&times("UTC")).await?;
    let typed = ada.value("document.querySelector(\"form[action='/keys'] textarea\").value").await?;
    ensure!(typed == "no key at all" && loads(&mut ada).await? == 1, "{typed}");
    ensure!(opened(&scene, &mut ada, "/keys").await? == 1, "the cookie is there");
    ada.wait(&here).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_the_days_of_its_reader_and_so_have_its_files() -> Result<()> {
    let scene = Scene::new().await?;
    log(&scene.world).await?;
    let (ada, _) = scene.sign_in("ada").await?;
    let (plain, _) = scene.sign_in("ada").await?;
    ada.keep(&scene.site, "spaceport-zone", EAST)?;
    // Noon of the fifth in Greenwich.
    let day = "/audit?kind=space.held&from=2026-02-06&to=2026-02-06";
    let page = ada.get(&scene.page(day)).await?.is(200)?.shows("=HYPERLINK(1)")?;
    let page = page.shows("until: 6 Feb 2026, 04:00 UTC+14")?;
    let page = page.shows("datetime=\"2026-02-05T12:00:00Z\" title=\"Fri 6 Feb 2026, 02:00:00 UTC+14\"")?;
    let file = link(&page, "/audit.csv")?;
    plain.get(&scene.page(&file)).await?.is(200)?.shows("=HYPERLINK(1)")?.shows("2026-02-05T12:00:00")?;
    let other = plain.get(&scene.page(day)).await?.is(200)?.shows("No audit rows match")?;
    let empty = plain.get(&scene.page(&link(&other, "/audit.csv")?)).await?.is(200)?;
    assert_eq!(empty.body.matches("\r\n").count(), 1, "{}", empty.body);
    plain.get(&scene.page("/audit.csv?from=2026-02-05&zone=nowhere")).await?.is(400)?;
    let noted = "SELECT string_agg(detail->'filters'->>'zone', ' ' ORDER BY at) FROM audit WHERE kind = 'audit.exported'";
    scene.world.expect(noted, &format!("{EAST} UTC")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_a_space_are_those_of_its_reader_and_days_of_costs_are_everybodys() -> Result<()> {
    let costs = format!("[cost]\ntime_zone = \"{EAST}\"\n\n");
    let scene = Scene::with(Setting { gateway: format!("{QUICK}{costs}"), ..Setting::default() }).await?;
    let (anna, _) = scene.sign_in("anna").await?;
    let (home, page) = (scene.page("/spaces"), scene.page("/spaces/main/team"));
    for path in [&home, &page] {
        shows(&anna, path, "Times are UTC. Days and months of costs are those of Pacific/Kiritimati.")
            .await?;
    }
    let newest = async |zone: &str, row: i32| {
        let day = format!("SELECT to_char(now() AT TIME ZONE '{zone}' - interval '{row} d', 'Dy FMDD')");
        Ok::<_, anyhow::Error>(format!(
            "<th scope=\"row\">{}<",
            scene.world.value(&day).await?.context("a day")?
        ))
    };
    // They are 25 hours apart: at any time one of them has another date than UTC.
    for zone in [EAST, "Pacific/Pago_Pago"] {
        anna.keep(&scene.site, "spaceport-zone", zone)?;
        let times = format!("Times are those of {zone}.");
        let seen = shows(&anna, &page, &times)
            .await?
            .shows(&newest(zone, 0).await?)?
            .shows(&newest(zone, 6).await?)?;
        let differ = zone != EAST;
        ensure!(seen.body.contains("Days and months of costs are those of") == differ, "{seen:?}");
        ensure!(
            seen.body.contains("What a day cost is that of the day in Pacific/Kiritimati") == differ,
            "{seen:?}"
        );
        anna.get(&home).await?.is(200)?.shows(&times)?;
    }
    let mut browser = Browser::start_in("America/New_York").await?;
    sign_in(&scene, &mut browser, "/spaces?of=everybody").await?;
    browser.wait(".foot:has-text(\"Times are those of America/New_York.\")").await?;
    let mut pictures = Pictures::of(&scene)?;
    pictures.take(&mut browser, "spaces-elsewhere").await?;
    browser.goto(&page).await?;
    pictures.take(&mut browser, "space-elsewhere").await?;
    assert_eq!(pictures.taken(), 8, "every page was looked at");
    Ok(())
}
