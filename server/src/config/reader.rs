//! Reads tables of a TOML file key by key, so that one fault does not hide the next.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use toml::{Table, Value};

use super::fault::Faults;
use crate::domain::names::distance;

/// One table of the file. Keys are taken out; what is left at [`Section::finish`] is unknown.
pub(super) struct Section<'f> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    faults: &'f Faults,
}

impl<'f> Section<'f> {
    /// The file itself.
    pub(super) const fn root(table: Table, faults: &'f Faults) -> Self {
        Self { path: String::new(), table, known: Vec::new(), faults }
    }

    /// The full name of a key: `domains[1].user_role`.
    pub(super) fn place(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Adds a fault at a key.
    pub(super) fn fault(
        &self,
        key: &str,
        value: Option<&str>,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.faults.add(&self.place(key), value, reason, instead);
    }

    /// Adds a fault at a key whose value may be of any type.
    pub(super) fn fault_value(&self, key: &str, value: &Value, reason: &str, instead: &str) {
        self.faults.add_value(&self.place(key), value, reason, instead);
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong_type(&self, place: &str, value: &Value, instead: &str) {
        self.faults.add_value(place, value, format!("it is of type {}", value.type_str()), instead);
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str, instead: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::String(text) => {
                self.fault(key, Some(&text), "it is empty", instead);
                None
            }
            // An unquoted time is TOML's own type and means the same as the quoted one.
            Value::Datetime(time) => Some(time.to_string()),
            other => {
                self.wrong_type(&self.place(key), &other, instead);
                None
            }
        }
    }

    /// A text of some type; nothing if it is missing or malformed, which is a fault.
    pub(super) fn parsed<T>(&mut self, key: &'static str, instead: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let text = self.text(key, instead)?;
        text.parse().map_err(|error: T::Err| self.fault(key, Some(&text), error.to_string(), instead)).ok()
    }

    /// The same, and it is a fault if it is missing.
    pub(super) fn required<T>(&mut self, key: &'static str, instead: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        if !self.has(key) {
            self.known.push(key);
            self.fault(key, None, "it is missing", instead);
            return None;
        }
        self.parsed(key, instead)
    }

    /// A list of texts of some type, without the malformed ones.
    pub(super) fn list<T>(&mut self, key: &'static str, instead: &str) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        let items = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_type(&self.place(key), &other, &format!("write a list; each item {instead}"));
                return Vec::new();
            }
        };
        let mut list = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("{}[{index}]", self.place(key));
            match item {
                Value::String(text) => match text.parse::<T>() {
                    Ok(item) => list.push(item),
                    Err(error) => self.faults.add(&place, Some(&text), error.to_string(), instead),
                },
                other => self.wrong_type(&place, &other, instead),
            }
        }
        list
    }

    /// A whole number within limits, or its default.
    pub(super) fn number(&mut self, key: &'static str, limits: RangeInclusive<u64>, default: u64) -> u64 {
        self.optional_number(key, limits).unwrap_or(default)
    }

    /// A whole number within limits, if it is given.
    pub(super) fn optional_number(&mut self, key: &'static str, limits: RangeInclusive<u64>) -> Option<u64> {
        let instead = format!("write a whole number from {} to {}", limits.start(), limits.end());
        let value = self.take(key)?;
        let number = match &value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) if self.faults.is_variable(&self.place(key)) => text.trim().parse().ok(),
            _ => None,
        };
        let within = number.filter(|number| limits.contains(number));
        if within.is_none() {
            let reason = "it is not a number within its limits";
            self.faults.add_value(&self.place(key), &value, reason, instead);
        }
        within
    }

    /// Whole seconds within limits, or their default.
    pub(super) fn seconds(
        &mut self,
        key: &'static str,
        limits: RangeInclusive<u64>,
        default: u64,
    ) -> Duration {
        Duration::from_secs(self.number(key, limits, default))
    }

    /// A count within limits, or its default.
    pub(super) fn count(&mut self, key: &'static str, limits: RangeInclusive<u32>, default: u32) -> u32 {
        let limits = u64::from(*limits.start())..=u64::from(*limits.end());
        u32::try_from(self.number(key, limits, u64::from(default))).unwrap_or(default)
    }

    /// A port other than 0, if it is given.
    pub(super) fn port(&mut self, key: &'static str) -> Option<u16> {
        self.optional_number(key, 1..=u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
    }

    /// Yes or no, or its default.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => {
                self.wrong_type(&self.place(key), &other, "write true or false");
                default
            }
        }
    }

    /// One of several words, or the first.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let instead = format!("write one of {}", list.join(", "));
        let Some(text) = self.text(key, &instead) else { return default };
        words.iter().find(|(word, _)| *word == text).map_or_else(
            || {
                self.fault(key, Some(&text), "there is no such choice", instead);
                default
            },
            |(_, meaning)| *meaning,
        )
    }

    /// A secret at one key, or in a file that the other names. `what` it is: `the client's secret`.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        what: &str,
    ) -> Option<SecretString> {
        let instead = format!("write the path of a file that holds {what}");
        let given = self.text(key, &format!("write {what}"));
        let Some(path) = self.text(file_key, &instead) else { return given.map(SecretString::from) };
        if given.is_some() {
            self.fault(file_key, Some(&path), format!("{key} is there too"), "keep one of them");
            return None;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Some(SecretString::from(text.trim().to_owned())),
            Ok(_) => self.fault(file_key, Some(&path), "the file is empty", instead),
            Err(error) => {
                let instead = "write the path of a file that can be read";
                self.fault(file_key, Some(&path), error.to_string(), instead);
            }
        }
        None
    }

    /// What stands at a key, whatever its type.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.take(key)
    }

    /// A table inside this one; empty if it is missing.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        let path = self.place(key);
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong_type(&path, &other, &format!("write a section [{path}]"));
                Table::new()
            }
        };
        Section { path, table, known: Vec::new(), faults: self.faults }
    }

    /// A list of tables inside this one.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let path = self.place(key);
        let instead = format!("write sections [[{path}]]");
        let items = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_type(&path, &other, &instead);
                Vec::new()
            }
        };
        let mut sections = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item {
                Value::Table(table) => {
                    sections.push(Section { path, table, known: Vec::new(), faults: self.faults });
                }
                other => self.wrong_type(&path, &other, &instead),
            }
        }
        sections
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, value) in &self.table {
            let near = self
                .known
                .iter()
                .map(|known| (distance(key, known), known))
                .min()
                .filter(|(steps, known)| *steps <= known.len().max(key.len()) / 2);
            let instead = match near {
                Some((_, known)) => format!("did you mean {known}?"),
                None => format!("the keys here are {}", self.known.join(", ")),
            };
            self.faults.add_value(&self.place(key), value, "there is no such key", instead);
        }
    }
}
