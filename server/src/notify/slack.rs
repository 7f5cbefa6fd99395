//! The form of Slack's incoming webhooks.

use serde_json::{Value, json};

use crate::domain::notice::Notice;

/// A section's text may have so many characters (docs.slack.dev, Block Kit, Section block: 3,000).
const LONGEST: usize = 2_900;

/// The message. `text` is what notifications show where there are blocks.
pub(super) fn message(notice: &Notice) -> Value {
    let title = escaped(&notice.title());
    // Verbatim: names and channels in somebody's text stay text.
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } });
    let body = cut(&notice.body().iter().map(|line| escaped(line)).collect::<Vec<_>>());
    let mut blocks = vec![section(format!("*{title}*")), section(body)];
    // Verbatim text has no links but those that are written as such.
    let is_link = |page: &&str| page.starts_with("http") && !page.contains(['|', ' ']);
    if let Some(page) = notice.page().filter(is_link) {
        blocks.push(section(format!("<{}|Keep it up>", escaped(page))));
    }
    json!({ "text": title, "blocks": blocks })
}

/// The three characters that control Slack's text (docs.slack.dev, Formatting message text: escaping).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whole lines only: half an escape would be text of its own.
fn cut(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        if text.chars().count() + line.chars().count() >= LONGEST {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }
    text
}
