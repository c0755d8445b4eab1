//! "Did you mean": the known name that is closest to a mistyped one.

/// Least likeness (Jaro-Winkler, 0 to 1) at which a name is suggested: one or two wrong letters pass.
const ALIKE: f64 = 0.8;

/// The closest of `known`, if any is close.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// A hint for an unknown name: the closest one, or else all of them.
pub(super) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match closest(word, known.iter().copied()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_mended_and_anything_else_is_listed() {
        let known = ["needs", "agent", "outputs"];
        assert_eq!(hint("neds", known).as_deref(), Some("did you mean `needs`?"));
        assert_eq!(hint("output", known).as_deref(), Some("did you mean `outputs`?"));
        assert_eq!(
            hint("zzz", known).as_deref(),
            Some("known: needs, agent, outputs")
        );
        assert_eq!(hint("zzz", []), None);
    }
}
