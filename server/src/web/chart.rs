//! Drawings of costs: where their parts stand. What is drawn is in `templates/chart.html` and `templates/share.html`.
//!
//! Widths are in per cent and heights in pixels, so that type and hatching never stretch. Pure.

use crate::domain::cost::Cost;
use crate::domain::money::Money;

/// Where the axis is.
const BASE: f64 = 168.0;
/// Where the highest line is.
const TOP: f64 = 10.0;
/// Where the bars begin, in per cent: left of it are the amounts.
const LEFT: f64 = 6.5;
/// How much of its day's room a bar takes.
const FILL: f64 = 0.72;
/// The most lines above the axis.
const LINES: i128 = 5;
/// What the parts of a bar are, from the base.
const CLASSES: [&str; 4] = ["active-b", "idle-b", "unknown-b", "use-b"];

/// The parts of a cost in the order in which they are drawn: active, idle, unknown, storage.
pub(super) const fn parts(cost: &Cost) -> [Money; 4] {
    [cost.spent.active, cost.spent.idle, cost.spent.unknown, cost.storage]
}

/// One day.
pub(super) struct Day {
    /// What it says of itself.
    pub(super) title: String,
    /// What stands below it.
    pub(super) tick: Option<String>,
    /// What it cost.
    pub(super) parts: [Money; 4],
}

/// Stacked bars by day.
pub(super) struct Chart {
    pub(super) label: String,
    pub(super) lines: Vec<Line>,
    pub(super) bars: Vec<Bar>,
}

/// A line across, with its amount.
pub(super) struct Line {
    pub(super) y: String,
    pub(super) text_y: String,
    pub(super) text: String,
}

/// A bar.
pub(super) struct Bar {
    pub(super) title: String,
    pub(super) rects: Vec<Rect>,
    pub(super) middle: String,
    pub(super) tick: Option<String>,
}

/// A part of a bar.
pub(super) struct Rect {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
}

impl Chart {
    /// The bars of these days, with room for so many.
    pub(super) fn of(label: String, days: Vec<Day>, room: u8) -> Self {
        let dearest = days.iter().map(|day| day.parts.into_iter().sum::<Money>().rounded(2)).max();
        let step = step(dearest.unwrap_or_default());
        let count = (dearest.unwrap_or_default() + step - 1).div_euclid(step).max(1);
        let y = |cents: i128| BASE - cents as f64 / (count * step) as f64 * (BASE - TOP);
        let lines = (0..=count).map(|n| line(y(n * step), n * step, step)).collect();
        let each = (100.0 - LEFT) / f64::from(room.max(1));
        let bars = days.into_iter().enumerate().map(|(at, day)| {
            let x = LEFT + at as f64 * each;
            Bar {
                title: day.title,
                rects: rects(day.parts, x, each * FILL, &y),
                middle: format!("{:.3}", x + each * FILL / 2.0),
                tick: day.tick,
            }
        });
        Self { label, lines, bars: bars.collect() }
    }
}

/// The parts of a bar on each other. Edges are rounded and heights follow, so that these add up.
fn rects(parts: [Money; 4], x: f64, width: f64, y: &impl Fn(i128) -> f64) -> Vec<Rect> {
    let tenths = |sum: Money| (y(sum.rounded(2)) * 10.0).round();
    let mut sum = Money::ZERO;
    let mut rects = Vec::new();
    for (part, class) in parts.into_iter().zip(CLASSES) {
        let below = tenths(sum);
        sum += part;
        let above = tenths(sum);
        if below > above {
            rects.push(Rect {
                class,
                x: format!("{x:.3}"),
                y: format!("{:.1}", above / 10.0),
                width: format!("{width:.3}"),
                height: format!("{:.1}", (below - above) / 10.0),
            });
        }
    }
    rects
}

/// Between two lines, in cents: the smallest round amount of which few are enough.
fn step(dearest: i128) -> i128 {
    let mut ten = 1;
    loop {
        for step in [ten, 2 * ten, if ten < 100 { 5 * ten } else { 5 * ten / 2 }, 5 * ten] {
            if step * LINES >= dearest {
                return step;
            }
        }
        ten *= 10;
    }
}

fn line(y: f64, cents: i128, step: i128) -> Line {
    let amount =
        if step < 100 { format!("${}.{:02}", cents / 100, cents % 100) } else { format!("${}", cents / 100) };
    Line { y: format!("{y:.1}"), text_y: format!("{:.1}", y - 3.0), text: amount }
}

/// A bar on its side: how a cost is divided. Its heights are those of the marks.
pub(super) fn share(parts: [Money; 4]) -> Vec<Rect> {
    let whole: Money = parts.into_iter().sum();
    let percent = |sum: Money| {
        if whole == Money::ZERO {
            0.0
        } else {
            sum.rounded(6) as f64 / whole.rounded(6).max(1) as f64 * 100.0
        }
    };
    let shapes = [("0", "10"), ("5", "5"), (".5", "9"), ("7", "3")];
    let mut sum = Money::ZERO;
    let mut rects = Vec::new();
    for ((part, class), (y, height)) in parts.into_iter().zip(CLASSES).zip(shapes) {
        let from = percent(sum);
        sum += part;
        if part > Money::ZERO {
            rects.push(Rect {
                class,
                x: format!("{from:.3}"),
                y: y.to_owned(),
                width: format!("{:.3}", percent(sum) - from),
                height: height.to_owned(),
            });
        }
    }
    rects
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;

    #[derive(Template)]
    #[template(path = "chart.html")]
    struct Drawn {
        chart: Chart,
    }

    fn usd(cents: i64) -> Money {
        Money::from_nano_usd(cents * 10_000_000)
    }

    fn day(parts: [i64; 4]) -> Day {
        Day { title: "a <b> & \"c\"".to_owned(), tick: None, parts: parts.map(usd) }
    }

    fn tenths(text: &str) -> i64 {
        text.replace('.', "").parse().unwrap()
    }

    #[test]
    fn heights_add_up_to_the_day() {
        for parts in [[3_079, 1_233, 1, 7], [1, 1, 1, 1], [33, 33, 33, 1], [0, 0, 0, 5_000]] {
            let chart = Chart::of(String::new(), vec![day(parts), day([12_500, 0, 0, 0])], 30);
            let sum: i64 = chart.bars[0].rects.iter().map(|rect| tenths(&rect.height)).sum();
            let cents: i64 = parts.iter().sum();
            let exact = cents as f64 / 12_500.0 * 1_580.0;
            assert!((sum as f64 - exact).abs() <= 1.0, "{parts:?}: {sum} is not {exact}");
            assert_eq!(tenths(&chart.bars[1].rects[0].height), 1_580);
            let top = chart.bars[0].rects.last().map_or(1_680, |rect| tenths(&rect.y));
            assert_eq!(top + sum, 1_680, "the parts lie on each other");
        }
    }

    #[test]
    fn nothing_has_no_height() {
        let chart = Chart::of(String::new(), vec![day([0; 4]), day([0, 5, 0, 0])], 31);
        assert!(chart.bars[0].rects.is_empty());
        assert_eq!(chart.bars[1].rects.len(), 1);
        let nothing = Chart::of(String::new(), vec![day([0; 4])], 31);
        assert_eq!(
            nothing.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(),
            ["$0.00", "$0.01"]
        );
        assert!(share([Money::ZERO; 4]).is_empty());
    }

    #[test]
    fn lines_are_round_and_few() {
        let lines = |cents| {
            let chart = Chart::of(String::new(), vec![day([cents, 0, 0, 0])], 1);
            chart.lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
        };
        assert_eq!(lines(11_351), ["$0", "$25", "$50", "$75", "$100", "$125"]);
        assert_eq!(lines(90), ["$0.00", "$0.20", "$0.40", "$0.60", "$0.80", "$1.00"]);
        assert_eq!(lines(500), ["$0", "$1", "$2", "$3", "$4", "$5"]);
        assert_eq!(lines(501), ["$0", "$2", "$4", "$6"]);
        assert_eq!(lines(1_000_000).last().map(String::as_str), Some("$10000"));
    }

    #[test]
    fn shares_fill_the_width() {
        let rects = share([usd(1), usd(1), Money::ZERO, usd(1)]);
        assert_eq!(rects.len(), 3);
        let last = rects.last().unwrap();
        assert!((last.x.parse::<f64>().unwrap() + last.width.parse::<f64>().unwrap() - 100.0).abs() < 0.01);
    }

    #[test]
    fn words_stay_words() {
        let chart = Chart::of("<script>".to_owned(), vec![day([1, 0, 0, 0])], 1);
        let drawn = Drawn { chart }.render().unwrap();
        assert!(!drawn.contains("<script>") && !drawn.contains("<b>"), "{drawn}");
        assert!(drawn.contains("height=\"158.0\""), "{drawn}");
    }
}
