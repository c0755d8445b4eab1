//! Ends MQTT connections whose API token was removed or has expired.
//!
//! Asks the table again and again instead of being told: so a token that ends during
//! its own login, or by the clock alone, is found like any other. It decides nothing
//! about logins.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use protocol::{http::tokens::TokenView, id::TokenId};
use service::clock::SharedClock;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    broker::BrokerControl,
    state::{Readers, tokens},
};

/// How often it looks; a connection outlives its token by hardly more.
const LOOK: Duration = Duration::from_secs(1);

/// Looks until the process stops.
pub async fn watch(control: BrokerControl, readers: Readers, clock: SharedClock, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let connected = control.tokens();
        if connected.is_empty() {
            continue;
        }
        match readers.query(tokens::all).await {
            Ok(known) => {
                for token in lapsed(&connected, &known, clock.wall()) {
                    let closed = control.kick_token(token);
                    info!(%token, closed, "closed the MQTT connections of a token that has ended");
                }
            }
            // nobody is thrown out because a table could not be read
            Err(error) => warn!(%error, "cannot see whether connected tokens have ended"),
        }
    }
}

/// Those of the connected tokens that open nothing any more.
fn lapsed(connected: &BTreeSet<TokenId>, known: &[TokenView], now: Timestamp) -> Vec<TokenId> {
    let valid: BTreeSet<TokenId> = known
        .iter()
        .filter(|token| token.expires_at.is_none_or(|end| now < end))
        .map(|token| token.id)
        .collect();
    connected.difference(&valid).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(expires_at: Option<Timestamp>) -> TokenView {
        TokenView {
            id: TokenId::new(),
            name: "laptop".into(),
            scopes: vec![],
            created_at: Timestamp::UNIX_EPOCH,
            expires_at,
            last_used_at: None,
        }
    }

    #[test]
    fn removed_and_expired_tokens_have_ended_and_others_have_not() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let known = [token(None), token(Some(at(11))), token(Some(at(10)))];
        let removed = TokenId::new();
        let connected: BTreeSet<TokenId> = known.iter().map(|token| token.id).chain([removed]).collect();
        let ended: BTreeSet<TokenId> = lapsed(&connected, &known, at(10)).into_iter().collect();
        assert_eq!(ended, BTreeSet::from([removed, known[2].id]));
        assert_eq!(
            lapsed(&BTreeSet::new(), &known, at(99)),
            vec![],
            "nobody is there"
        );
    }
}
