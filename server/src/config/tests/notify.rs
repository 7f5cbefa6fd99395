use super::*;

#[test]
fn notices_have_every_fault_at_once_and_none_shows_a_secret() {
    let text = format!(
        "{LEAST}\n[[notify.webhooks]]\nurl = \"http://hooks.example.com/T0PSECRET\"\nsecert = \"T0PSECRET\"\n\
         [[notify.webhooks]]\nurl = \"https://x.org\"\nform = \"signed\"\nsecret = \"T0PSECRET\"\nevents = [\"stop\"]\n\
         [[notify.webhooks]]\nurl = 5\n[notify.email]\nhost = \"mail.example.com\"\ntls = \"none\"\nfrom = \"ops\"\n\
         password = \"T0PSECRET\"\nadmins = [\"a@x.org\\r\\nBcc: b@x.org\"]\n"
    );
    let found = faults(load(&text));
    let places: Vec<&str> = found.iter().map(|fault| fault.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "notify.webhooks[0].url",
            "notify.webhooks[0].secert",
            "notify.webhooks[1].secret",
            "notify.webhooks[1].events[0]",
            "notify.webhooks[2].url",
            "notify.email.tls",
            "notify.email.from",
            "notify.email.user",
            "notify.email.admins[0]",
        ]
    );
    assert!(!FaultList(found).to_string().contains("T0PSECRET"));
}

#[test]
fn secrets_of_notices_are_not_shown_by_a_debug_print() {
    let config = ConfigSource::new(EXAMPLE.into(), HashMap::new()).load().unwrap();
    let shown = format!("{:?}", config.notify);
    assert!(
        shown.contains("hooks.slack.com") && !shown.contains("EXAMPLE") && !shown.contains("0000"),
        "{shown}"
    );
    assert_eq!((config.notify.webhooks[0].events.len(), config.notify.webhooks[1].events.len()), (4, 7));
    assert_eq!(config.notify.email.unwrap().port, 587);
}
