//! Thinking that leaked into an answer, cut away.

use std::borrow::Cow;

const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// The answer without a leading `<think>…</think>`, also when the opening tag
/// was swallowed by the server. An opening tag that is never closed leaves
/// nothing: what follows it is no answer. Tags further down belong to the text.
pub fn without_thinking(reply: &str) -> Cow<'_, str> {
    for (open, close) in TAGS {
        if let Some(inside) = reply.trim_start().strip_prefix(open) {
            let after = inside.split_once(close).map_or("", |(_, after)| after);
            return Cow::Owned(without_thinking(after).into_owned());
        }
        if let Some(end) = closing_line(reply, open, close) {
            return Cow::Borrowed(&reply[end..]);
        }
    }
    Cow::Borrowed(reply)
}

/// Where the text after a line that is only a closing tag begins, if no opening tag
/// came before and the line stands in no fence.
fn closing_line(reply: &str, open: &str, close: &str) -> Option<usize> {
    let (mut at, mut fenced) = (0, false);
    for line in reply.split_inclusive('\n') {
        at += line.len();
        let text = line.trim();
        if text.starts_with("```") || text.starts_with("~~~") {
            fenced = !fenced;
        } else if text == close && !fenced {
            return Some(at);
        } else if line.contains(open) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaked_thinking_is_cut() {
        for reply in [
            "<think>a {\"x\":1}</think>answer",
            "\n<think>\n```\nx\n```\n</think>answer",
            "some thoughts\n</think>\nanswer",
            "a draft\n```\nx\n```\nno\n</think>\nanswer",
            "<thinking>x</thinking><think>y</think>answer",
        ] {
            assert_eq!(without_thinking(reply), "answer", "{reply}");
        }
        assert_eq!(without_thinking("<think>never closed"), "");
        let quoted = "a.md\n```\n<think>\n</think>\n```\n";
        assert_eq!(without_thinking(quoted), quoted);
        let quoted = "a.md\n```\n</think>\n```\n";
        assert_eq!(without_thinking(quoted), quoted);
    }
}
