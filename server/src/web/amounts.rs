//! How pages show amounts of money and of time: `$1,635.63`, `181 h`, `17 %`.

use crate::domain::money::{HOUR_US, Money};

/// `$1,635.63`.
pub(super) fn dollars(amount: Money) -> String {
    let text = amount.decimal(2);
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |text| ("-", text));
    let (whole, cents) = text.split_once('.').unwrap_or((text, "00"));
    format!("{sign}${}.{cents}", thousands(whole))
}

/// An amount of which part may have no known price: that is unknown, never nought.
pub(super) fn known(amount: Money, unpriced: bool) -> String {
    if unpriced && amount == Money::ZERO { "unknown".to_owned() } else { dollars(amount) }
}

/// An amount that is an estimate: `$2,040` for anything from ten dollars on, to three digits.
pub(super) fn about(amount: Money) -> String {
    let whole = amount.rounded(0);
    if whole < 10 {
        return dollars(amount);
    }
    let mut step = 1;
    while whole / step >= 1_000 {
        step *= 10;
    }
    format!("${}", thousands(&((whole + step / 2) / step * step).to_string()))
}

/// Hours: whole ones, and tenths where there are few.
pub(super) fn hours(time_us: i64) -> String {
    if time_us < 10 * HOUR_US {
        let tenths = (time_us + HOUR_US / 20) / (HOUR_US / 10);
        return format!("{}.{} h", tenths / 10, tenths % 10);
    }
    format!("{} h", thousands(&((time_us + HOUR_US / 2) / HOUR_US).to_string()))
}

/// A part of a whole, where there is one: `17 %`.
pub(super) fn percent(part: Money, whole: Money) -> String {
    let percent = part.percent_of(whole);
    percent.map_or_else(String::new, |percent| format!("{percent} %"))
}

/// Digits in groups of three.
pub(super) fn thousands(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cents(cents: i64) -> Money {
        Money::from_nano_usd(cents * 10_000_000)
    }

    #[test]
    fn amounts_are_grouped_and_rounded() {
        assert_eq!(
            [0, 5, 99_999, 163_563, 100_000_000].map(|amount| dollars(cents(amount))),
            ["$0.00", "$0.05", "$999.99", "$1,635.63", "$1,000,000.00"]
        );
        assert_eq!(
            [412, 1_049, 41_260, 203_712, 99_950_000].map(|amount| about(cents(amount))),
            ["$4.12", "$10", "$413", "$2,040", "$1,000,000"]
        );
        assert_eq!((known(Money::ZERO, true), known(cents(1), true)), ("unknown".into(), "$0.01".into()));
    }

    #[test]
    fn times_are_as_long_as_they_need_to_be() {
        let tenth = HOUR_US / 10;
        assert_eq!(
            [0, 32, 99, 1_806, 11_200].map(|n| hours(n * tenth)),
            ["0.0 h", "3.2 h", "9.9 h", "181 h", "1,120 h"]
        );
        assert_eq!(percent(cents(1), cents(3)), "33 %");
        assert_eq!(percent(cents(0), cents(0)), "");
    }
}
