//! The import table of `docs/architecture.md` is what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Module to the modules it may import, from the table in the documentation.
fn table() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let page = std::fs::read_to_string(root().join("docs/architecture.md"))?;
    let rows = page.split_once("| module | what lives here |").context("the table is there")?.1;
    let rows = rows.lines().skip(2).take_while(|line| line.starts_with('|'));
    Ok(rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let may =
                cells[2].split(',').map(str::trim).filter(|m| !m.is_empty()).map(str::to_owned).collect();
            (cells[0].to_owned(), may)
        })
        .collect())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Every module of the crate that a source text names behind `crate::` or, in the binary, `spaceport::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for prefix in ["crate::", "spaceport::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            let names = match rest.strip_prefix('{') {
                None => vec![rest],
                Some(group) => top_level(group),
            };
            for name in names {
                let name: String =
                    name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.insert(name);
            }
        }
    }
    found
}

/// The parts of a `use` group that stand between its outermost commas.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

#[test]
fn modules_import_only_what_the_table_allows() -> Result<()> {
    let table = table()?;
    let src = root().join("server/src");
    let mut files = Vec::new();
    sources(&src, &mut files)?;
    assert!(files.len() > 20, "the sources were found");
    let mut wrong = Vec::new();
    for file in files {
        let within = file.strip_prefix(&src)?;
        // What a test puts together is its own business.
        if within.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs") {
            continue;
        }
        let first = within.components().next().context("a file has a name")?;
        let module =
            Path::new(first.as_os_str()).file_stem().context("a name")?.to_string_lossy().into_owned();
        if module == "lib" {
            continue;
        }
        let may = table.get(&module).with_context(|| format!("module {module} stands in the table"))?;
        for import in imports(&std::fs::read_to_string(&file)?) {
            if import != module && table.contains_key(&import) && !may.contains(&import) {
                wrong.push(format!("{} imports {import}", within.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not in the table:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn imports_are_found_in_every_form() {
    let found =
        imports("use crate::domain::ids;\nuse crate::{store::{Store, x}, web};\nlet a = crate::aws::b();");
    assert_eq!(found, ["aws", "domain", "store", "web"].map(str::to_owned).into());
}

#[test]
fn server_and_simulator_share_no_code() -> Result<()> {
    let simulator = std::fs::read_to_string(root().join("tests/simulator/Cargo.toml"))?;
    for package in ["spaceport", "ssm-datachannel"] {
        let line = format!("{package}.workspace");
        assert!(!simulator.lines().any(|l| l.starts_with(&line)), "the simulator must not use {package}");
    }
    let server = std::fs::read_to_string(root().join("server/Cargo.toml"))?;
    assert!(!server.contains("studio-simulator"), "the server must not use the simulator");
    Ok(())
}
