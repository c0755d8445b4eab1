//! Times, sizes and amounts as people read them.

use jiff::Timestamp;

/// How long ago, such as `12s ago`; what lies ahead reads `in 5m`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - then.as_second();
    match seconds {
        -1..=1 => "now".to_owned(),
        2.. => format!("{} ago", coarse(seconds)),
        _ => format!("in {}", coarse(-seconds)),
    }
}

/// The largest unit alone: `45s`, `12m`, `3h`, `2d`.
fn coarse(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// From start to end, or to now: `27ms`, `2.4s`, `12s`, `3m 05s`, `2h 10m`, `1d 3h`.
pub(crate) fn elapsed(start: Timestamp, end: Timestamp) -> String {
    let ms = (end.as_millisecond() - start.as_millisecond()).max(0);
    duration_ms(ms as u64)
}

/// A length of time, given in milliseconds.
pub(crate) fn duration_ms(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..=9 => format!("{seconds}.{}s", ms % 1000 / 100),
        10..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A number of tokens: `0`, `950`, `12.4k`, `1.2M`.
pub(crate) fn tokens(count: u64) -> String {
    match count {
        0..=999 => count.to_string(),
        1_000..=999_949 => format!("{:.1}k", count as f64 / 1e3),
        _ => format!("{:.1}M", count as f64 / 1e6),
    }
}

/// Millionths of a dollar: `$0.03`, or more digits for little sums.
pub(crate) fn dollars(micro: u64) -> String {
    match micro {
        0 => "$0".to_owned(),
        1..=9_999 => format!("${:.4}", micro as f64 / 1e6),
        _ => format!("${:.2}", micro as f64 / 1e6),
    }
}

/// A number of bytes: `812 B`, `1.5 KiB`, `20.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn times_read_as_people_say_them() {
        let table = [
            (0, "now"),
            (45, "45s ago"),
            (600, "10m ago"),
            (7_200, "2h ago"),
            (200_000, "2d ago"),
            (-300, "in 5m"),
        ];
        for (seconds, expected) in table {
            assert_eq!(ago(at(1_000_000), at(1_000_000 + seconds)), expected);
        }
        assert_eq!(duration_ms(450), "450ms");
        assert_eq!(elapsed(at(0), at(185)), "3m 05s");
        assert_eq!(elapsed(at(10), at(0)), "0ms");
        assert_eq!(duration_ms(7_800_000), "2h 10m");
        assert_eq!(duration_ms(97_200_000), "1d 3h");
    }

    #[test]
    fn amounts_keep_few_digits() {
        assert_eq!(tokens(950), "950");
        assert_eq!(tokens(12_400), "12.4k");
        assert_eq!(tokens(999_999), "1.0M");
        assert_eq!(dollars(0), "$0");
        assert_eq!(dollars(1_362), "$0.0014");
        assert_eq!(dollars(2_500_000), "$2.50");
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(20 << 30), "20.0 GiB");
    }
}
