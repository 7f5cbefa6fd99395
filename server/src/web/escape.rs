//! How text gets into pages: escaped for HTML, and without characters that turn around what stands beside it.
//!
//! `askama.toml` names this as the escaper of every template.

use std::fmt::{self, Write};

use askama::filters::{Escaper, Html as Plain};

use crate::domain::plain::{INSTEAD, steers_beyond_layout};

/// For text and attributes of HTML.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Html;

impl Escaper for Html {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let mut parts = text.split(steers_beyond_layout);
        if let Some(first) = parts.next() {
            Plain.write_escaped_str(&mut dest, first)?;
        }
        for part in parts {
            dest.write_char(INSTEAD)?;
            Plain.write_escaped_str(&mut dest, part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    #[derive(Template)]
    #[template(ext = "html", source = "<b title=\"{{ text }}\">{{ text }}</b>")]
    struct Page {
        text: &'static str,
    }

    #[test]
    fn templates_escape_markup_and_leave_out_what_steers() {
        let page = Page { text: "<i a='\"'>&\u{202e}x\u{1b}[31m\u{9b}\0\n\té👩\u{200d}💻" };
        let text = "&#60;i a=&#39;&#34;&#39;&#62;&#38;\u{fffd}x\u{fffd}[31m\u{fffd}\u{fffd}\n\té👩\u{200d}💻";
        assert_eq!(page.render().unwrap(), format!("<b title=\"{text}\">{text}</b>"));
    }
}
