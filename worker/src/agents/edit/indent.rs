//! The difference between the indentation that a model wrote and the one that
//! the file has, learned from matched lines and applied to new ones.

use std::cmp::Ordering;

/// Pairs of (the model's, the file's) indentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indents(Vec<(String, String)>);

/// The white space at the start of a line.
pub(super) fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

impl Indents {
    /// Learns from pairs of (the model's, the file's) non-blank lines. `None` if
    /// they contradict each other: what is deeper must stay deeper.
    pub(super) fn learn<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut known: Vec<(String, String)> = Vec::new();
        for (model, file) in pairs {
            let (model, file) = (indent_of(model), indent_of(file));
            if known.iter().any(|(m, f)| m == model && f == file) {
                continue;
            }
            let fits = |(m, f): &(String, String)| depth(model, m) == depth(file, f);
            if !known.iter().all(fits) {
                return None;
            }
            known.push((model.to_owned(), file.to_owned()));
        }
        Some(Self(known))
    }

    /// A new line of the model, indented as the file wants it.
    pub(super) fn apply(&self, line: &str) -> String {
        let model = indent_of(line);
        let text = &line[model.len()..];
        if text.is_empty() || self.0.iter().all(|(model, file)| model == file) {
            return line.to_owned();
        }
        format!("{}{text}", self.translate(model))
    }

    fn translate(&self, model: &str) -> String {
        let deepest_inside = self
            .0
            .iter()
            .filter(|(m, _)| model.starts_with(m.as_str()))
            .max_by_key(|(m, _)| m.len());
        if let Some((m, f)) = deepest_inside {
            return format!("{f}{}", self.convert(&model[m.len()..]));
        }
        let shallowest_beyond = self
            .0
            .iter()
            .filter(|(m, _)| m.starts_with(model))
            .min_by_key(|(m, _)| m.len());
        match shallowest_beyond {
            Some((m, f)) => {
                let surplus = self.convert(&m[model.len()..]);
                let keep = f.len().saturating_sub(surplus.len());
                f[..keep].to_owned()
            }
            None => self.convert(model),
        }
    }

    /// White space in the file's own style: tabs for the model's spaces or the reverse.
    fn convert(&self, space: &str) -> String {
        let tabs_in_file = self.0.iter().any(|(_, file)| file.contains('\t'));
        let tabs_in_model = self.0.iter().any(|(model, _)| model.contains('\t'));
        let unit = self.unit(tabs_in_file);
        match (tabs_in_model, tabs_in_file) {
            (false, true) => {
                let spaces = space.chars().filter(|c| *c == ' ').count();
                "\t".repeat(spaces.div_ceil(unit))
            }
            (true, false) => space.replace('\t', &" ".repeat(unit)),
            _ => space.to_owned(),
        }
    }

    /// How many spaces of one side stand for a tab of the other; 4 if nothing shows it.
    fn unit(&self, tabs_in_file: bool) -> usize {
        let sides = self.0.iter().map(|(model, file)| {
            let (tabbed, spaced) = if tabs_in_file {
                (file, model)
            } else {
                (model, file)
            };
            (tabbed.matches('\t').count(), spaced.matches(' ').count())
        });
        sides
            .filter(|(tabs, spaces)| *tabs > 0 && *spaces >= *tabs)
            .map(|(tabs, spaces)| spaces / tabs)
            .min()
            .unwrap_or(4)
    }
}

/// How deep `a` is compared with `b`; a tab counts as four columns.
fn depth(a: &str, b: &str) -> Ordering {
    let columns = |space: &str| {
        space
            .chars()
            .map(|c| if c == '\t' { 4 } else { 1 })
            .sum::<usize>()
    };
    columns(a).cmp(&columns(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(pairs: &[(&str, &str)]) -> Option<Indents> {
        Indents::learn(pairs.iter().copied())
    }

    #[test]
    fn an_offset_is_added_or_taken_away() {
        let deeper = learned(&[("a", "    a"), ("  b", "      b")]).expect("consistent");
        assert_eq!(deeper.apply("    c"), "        c");
        assert_eq!(deeper.apply("c"), "    c");
        assert_eq!(deeper.apply(""), "");
        let shallower = learned(&[("    a", "  a")]).expect("consistent");
        assert_eq!(shallower.apply("      c"), "    c");
        assert_eq!(shallower.apply("  c"), "c");
    }

    #[test]
    fn spaces_become_tabs_and_tabs_spaces() {
        let tabs = learned(&[("    a", "\ta")]).expect("consistent");
        assert_eq!(tabs.apply("        b"), "\t\tb");
        let two = learned(&[("  a", "\ta"), ("    b", "\t\tb")]).expect("consistent");
        assert_eq!(two.apply("      c"), "\t\t\tc");
        let spaces = learned(&[("\ta", "  a")]).expect("consistent");
        assert_eq!(spaces.apply("\t\tb"), "    b");
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(learned(&[("a", "a"), ("a", "    a")]), None);
        assert_eq!(learned(&[("a", "    a"), ("    b", "b")]), None);
    }
}
