//! SSH clients by the names that people know, from the version lines that they send (RFC 4253, section 4.2).

/// The longest name that is shown, in characters. A client may call itself anything.
const LONGEST: usize = 40;

/// `OpenSSH 9.9p1` for `SSH-2.0-OpenSSH_9.9p1 Ubuntu-3`; `unknown` for a line that says nothing.
#[must_use]
pub fn name(version_line: &str) -> String {
    let software = version_line.split_once('-').and_then(|(_, rest)| rest.split_once('-'));
    let software = software.map_or(version_line, |(_, software)| software);
    let software = software.split(' ').next().unwrap_or_default();
    let name = match software.strip_prefix("OpenSSH_for_Windows_") {
        Some(version) => format!("OpenSSH {version} for Windows"),
        None => software.replacen("_Release_", " ", 1).replacen('_', " ", 1),
    };
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(LONGEST).collect();
    if name.trim().is_empty() { "unknown".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn clients_go_by_names_that_people_know() {
        for (line, known) in [
            ("SSH-2.0-OpenSSH_9.9p1 Ubuntu-3ubuntu3", "OpenSSH 9.9p1"),
            ("SSH-2.0-OpenSSH_for_Windows_9.5", "OpenSSH 9.5 for Windows"),
            ("SSH-2.0-PuTTY_Release_0.81", "PuTTY 0.81"),
            ("SSH-2.0-paramiko_3.4.0", "paramiko 3.4.0"),
            ("SSH-2.0-Go", "Go"),
            ("SSH-2.0-", "unknown"),
            ("", "unknown"),
            ("SSH-2.0-\u{202e}evil\u{7}", "evil"),
        ] {
            assert_eq!(name(line), known, "{line:?}");
        }
        assert_eq!(name(&format!("SSH-2.0-{}", "x".repeat(300))).len(), 40);
    }
}
