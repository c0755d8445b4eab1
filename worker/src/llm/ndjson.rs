//! Newline-delimited JSON: one document a line, wherever the network splits it. Pure.

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes bytes as they came; gives the lines that they complete, without empty ones.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                lines.extend(self.end());
            } else {
                self.rest.push(byte);
            }
        }
        lines
    }

    /// The body has ended: the last line may lack its end.
    pub(super) fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.rest);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}').trim();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_ends_empty_lines_and_a_missing_last_end_are_fine() {
        let mut lines = Lines::default();
        let mut seen = lines.push(b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\"");
        seen.extend(lines.push(b":3}"));
        seen.extend(lines.end());
        assert_eq!(seen, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        assert_eq!(lines.end(), None);
    }

    proptest! {
        #[test]
        fn where_the_network_splits_changes_nothing(cut in 0_usize..30) {
            let body = "{\"a\":\"ü€\"}\n{\"b\":2}\r\n{\"c\":3}".as_bytes();
            let cut = cut % body.len();
            let mut lines = Lines::default();
            let mut seen = lines.push(&body[..cut]);
            seen.extend(lines.push(&body[cut..]));
            seen.extend(lines.end());
            prop_assert_eq!(seen, ["{\"a\":\"ü€\"}", "{\"b\":2}", "{\"c\":3}"]);
        }
    }
}
