//! Numbers and times as people read them. Pure.

use jiff::{SignedDuration, Timestamp};
use protocol::usage::Usage;

/// A length of time in its two largest units.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64().max(0.0)),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How long ago something was; the script keeps it true while a page is open.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    match seconds {
        ..5 => "now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A moment to the second, UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A count with a unit that keeps it short.
pub(super) fn count(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        1000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

/// A size in bytes.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB"] {
        if value < 1000.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} GB")
}

/// Money in dollars; nothing at all where nothing was spent.
pub(super) fn money(microusd: u64) -> String {
    match microusd {
        0 => "–".to_owned(),
        1..10_000 => format!("${:.4}", microusd as f64 / 1e6),
        _ => format!("${:.2}", microusd as f64 / 1e6),
    }
}

/// Tokens of all kinds; nothing at all where no model was asked.
pub(super) fn tokens(usage: &Usage) -> String {
    match usage.tokens() {
        0 => "–".to_owned(),
        tokens => count(tokens),
    }
}

/// At most so many characters.
pub(super) fn clipped(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        let spans = [
            (500, "0.5 s"),
            (42_000, "42 s"),
            (125_000, "2 min 05 s"),
            (7_260_000, "2 h 01 min"),
        ];
        for (ms, text) in spans {
            assert_eq!(span(SignedDuration::from_millis(ms)), text);
        }
        assert_eq!(span(SignedDuration::from_millis(-5)), "0.0 s");
        assert_eq!(count(999), "999");
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500_000), "1.5 MB");
        assert_eq!(money(0), "–");
        assert_eq!(money(1_234), "$0.0012");
        assert_eq!(money(1_230_000), "$1.23");
        assert_eq!(clipped("äöü", 2), "äö…");
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(ago(at, at + SignedDuration::from_secs(7200)), "2 h ago");
        assert_eq!(moment(at), "1970-01-01 00:00:00 UTC");
    }
}
