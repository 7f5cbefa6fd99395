//! The forms of a page: what a browser would send.

use anyhow::{Context, Result, ensure};

/// A form as it stands in a page, filled in or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Its `name`.
    pub name: Option<String>,
    /// Its `id`.
    pub id: Option<String>,
    /// Where it is sent, as written; the page's own address when empty.
    pub action: String,
    /// Whether it is sent by POST.
    pub post: bool,
    /// What it sends: names and values in the page's order.
    pub fields: Vec<(String, String)>,
    /// Names of fields that can be set: also boxes that are not ticked and buttons that are not pressed.
    settable: Vec<String>,
}

impl Form {
    /// Whether the form has this name, id or action.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name) || self.id.as_deref() == Some(name) || self.action == name
    }

    /// The value that a field would send.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Fills in a field, ticks a box or presses a button.
    ///
    /// # Errors
    /// When the form has no such field: a person could not fill it in either.
    pub fn put(&mut self, name: &str, value: &str) -> Result<()> {
        ensure!(self.settable.iter().any(|field| field == name), "no field {name} among {:?}", self.settable);
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Takes a field away, as a forger would.
    pub fn drop_field(&mut self, name: &str) {
        self.fields.retain(|(field, _)| field != name);
    }
}

/// The forms of a page in their order.
#[must_use]
pub fn forms(html: &str) -> Vec<Form> {
    let mut all = Vec::new();
    let mut open: Option<Form> = None;
    let mut select: Option<(String, Option<String>)> = None;
    let mut rest = html;
    while let Some((tag, after)) = next_tag(rest) {
        rest = after;
        match tag.name.as_str() {
            "form" => all.extend(open.replace(new_form(&tag))),
            "/form" => all.extend(open.take()),
            // Their text is no markup.
            "script" | "style" => rest = skip_to(after, &format!("</{}", tag.name)),
            "select" => select = tag.get("name").map(|name| (name, None)),
            "option" => choose(&mut select, &tag, after),
            "/select" => {
                if let (Some(form), Some((name, value))) = (open.as_mut(), select.take()) {
                    form.settable.push(name.clone());
                    form.fields.extend(value.map(|value| (name, value)));
                }
            }
            "input" | "button" | "textarea" => {
                if let Some(form) = open.as_mut() {
                    field(form, &tag, after);
                }
            }
            _ => {}
        }
    }
    all.extend(open);
    all
}

fn new_form(tag: &Tag) -> Form {
    Form {
        name: tag.get("name"),
        id: tag.get("id"),
        action: tag.get("action").unwrap_or_default(),
        post: tag.get("method").is_some_and(|method| method.eq_ignore_ascii_case("post")),
        fields: Vec::new(),
        settable: Vec::new(),
    }
}

/// The first option is chosen unless another one says that it is.
fn choose(select: &mut Option<(String, Option<String>)>, tag: &Tag, after: &str) {
    if let Some((_, chosen)) = select
        && (chosen.is_none() || tag.has("selected"))
    {
        *chosen = Some(tag.get("value").unwrap_or_else(|| text(after).trim().to_owned()));
    }
}

fn field(form: &mut Form, tag: &Tag, after: &str) {
    let Some(name) = tag.get("name").filter(|_| !tag.has("disabled")) else { return };
    let kind = tag.get("type").unwrap_or_default().to_ascii_lowercase();
    form.settable.push(name.clone());
    let value = match (tag.name.as_str(), kind.as_str()) {
        ("button", _) | ("input", "submit" | "button" | "image" | "reset") => return,
        ("input", "checkbox" | "radio") if !tag.has("checked") => return,
        ("input", "checkbox" | "radio") => tag.get("value").unwrap_or_else(|| "on".to_owned()),
        ("textarea", _) => text(after).trim_start_matches('\n').to_owned(),
        _ => tag.get("value").unwrap_or_default(),
    };
    form.fields.push((name, value));
}

/// The text up to the next tag.
fn text(html: &str) -> String {
    unescape(html.split('<').next().unwrap_or_default())
}

/// The rest of a page from a mark on.
fn skip_to<'a>(html: &'a str, mark: &str) -> &'a str {
    let lower = html.to_ascii_lowercase();
    lower.find(mark).and_then(|at| html.get(at..)).unwrap_or_default()
}

/// A tag with its attributes.
struct Tag {
    /// In lower case, with the slash of a closing tag.
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn get(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(known, _)| known == name)
    }
}

/// The next tag and what comes after it.
fn next_tag(html: &str) -> Option<(Tag, &str)> {
    let (_, mut rest) = html.split_once('<')?;
    while let Some(comment) = rest.strip_prefix("!--") {
        rest = comment.split_once("-->")?.1.split_once('<')?.1;
    }
    let end = rest.find(|letter: char| letter.is_whitespace() || letter == '>')?;
    let (name, mut rest) = rest.split_at_checked(end)?;
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((Tag { name: name.trim_end_matches('/').to_ascii_lowercase(), attributes }, after));
        }
        let (attribute, after) = attribute(rest)?;
        attributes.push(attribute);
        rest = after;
    }
}

fn attribute(html: &str) -> Option<((String, String), &str)> {
    let end = html.find(|letter: char| letter.is_whitespace() || matches!(letter, '=' | '>' | '/'))?;
    // A letter that begins no name is stepped over.
    let end = if end == 0 { html.chars().next()?.len_utf8() } else { end };
    let (name, rest) = html.split_at_checked(end)?;
    let name = name.to_ascii_lowercase();
    let Some(value) = rest.trim_start().strip_prefix('=') else { return Some(((name, String::new()), rest)) };
    let value = value.trim_start();
    for quote in ['"', '\''] {
        if let Some(quoted) = value.strip_prefix(quote) {
            let (value, rest) = quoted.split_once(quote)?;
            return Some(((name, unescape(value)), rest));
        }
    }
    let end = value.find(|letter: char| letter.is_whitespace() || letter == '>')?;
    let (value, rest) = value.split_at_checked(end)?;
    Some(((name, unescape(value)), rest))
}

/// Text with its character references replaced: those that pages of ours and the provider's use.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match after.split_once(';').and_then(|(name, rest)| Some((reference(name).ok()?, rest))) {
            Some((letter, after)) => {
                out.push(letter);
                rest = after;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Result<char> {
    let code = match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        "nbsp" => return Ok('\u{a0}'),
        name => match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
            Some(digits) => u32::from_str_radix(digits, 16)?,
            None => name.strip_prefix('#').context("not known")?.parse()?,
        },
    };
    char::from_u32(code).context("no letter")
}
