//! Writing the small XML of the Query protocol.

use std::fmt::Write as _;

/// An element with children, or with text.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    name: &'static str,
    inner: String,
}

impl Element {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, inner: String::new() }
    }

    /// Adds a child with text.
    pub(crate) fn text(mut self, name: &str, text: impl AsRef<str>) -> Self {
        let _ = write!(self.inner, "<{name}>{}</{name}>", escape(text.as_ref()));
        self
    }

    /// Adds a child.
    pub(crate) fn child(mut self, child: Self) -> Self {
        self.inner.push_str(&child.to_string());
        self
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{0}>{1}</{0}>", self.name, self.inner)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_escaped() {
        let element = Element::new("A").text("B", "<&\">").child(Element::new("C"));
        assert_eq!(element.to_string(), "<A><B>&lt;&amp;&quot;&gt;</B><C></C></A>");
    }
}
