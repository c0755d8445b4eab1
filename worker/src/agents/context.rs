//! What a model is shown, in a fixed order so that servers can cache the
//! beginning, and cut to fit its window before anything is sent. Pure.

/// A part of the opening message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Its text.
    pub body: String,
    /// What happens to it when there is too little room.
    pub shrink: Shrink,
}

/// What happens to a section when there is too little room; lower ranks give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// It stays.
    Never,
    /// Its end is cut off at a line.
    Cut(u8),
    /// It is left out whole: a part of it would mislead.
    Drop(u8),
}

impl Section {
    /// A section; nothing if its text is blank.
    pub fn new(title: impl Into<String>, body: impl Into<String>, shrink: Shrink) -> Option<Self> {
        let body = body.into();
        (!body.trim().is_empty()).then(|| Self {
            title: title.into(),
            body,
            shrink,
        })
    }

    fn len(&self) -> usize {
        self.title.len() + self.body.len() + FRAME
    }

    fn rank(&self) -> Option<u8> {
        match self.shrink {
            Shrink::Never => None,
            Shrink::Cut(rank) | Shrink::Drop(rank) => Some(rank),
        }
    }
}

/// Bytes around a section: heading marks and line ends.
const FRAME: usize = 8;
/// What stands where text was cut off.
const CUT: &str = "(cut: more does not fit)\n";

/// Puts the sections together within about `room` bytes. What may not shrink is
/// always there, so the result can still be too long; the caller's check before
/// sending decides about that.
pub fn compose(sections: &[Section], room: usize) -> String {
    let mut sections = sections.to_vec();
    let mut left_out = Vec::new();
    let mut over = sections
        .iter()
        .map(Section::len)
        .sum::<usize>()
        .saturating_sub(room);
    while over > 0 {
        // of equal ranks the last one gives way first
        let candidates = sections.iter().enumerate().rev();
        let weakest = candidates.filter_map(|(i, section)| section.rank().map(|rank| (rank, i)));
        let Some((_, at)) = weakest.min_by_key(|(rank, _)| *rank) else {
            break;
        };
        let section = &mut sections[at];
        let keep = section.body.len().saturating_sub(over + CUT.len());
        let before = section.len();
        match section.shrink {
            Shrink::Cut(_) if keep > 0 => {
                section.body = cut(&section.body, keep);
                section.shrink = Shrink::Never;
                over = over.saturating_sub(before.saturating_sub(section.len()).max(1));
            }
            _ => {
                left_out.push(sections.remove(at).title);
                over = over.saturating_sub(before);
            }
        }
    }
    let mut text = String::new();
    for section in &sections {
        let end = if section.body.ends_with('\n') { "" } else { "\n" };
        text.push_str(&format!("## {}\n\n{}{end}\n", section.title, section.body));
    }
    if !left_out.is_empty() {
        left_out.reverse();
        text.push_str(&format!(
            "(Not shown, as it does not fit: {}.)\n\n",
            left_out.join(", ")
        ));
    }
    text
}

/// At most `most` bytes of a text, ending with a whole line and a note if something is missing.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head = &text[..floor(text, most)];
    let end = head.rfind('\n').map_or(head.len(), |end| end + 1);
    let gap = if head[..end].ends_with('\n') { "" } else { "\n" };
    format!("{}{gap}{CUT}", &head[..end])
}

/// The last `most` bytes of a text, beginning with a whole line.
pub fn tail(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let start = (text.len() - most..=text.len())
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(text.len());
    let rest = &text[start..];
    let begin = rest.find('\n').map_or(0, |end| end + 1);
    format!("(cut: the beginning is left out)\n{}", &rest[begin..])
}

/// The largest character boundary up to `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn section(title: &str, lines: usize, shrink: Shrink) -> Section {
        Section::new(title, "a line of twenty ch\n".repeat(lines), shrink).expect("not blank")
    }

    #[test]
    fn everything_is_shown_in_order_while_it_fits() {
        let sections = [
            section("map", 2, Shrink::Cut(0)),
            section("task", 1, Shrink::Never),
        ];
        let text = compose(&sections, 1000);
        assert_eq!(
            text,
            "## map\n\na line of twenty ch\na line of twenty ch\n\n## task\n\na line of twenty ch\n\n"
        );
    }

    #[test]
    fn the_lowest_rank_gives_way_first_and_files_only_whole() {
        let sections = [
            section("map", 20, Shrink::Cut(0)),
            section("a.rs", 20, Shrink::Drop(1)),
            section("b.rs", 20, Shrink::Drop(1)),
            section("task", 5, Shrink::Never),
        ];
        let less = compose(&sections, 1200);
        assert!(
            less.contains("## map") && less.contains(CUT) && less.contains("## b.rs"),
            "{less}"
        );
        let least = compose(&sections, 600);
        assert!(
            !least.contains("## map") && least.contains("## a.rs") && !least.contains("## b.rs"),
            "{least}"
        );
        assert!(
            least.contains("Not shown, as it does not fit: map, b.rs") || least.contains("b.rs, map"),
            "{least}"
        );
        assert!(compose(&sections, 0).contains("## task"));
    }

    #[test]
    fn text_is_cut_at_lines() {
        assert_eq!(cut("one\ntwo\nthree\n", 9), format!("one\ntwo\n{CUT}"));
        assert_eq!(
            tail("one\ntwo\nthree\n", 9),
            "(cut: the beginning is left out)\nthree\n"
        );
        assert_eq!(cut("ééé", 3), format!("é\n{CUT}"));
    }

    proptest! {
        #[test]
        fn no_room_makes_it_panic_or_forget_the_task(room in 0..3000_usize, a in "[a-zé\n]{0,400}", b in "[a-zé\n]{0,400}") {
            let sections: Vec<Section> = [
                Section::new("map", a, Shrink::Cut(0)),
                Section::new("file", b, Shrink::Drop(1)),
                Section::new("task", "do it", Shrink::Never),
            ].into_iter().flatten().collect();
            let text = compose(&sections, room);
            prop_assert!(text.contains("## task\n\ndo it\n"));
            let fixed = "## task\n\ndo it\n\n".len() + "(Not shown, as it does not fit: file, map.)\n\n".len() + CUT.len();
            prop_assert!(text.len() <= room + fixed);
        }
    }
}
