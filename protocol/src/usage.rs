//! What model calls cost: tokens, calls and money.

use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens, calls and money of one attempt, step or job; sums add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Fresh input tokens.
    pub input_tokens: u64,
    /// Input tokens that the provider had cached.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Model calls.
    pub calls: u64,
    /// Money in millionths of a US dollar.
    #[serde(default)]
    pub cost_microusd: u64,
}

impl Usage {
    /// Whether nothing was used.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// All tokens, whatever their price.
    pub const fn tokens(&self) -> u64 {
        self.input_tokens + self.cached_tokens + self.output_tokens
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.calls = self.calls.saturating_add(other.calls);
        self.cost_microusd = self.cost_microusd.saturating_add(other.cost_microusd);
    }
}
