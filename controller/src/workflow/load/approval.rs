//! The `approval` of a step: a person is asked before the job goes on.

use protocol::{approval::Answer, duration::Millis};

use super::MAX_TIME;
use crate::workflow::{
    model::Approval,
    read::{Field, Mistakes},
};

/// Keys of `approval`.
pub(super) const KEYS: &[&str] = &["timeout", "on_timeout", "show"];

/// Words of `on_timeout`.
pub(super) const ON_TIMEOUT: [(&str, Answer); 2] = [("approve", Answer::Approve), ("reject", Answer::Reject)];

/// How long a person has if the workflow does not say: a day, as nobody watches at night.
const TIMEOUT: Millis = Millis::from_secs(24 * 3600);

/// Silence is no consent unless the workflow says so.
pub(super) fn read(field: &Field<'_>, mistakes: &mut Mistakes) -> Approval {
    let expected = "an approval: {timeout: 24h, on_timeout: reject, show: [plan]}";
    let section = field.section(expected, mistakes);
    let get = |name: &str| section.as_ref().and_then(|section| section.get(name));
    if let Some(section) = &section {
        section.allow(KEYS, &[], mistakes);
    }
    Approval {
        timeout: get("timeout")
            .and_then(|field| field.duration(MAX_TIME, mistakes))
            .unwrap_or(TIMEOUT),
        on_timeout: get("on_timeout")
            .and_then(|field| field.one_of(&ON_TIMEOUT, mistakes))
            .unwrap_or(Answer::Reject),
        show: get("show")
            .and_then(|field| field.texts("a list of steps", mistakes))
            .unwrap_or_default(),
    }
}
