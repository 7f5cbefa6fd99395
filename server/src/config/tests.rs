mod notify;

use std::collections::HashMap;
use std::path::Path;

use super::domains::{RoleCredentials, StreamSigning};
use super::*;
use crate::domain::user::Role;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/spaceport.example.toml");

/// The least that a file must say.
const LEAST: &str = r#"
    [ssh]
    public_host = "gateway.example.com"
    [[domains]]
    alias = "research"
    id = "d-abc"
    account = "111111111111"
    region = "us-east-1"
    user_role = "arn:aws:iam::111111111111:role/spaceport-user"
"#;

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spaceport.toml");
    std::fs::write(&path, text).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ConfigSource::new(path, environment.collect()).load()
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &[])
}

fn faults(result: Result<Config, ConfigError>) -> Vec<Fault> {
    match result {
        Err(ConfigError::Faults(FaultList(faults))) => faults,
        Err(other) => panic!("not a list of faults: {other}"),
        Ok(_) => panic!("the configuration was accepted"),
    }
}

#[test]
fn the_example_is_accepted() {
    let config = ConfigSource::new(EXAMPLE.into(), HashMap::new()).load().unwrap();
    assert_eq!(config.domains.len(), 2);
    let (research, prod) = (&config.domains[0], &config.domains[1]);
    assert_eq!(research.upload.messages_per_s, Some(850));
    assert_eq!(research.stream_hosts, ["vpce-0123-abcd.ssmmessages.eu-central-1.vpce.amazonaws.com"]);
    assert_eq!(prod.stream_signing, StreamSigning::Unsigned);
    assert_eq!(prod.upload.messages_per_s, None);
    assert_eq!(prod.stream_hosts.len(), 2);
    assert_eq!(prod.endpoints.sagemaker.as_deref(), Some("https://sagemaker.eu-central-1.amazonaws.com"));
    let group = ["okta/leads".parse().unwrap()].into();
    assert_eq!(research.roles.choose(&group).unwrap().role.name(), "spaceport-leads");
    assert_eq!(
        (research.credentials, prod.credentials),
        (RoleCredentials::Own, RoleCredentials::WebIdentity)
    );
    let People { users, access, longest_grant, roles } = &config.people;
    assert_eq!(longest_grant.as_secs(), 7 * 86_400);
    assert_eq!(roles.of(&["okta/security".parse().unwrap()].into()), Role::Auditor);
    assert_eq!(config.providers[0].issuer.as_str(), "https://company.okta.com");
    assert_eq!(users[0].keys[0].fingerprint, "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
    assert_eq!((users[1].subject.as_str(), users[1].role), ("ben@example.com", Role::Admin));
    assert_eq!(access.grants[0].grant.until.unix_timestamp(), 1_801_418_400);
    assert_eq!(access.denials[0].reason, "finance only");
}

#[test]
fn keys_that_the_example_leaves_commented_out_are_its_defaults() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let places_and_examples = [
        "url =",
        "postgres_bin =",
        "key =",
        "key_file =",
        "client_secret_file =",
        "url_file =",
        "secret_file =",
        "password_file =",
        "sagemaker =",
        "sts =",
        "ssm =",
        "pricing =",
        "storage_usd_per_gb_month =",
    ];
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest)
            if rest
                .split_once(" = ")
                .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                && !places_and_examples.iter().any(|example| rest.starts_with(example)) =>
        {
            rest
        }
        _ => line,
    });
    let spelt_out = load(&lines.collect::<Vec<_>>().join("\n")).unwrap();
    let plain = load(&text).unwrap();
    // `public_port` and `service_role` have no default beyond what follows from others.
    let text_of = |config: &Config| {
        let Config { links, start, watch, cost, idle, drain, flow, notify, log, people, .. } = config;
        format!(
            "{links:?}{start:?}{watch:?}{cost:?}{idle:?}{drain:?}{flow:?}{notify:?}{log:?}{:?}",
            people.longest_grant
        )
    };
    assert_eq!(text_of(&spelt_out), text_of(&plain));
    assert_eq!(spelt_out.ssh.listen, plain.ssh.listen);
    assert_eq!(spelt_out.ssh.login_grace, plain.ssh.login_grace);
    assert_eq!(format!("{:?}", spelt_out.ssh.approval), format!("{:?}", plain.ssh.approval));
    assert_eq!(spelt_out.domains[0].upload, plain.domains[0].upload);
    assert_eq!(spelt_out.domains[0].calls, plain.domains[0].calls);
    assert_eq!(spelt_out.domains[0].read_tags, plain.domains[0].read_tags);
}

#[test]
fn providers_need_pages_and_tls_needs_both_files() {
    let provider = "[[providers]]\nalias = \"okta\"\nissuer = \"https://x.okta.com\"\nclient_id = \"1\"\n";
    let without_pages = faults(load(&format!("{LEAST}\n{provider}")));
    assert_eq!(without_pages[0].place, "providers");
    let web = "[web]\npublic_url = \"https://gateway.example.com\"\ntls_key = \"k\"\n";
    let half = faults(load(&format!("{LEAST}\n{web}\n{provider}\n{}", provider.replace("https:", "http:"))));
    let places: Vec<&str> = half.iter().map(|fault| fault.place.as_str()).collect();
    assert_eq!(places, ["web.tls_certificate", "providers[1].issuer"]);
    let twice =
        faults(load(&format!("{LEAST}\n{}\n{provider}{provider}", web.replace("tls_key = \"k\"\n", ""))));
    assert_eq!((twice[0].place.as_str(), twice.len()), ("providers[1].alias", 1));
}

#[test]
fn roles_of_groups_are_checked_and_one_way_to_a_role_is_needed() {
    let role = |account: &str| format!("role = \"arn:aws:iam::{account}:role/ml\"\n");
    let rules = format!(
        "[[domains.roles]]\ngroup = \"okta/ml\"\n{0}[[domains.roles]]\ngroup = \"local/ml\"\n{1}\
         [[domains.roles]]\ngroup = \"ml\"\nrole = \"ml\"\n",
        role("111111111111"),
        role("222222222222"),
    );
    let found = faults(load(&format!("{LEAST}\n    credentials = \"web-identity\"\n{rules}")));
    let places: Vec<&str> = found.iter().map(|fault| fault.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "domains[0].roles[0].group",
            "domains[0].roles[1].role",
            "domains[0].roles[2].group",
            "domains[0].roles[2].role",
            "domains[0].credentials",
        ]
    );
    assert_eq!(found[0].reason, "there is no such provider");
    let without = LEAST.lines().filter(|line| !line.contains("user_role")).collect::<Vec<_>>().join("\n");
    assert_eq!(faults(load(&without))[0].place, "domains[0].user_role");
    let rule = format!("[[domains.roles]]\ngroup = \"local/ml\"\n{}", role("111111111111"));
    let config = load(&format!("{without}\n{rule}")).unwrap();
    assert_eq!(config.domains[0].roles.otherwise, None);
}

#[test]
fn little_is_enough() {
    let config = load(LEAST).unwrap();
    assert_eq!(config.ssh.listen.to_string(), "0.0.0.0:22");
    assert_eq!(config.ops.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.data_dir, Path::new("/var/lib/spaceport"));
    assert!(matches!(&config.secrets, Secrets::Own(path) if path.ends_with("secret.key")));
    assert!(config.database.url.is_none());
    assert_eq!(config.domains[0].partition, "aws");
}

#[test]
fn every_fault_is_listed_at_once_with_its_place() {
    let text = r#"
        [ssh]
        listne = ":2222"
        listen = "localhost"
        public_host = "gateway.example.com"
        login_grace_s = 9000
        [[domains]]
        alias = "Research"
        id = "d-abc"
        account = 111111111111
        region = "us-east-1"
        user_role = "arn:aws:iam::222222222222:role/x"
        [[domains]]
        alias = "prod"
        id = "d-abc"
        account = "111111111111"
        region = "us-east-1"
        user_role = "arn:aws:iam::222222222222:role/x"
        [[users]]
        name = "anna"
        keys = ["ssh-ed25519 nonsense"]
        role = "root"
        [[access.grants]]
        user = "bob"
        domain = "prod"
        space = "x"
        until = "tomorrow"
        [telemetry]
        on = true
    "#;
    let found: Vec<String> = faults(load(text)).iter().map(ToString::to_string).collect();
    let expected = [
        "ssh.listen = \"localhost\": it is not an address to listen on; ",
        "ssh.login_grace_s = 9000: it is not a number within its limits; write a whole number from 5 to 600",
        "ssh.listne = \":2222\": there is no such key; did you mean listen?",
        "domains[0].alias = \"Research\": domain alias \"Research\" is malformed: ",
        "domains[0].account = 111111111111: it is of type integer; write the account's 12 digits, in quotes",
        "domains[1].user_role = \"arn:aws:iam::222222222222:role/x\": the role is in account 222222222222, the domain in 111111111111; ",
        "users[0].keys[0] = \"ssh-ed25519 nonsense\": it is not a public key",
        "users[0].role = \"root\": there is no such choice; write one of user, auditor, admin",
        "access.grants[0].user = \"bob\": there is no such user; ",
        "access.grants[0].until = \"tomorrow\": ",
        "access.grants[0].reason: it is missing; ",
        "telemetry: there is no such key; the keys here are ",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nshould start with\n{expected}");
    }
}

#[test]
fn the_same_key_alias_or_domain_twice_is_a_fault() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let domain = LEAST.split("[[domains]]").nth(1).unwrap();
    let text = format!(
        "{LEAST}\n[[domains]]{domain}\n[[users]]\nname='a'\nkeys=['{key} x']\n[[users]]\nname='b'\nkeys=['{key} y']"
    );
    let places: Vec<String> = faults(load(&text)).into_iter().map(|fault| fault.place).collect();
    assert_eq!(places, ["domains[1].alias", "domains[1].id", "users[1].keys"]);
}

#[test]
fn a_profile_is_written_with_its_domain_where_there_are_several() {
    let user = "[[users]]\nname='a'\nprofiles=['research/Anna', 'anna', 'reserch/anna']";
    let found = |text: &str| {
        let found = faults(load(text));
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        found(&format!("{LEAST}\n{user}")),
        [
            "users[0].profiles = \"reserch/anna\": there is no such domain; write the alias of one of [[domains]] before the /"
        ]
    );
    let domain = LEAST.split("[[domains]]").nth(1).unwrap();
    let second = domain.replace("research", "prod").replace("d-abc", "d-def");
    assert_eq!(
        found(&format!("{LEAST}\n[[domains]]{second}\n{user}"))[0],
        "users[0].profiles = \"anna\": it may be another person in each domain; \
         write the profile with its domain: \"research/anna\" or \"prod/anna\""
    );
    let config = load(&format!("{LEAST}\n[[users]]\nname='a'\nprofiles=['anna']")).unwrap();
    let profiles: Vec<String> = config.people.users[0].profiles.iter().map(ToString::to_string).collect();
    assert_eq!(profiles, ["research/anna"]);
}

#[test]
fn a_domains_rule_finds_the_profiles_of_the_files_people() {
    let people = "[[users]]\nname='a.berg'\n[[users]]\nname='ben'\nprofiles=['Benjamin']";
    let rule = |provider: &str| format!("{LEAST}\nownership={{provider='{provider}',profile='{{name}}'}}");
    let profiles = |text: &str| {
        let users = load(text).unwrap().people.users;
        users
            .iter()
            .map(|user| user.profiles.iter().map(ToString::to_string).collect())
            .collect::<Vec<String>>()
    };
    assert_eq!(profiles(&format!("{}\n{people}", rule("local"))), ["research/a-berg", "research/Benjamin"]);
    assert_eq!(profiles(&format!("{}\n{people}", rule("okta"))), ["", "research/Benjamin"]);
    let alike = format!("{}\n{people}\n[[users]]\nname='a_berg'", rule("local"));
    let found: Vec<String> = faults(load(&alike)).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[1],
        "users = \"a_berg\": the rule of research finds no profile: research/a-berg would be somebody else's, too; \
         write profiles = [\"research/PROFILE\"] for this user"
    );
}

#[test]
fn a_denial_of_a_malformed_space_does_not_become_a_denial_of_all() {
    let text = format!("{LEAST}\n[[users]]\nname='a'\n[[access.denials]]\nuser='a'\nspace='-'\nreason='x'");
    assert_eq!(faults(load(&text))[0].place, "access.denials[0].space");
    let text = format!("{LEAST}\n[[users]]\nname='a'\n[[access.denials]]\nuser='a'\ndomain='no'\nreason='x'");
    assert_eq!(faults(load(&text))[0].place, "access.denials[0].domain");
}

#[test]
fn variables_stand_over_the_file_and_are_named_in_faults() {
    let environment =
        [("SPACEPORT_SSH_LISTEN", "127.0.0.1:0"), ("SPACEPORT_LOG_FORMAT", "json"), ("DATABASE_URL", "")];
    let config = load_with(LEAST, &environment).unwrap();
    assert_eq!(config.ssh.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.database.url.is_none());

    let found = faults(load_with(
        LEAST,
        &[("SPACEPORT_DRAIN_DEADLINE_S", "soon"), ("DATABASE_URL", "mysql://a:secret@b/c")],
    ));
    assert_eq!(found[0].place, "DATABASE_URL");
    assert_eq!(found[0].value, None, "a password must not be repeated");
    assert_eq!(found[1].place, "SPACEPORT_DRAIN_DEADLINE_S");
}

#[test]
fn a_line_that_is_not_toml_is_named_but_not_shown() {
    let error = load("[secrets]\nkey = \"hunter2").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_key_may_be_hexadecimal_or_base64() {
    let hex = "00".repeat(31) + "ff";
    let base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8=";
    for text in [hex.as_str(), base64] {
        let config = load_with(LEAST, &[("SPACEPORT_SECRET_KEY", text)]).unwrap();
        assert_eq!(config.secrets.key().unwrap().expose()[31], 0xff);
    }
    let found = faults(load_with(LEAST, &[("SPACEPORT_SECRET_KEY", "too-short")]));
    assert_eq!((found[0].place.as_str(), &found[0].value), ("SPACEPORT_SECRET_KEY", &None));
}

#[test]
fn an_own_key_is_made_once_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let config = load_with(LEAST, &[("SPACEPORT_DATA_DIR", data_dir.to_str().unwrap())]).unwrap();
    let first = config.secrets.key().unwrap();
    let second = config.secrets.key().unwrap();
    assert_eq!(first.expose(), second.expose());
    let mode = std::fs::metadata(data_dir.join("secret.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn faults_of_authorities_say_what_to_write_instead() {
    let ca = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let text = format!(
        "{LEAST}\n[ssh.certificates]\nlifetime_s = 1\nrevoked_serials = [\"x\"]\nrevoked_keys = [\"MD5:00\"]\n\
         [[ssh.certificates.trusted]]\nname = \"a\"\nkey = \"{ca}\"\nprincipals = \"user\"\n\
         [[ssh.certificates.trusted]]\nname = \"b\"\nkey = \"{ca}\"\nprincipals = {{ smith = \"no name\" }}\n\
         [[ssh.certificates.trusted]]\nname = \"c\"\nkey = \"{ca}\"\nprincipals = \"name\"\n\
         [[ssh.certificates.trusted]]\nname = \"d\"\nkey = \"{ca}\"\nprincipals = \"email\"\n"
    );
    let places: Vec<String> = faults(load(&text)).into_iter().map(|fault| fault.place).collect();
    assert_eq!(
        places,
        [
            "ssh.certificates.trusted[0].principals",
            "ssh.certificates.trusted[1].principals",
            "ssh.certificates.lifetime_s",
            "ssh.certificates.revoked_serials[0]",
            "ssh.certificates.revoked_keys[0]",
            "ssh.certificates.trusted",
        ]
    );
}

#[test]
fn keys_of_every_kind_that_is_strong_enough_are_taken() {
    let with = |key: &str| load(&format!("{LEAST}\n[[users]]\nname='a'\nkeys=['{key}']"));
    let point = "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32\
                 BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfUAAAAEc3NoOg==";
    for key in [
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmAAAABHNzaDo=",
        &format!("sk-ecdsa-sha2-nistp256@openssh.com {point}"),
    ] {
        assert_eq!(with(key).unwrap().people.users[0].keys.len(), 1, "{key}");
    }
    let short = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQD1ls/lEbAKwKY+D+1lAKbgIySjpMGSXi9H5aIu3JpduyAOygvmmDMrrcEN\
                 83tOZhJJ2HvNTgrimNE3Dh29bKXLHqRXT8GUTUJl6GFKUwR2TTWj3lYf7/hR8d3ItqpoS4wjrTc6ZoYld9nLlxAM//DdvD5T\
                 7z3eoPt6tUE3YOfHhSBJpaGcDWPecC/jLXgfLI0QK6iolYwSh8GuFQvus80pOp4hUTC4wWb4GRfzRPXqvOhO1IClUuUCM4YO\
                 GZQCjnLM9C8ThrICsha7bGgBZrRSqAhS82fBT1BORTpabj2rZh5HzXqYXtyOgI5+Jt9jMbh5LS6cC2mI3l6gHuIWJsRF";
    let found = faults(with(short));
    assert_eq!(found[0].reason, "this RSA key has 2048 bits, and 3072 are the least");
}
