//! When the same model is asked again, and what is said when nobody answered. Pure.

use std::time::Duration;

use protocol::step::{ErrorClass, StepError};

use super::LlmError;

/// Most tries of one candidate within one call.
const TRIES: u32 = 3;
/// The longest wait within a call; a longer one gives the slot back to other steps.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The upper end of the first random wait; it doubles with every try.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How long to wait before the next try of the same candidate; `None`: do not try again.
///
/// `random` in 0..1 spreads those who were refused together; what the server asked for is the least.
pub(super) fn wait_before_next_try(error: &LlmError, tries: u32, random: f64) -> Option<Duration> {
    let LlmError::Retry { after, .. } = error else {
        return None;
    };
    let least = after.unwrap_or_default();
    if tries >= TRIES || least > LONGEST_WAIT {
        return None;
    }
    let spread = FIRST_WAIT * 2_u32.saturating_pow(tries.saturating_sub(1));
    Some((least + spread.mul_f64(random)).min(LONGEST_WAIT).max(least))
}

/// One error of all: the one that heals first names the class and the wait.
pub(super) fn nobody_answered(failures: Vec<StepError>) -> StepError {
    let messages: Vec<&str> = failures.iter().map(|error| error.message.as_str()).collect();
    let message = match messages.as_slice() {
        [only] => (*only).to_owned(),
        several => format!("no model answered: {}", several.join("; ")),
    };
    let soonest = failures.into_iter().min_by_key(|error| match error.class {
        ErrorClass::RateLimited | ErrorClass::Provider => (0, error.retry_after_ms),
        ErrorClass::Quota => (1, error.retry_after_ms),
        _ => (2, None),
    });
    let mut error = soonest.unwrap_or_else(|| StepError::new(ErrorClass::Missing, ""));
    error.message = message;
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(after: Option<u64>) -> LlmError {
        LlmError::Retry {
            message: "busy".into(),
            after: after.map(Duration::from_secs),
            rate_limited: true,
        }
    }

    #[test]
    fn the_servers_wait_is_the_least_and_random_time_comes_on_top() {
        assert_eq!(
            wait_before_next_try(&busy(Some(5)), 1, 0.0),
            Some(Duration::from_secs(5))
        );
        assert_eq!(
            wait_before_next_try(&busy(Some(5)), 2, 0.5),
            Some(Duration::from_secs(6))
        );
        assert_eq!(
            wait_before_next_try(&busy(None), 1, 0.25),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            wait_before_next_try(&busy(Some(60)), 1, 0.9),
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn long_waits_the_last_try_and_other_errors_are_not_tried_again() {
        assert_eq!(wait_before_next_try(&busy(Some(61)), 1, 0.0), None);
        assert_eq!(wait_before_next_try(&busy(None), TRIES, 0.0), None);
        assert_eq!(wait_before_next_try(&LlmError::Auth("no".into()), 1, 0.0), None);
    }

    #[test]
    fn of_several_failures_the_one_that_heals_first_decides() {
        let quota = StepError {
            retry_after_ms: Some(1),
            ..StepError::new(ErrorClass::Quota, "quota is spent")
        };
        let busy: StepError = busy(Some(90)).into();
        let error = nobody_answered(vec![quota, busy]);
        assert_eq!(error.class, ErrorClass::RateLimited);
        assert_eq!(error.retry_after_ms, Some(90_000));
        assert_eq!(error.message, "no model answered: quota is spent; busy");
    }
}
