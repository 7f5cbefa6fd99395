use time::macros::datetime;

use super::*;
use crate::domain::idle::{InsideRule, NoLook, Outside, Policies, Policy, Seen, Sign};

const BEGIN: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

fn run() -> PastRun {
    PastRun {
        id: "01938e2a-0000-7000-8000-000000009c3a".parse().unwrap(),
        space: "lab".parse().unwrap(),
        domain: "main".parse().unwrap(),
        owner: Some("alice".to_owned()),
        groups: ["local/ml".parse().unwrap()].into(),
        tags: [("team".to_owned(), "x".to_owned())].into(),
        began_at: BEGIN,
        ended_at: Some(BEGIN + Duration::from_secs(3 * 3_600)),
        look_every: Duration::from_secs(60),
        rates: Rates::new(vec![(BEGIN, Some(1_410_000_000)), (BEGIN + Duration::from_secs(2 * 3_600), None)]),
    }
}

fn look(minutes: i64) -> Evidence {
    Evidence {
        at: BEGIN + time::Duration::minutes(minutes),
        steady: true,
        outside: Outside {
            // Somebody comes twelve minutes after the stop.
            signs: vec![Seen {
                sign: Sign::Keys,
                at: BEGIN + time::Duration::minutes(if minutes >= 77 { 77 } else { 0 }),
                by: Some("alice\u{1b}[2J".to_owned()),
            }],
            unsure: None,
        },
        inside: Err(NoLook { why: "no look inside is set up".to_owned(), not_set_up: true }),
        hold: None,
    }
}

fn policies() -> Policies {
    Policies::new(Policy { inside: InsideRule::WhereSetUp, ..Policy::default() }, Vec::new())
}

fn written(folder: &Path) -> PathBuf {
    let path = folder.join("looks.jsonl");
    let mut file = Written::create(&path).unwrap();
    file.run(run()).unwrap();
    (1..=180).for_each(|minutes| file.look(look(minutes)).unwrap());
    assert!(file.finish().unwrap().starts_with("180 looks at 1 runs written to "));
    path
}

fn fault(text: impl AsRef<[u8]>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("looks.jsonl");
    std::fs::write(&path, text).unwrap();
    let mut lines = Lines::open(&path).unwrap();
    let error = loop {
        match lines.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("there is a fault"),
            Err(error) => break error,
        }
    };
    error.to_string().replace(&path.display().to_string(), "FILE")
}

#[test]
fn a_file_says_what_was_written_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let mut lines = Lines::open(&path).unwrap();
    assert!(matches!(lines.next().unwrap(), Some(Line::Run(read)) if *read == run()));
    for minutes in 1..=180 {
        assert!(matches!(lines.next().unwrap(), Some(Line::Look(read)) if *read == look(minutes)));
    }
    assert!(lines.next().unwrap().is_none());
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = Written::create(&path).err().unwrap();
    assert!(format!("{error:#}").contains("exists"), "what is there stays: {error:#}");
}

#[test]
fn a_report_says_when_why_what_it_saves_and_whom_it_would_have_met() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let report = || {
        let mut report = super::super::report::Report::new(policies());
        let asked = super::super::Asked {
            policies: None,
            since: None,
            domain: None,
            space: None,
            from_file: None,
            export: None,
            json: false,
        };
        super::super::replay_file(&path, OffsetDateTime::UNIX_EPOCH, &asked, &mut report).unwrap();
        report.finish()
    };
    let text = report().text();
    let begin = "2026-11-26T13:05:00Z  lab.main of alice, run 9c3a\n\
         \x20 Why:   idle since 2026-11-26T12:00:00Z: last key in any terminal, alice [2J\n\
         \x20 Rule:  the default\n\
         \x20 After: it went on for 1 h 55 min: at least $1.29\n\
         \x20 Wrong: it would have met a key of alice [2J, 12 min later\n\
         would have stopped: 1 of 1 runs, in 1 spaces. They went on for 1 h 55 min: at least $1.29\n\
         at the wrong time:  1 of 1\n\
         looks up to then:   4 active, 61 idle, 0 unknown\n\
         assumed:\n";
    assert!(text.starts_with(begin), "{text}");
    let json = report().json();
    // 55 minutes have a price, an hour has none.
    assert_eq!(json["total"]["saved_usd"], "1.292500000");
    assert_eq!((&json["total"]["unpriced_s"], &json["total"]["wrong"]), (&3_600.into(), &1.into()));
    let stop = &json["stops"][0];
    assert_eq!((&stop["stopped_at"], &stop["went_on_s"]), (&"2026-11-26T13:05:00Z".into(), &6_900.into()));
    assert_eq!(stop["would_have_met"]["after_s"], 720);
}

#[test]
fn a_fault_names_its_line_and_is_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(written(folder.path())).unwrap();
    let lines: Vec<&str> = good.lines().take(2).collect();
    let [first, second] = lines[..] else { panic!("two lines") };
    let after = |line: &str| fault(format!("{first}\n\n{line}\n"));
    assert!(after("{\"look\": {").starts_with("FILE, line 3: column "), "{}", after("{\"look\": {"));
    assert!(!after("{\"look\": {").contains("at line"));
    let unknown = after("{\"nothing\": {}}");
    assert!(unknown.contains("unknown variant `nothing`, expected `run` or `look`"), "{unknown}");
    let odd = first.replacen("\"id\"", "\"more\":1,\"id\"", 1);
    assert!(after(&odd).contains("unknown field `more`"), "{}", after(&odd));
    let name = first.replacen("\"lab\"", "\"no name\\u001b\"", 1);
    assert!(after(&name).starts_with("FILE, line 3: space \"no name\\u{1b}\": "), "{}", after(&name));
    let price = first.replacen("1.410000000", "-1", 1);
    assert_eq!(after(&price), "FILE, line 3: usd_per_hour \"-1\" is no amount");
    let year = second.replacen("{\"look\":{\"at\":\"2026", "{\"look\":{\"at\":\"9999", 1);
    assert_eq!(after(&year), "FILE, line 3: at is of the year 9999");
    let every = first.replacen("\"look_every_s\":60", "\"look_every_s\":0", 1);
    assert_eq!(after(&every), "FILE, line 3: look_every_s is 0, not 1 to 600");
    let long = format!("{first}\n{}", " ".repeat(300 * 1024));
    assert_eq!(fault(long), "FILE, line 2: it is longer than 262144 bytes");
    assert!(fault(b"\xff\xfe").starts_with("FILE, line 1: column "));
}
