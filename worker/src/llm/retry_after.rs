//! How long a server asks to wait. Pure: the wall clock comes in.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Waits beyond this are nonsense, such as a date of another century.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The least wait that the headers ask for: `retry-after-ms`, else `retry-after`
/// in seconds or as an HTTP date (counted from the server's own `date`, else from `now`).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return seconds(ms / 1000.0);
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(value) = value.parse::<f64>() {
        return seconds(value);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = text(DATE.as_str())
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or(now);
    Some(until.duration_since(now).unwrap_or_default().min(LONGEST))
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value)
        .ok()
        .map(|wait| wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let now = httpdate::parse_http_date("Sun, 15 Nov 2026 10:00:00 GMT").unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        retry_after(&headers, now)
    }

    #[test]
    fn seconds_milliseconds_and_dates_are_read() {
        assert_eq!(wait(&[("retry-after", "30")]), Some(Duration::from_secs(30)));
        assert_eq!(
            wait(&[("retry-after", " 1.5 ")]),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(
            wait(&[("retry-after-ms", "250"), ("retry-after", "1")]),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            wait(&[("retry-after", "Sun, 15 Nov 2026 10:01:30 GMT")]),
            Some(Duration::from_secs(90))
        );
    }

    #[test]
    fn a_date_counts_from_the_servers_own_clock() {
        assert_eq!(
            wait(&[
                ("date", "Sun, 15 Nov 2026 12:00:00 GMT"),
                ("retry-after", "Sun, 15 Nov 2026 12:00:20 GMT")
            ]),
            Some(Duration::from_secs(20))
        );
    }

    #[test]
    fn the_past_is_now_and_nonsense_is_nothing() {
        assert_eq!(
            wait(&[("retry-after", "Sun, 15 Nov 2026 09:00:00 GMT")]),
            Some(Duration::ZERO)
        );
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[("retry-after", "-3")]), None);
        assert_eq!(wait(&[("retry-after", "1e300")]), None);
        assert_eq!(wait(&[("retry-after", "99999999")]), Some(LONGEST));
        assert_eq!(wait(&[]), None);
    }
}
