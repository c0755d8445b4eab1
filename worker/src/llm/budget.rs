//! How many tokens a prompt has before it is sent: bytes / 3 until the
//! provider's own count corrects it. Pure.

use super::{ChatMessage, LlmError};

/// Tokens per byte before a provider has counted: code and prose in most tokenizers need fewer.
const FIRST_GUESS: f64 = 1.0 / 3.0;
/// What a correction may lead to; outside of this a count is not of the whole prompt.
const CREDIBLE: std::ops::RangeInclusive<f64> = 0.2..=1.5;
/// Shorter prompts teach nothing: the chat template outweighs the text.
const LEAST_TO_LEARN: usize = 1000;
/// The part of the window that a prompt may fill; the answer needs the rest.
const PART: f64 = 0.9;

/// The size of a prompt in bytes.
pub(super) fn prompt_bytes(system: &str, messages: &[ChatMessage]) -> usize {
    system.len() + messages.iter().map(|message| message.text.len()).sum::<usize>()
}

/// Tokens of so many bytes, before anybody has counted.
pub(super) fn first_guess(bytes: usize) -> u64 {
    TokenEstimate::default().tokens(bytes)
}

/// Translates bytes into tokens of one model.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenEstimate {
    tokens_per_byte: f64,
}

impl Default for TokenEstimate {
    fn default() -> Self {
        Self {
            tokens_per_byte: FIRST_GUESS,
        }
    }
}

impl TokenEstimate {
    /// About how many tokens so many bytes are.
    pub(super) fn tokens(self, bytes: usize) -> u64 {
        (bytes as f64 * self.tokens_per_byte).ceil() as u64
    }

    /// Learns from the provider's own count of a whole prompt.
    pub(super) fn learn(&mut self, bytes: usize, counted: u64) {
        let ratio = counted as f64 / bytes.max(1) as f64;
        if bytes >= LEAST_TO_LEARN && CREDIBLE.contains(&ratio) {
            self.tokens_per_byte = ratio;
        }
    }

    /// The bytes that a prompt for this window may have.
    pub(super) fn room(self, window: u32) -> usize {
        (f64::from(window) * PART / self.tokens_per_byte).floor() as usize
    }

    /// The estimate of a prompt, or that it fills more than 90 % of the window.
    pub(super) fn check(self, bytes: usize, window: u32) -> Result<u64, LlmError> {
        let prompt = self.tokens(bytes);
        if prompt as f64 > f64::from(window) * PART {
            return Err(LlmError::TooLong {
                prompt,
                window: u64::from(window),
                detail: Some("it was not sent, as the answer needs a tenth of the window".into()),
            });
        }
        Ok(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_stops_at_nine_tenths_of_the_window() {
        let estimate = TokenEstimate::default();
        assert_eq!(estimate.check(2700, 1000).unwrap(), 900);
        let refused = estimate.check(2704, 1000).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("902") && text.contains("1000"), "{text}");
    }

    #[test]
    fn a_count_corrects_the_estimate_and_the_room() {
        let mut estimate = TokenEstimate::default();
        estimate.learn(4000, 1000);
        assert_eq!(estimate.tokens(2000), 500);
        assert_eq!(estimate.room(1000), 3600);
        assert!(estimate.check(3600, 1000).is_ok());
    }

    #[test]
    fn short_prompts_and_incredible_counts_teach_nothing() {
        let mut estimate = TokenEstimate::default();
        estimate.learn(30, 40);
        estimate.learn(100_000, 12);
        estimate.learn(5000, 0);
        assert_eq!(estimate.tokens(300), 100);
    }
}
