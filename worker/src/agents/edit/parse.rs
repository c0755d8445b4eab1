//! Reads a whole reply into edits: one line scanner per protocol, chosen by
//! what the reply itself shows. Pure; never panics on any text.

use protocol::documents::EditProtocol;

use super::{Parsed, blocks, envelope, scan, unified, whole};
use crate::agents::thinking::without_thinking;

/// Reads `reply`. The protocol `asked` for is tried unless the reply plainly
/// uses another one; a whole file is never taken from a reply that was asked
/// for parts, because it may be a mere excerpt.
pub fn parse(asked: EditProtocol, reply: &str) -> Parsed {
    let reply = without_thinking(reply);
    let lines: Vec<&str> = reply.lines().collect();
    let protocol = shown(&lines).unwrap_or(asked);
    let (ops, problems) = match protocol {
        EditProtocol::WholeFile => whole::parse(&lines),
        EditProtocol::SearchReplace => blocks::parse(&lines),
        EditProtocol::ApplyPatch => envelope::parse(&lines),
        EditProtocol::UnifiedDiff => unified::parse(&lines),
    };
    Parsed {
        protocol,
        ops,
        problems,
    }
}

/// The protocol that the reply shows. Only lines outside fences and the first
/// ones inside a fence count: a file may well contain such markers further down.
fn shown(lines: &[&str]) -> Option<EditProtocol> {
    let mut open: Option<scan::Fence<'_>> = None;
    let mut telling = true;
    for (i, line) in lines.iter().enumerate() {
        match (&open, scan::fence(line)) {
            (None, Some(fence)) => {
                open = Some(fence);
                telling = true;
                continue;
            }
            (Some(fence), Some(_)) if fence.closed_by(line) => {
                open = None;
                telling = true;
                continue;
            }
            _ => {}
        }
        if !telling || line.trim().is_empty() {
            continue;
        }
        if line.trim() == "*** Begin Patch" {
            return Some(EditProtocol::ApplyPatch);
        }
        if blocks::is_head(line) {
            return Some(EditProtocol::SearchReplace);
        }
        if unified::is_head(&lines[i..]) {
            return Some(EditProtocol::UnifiedDiff);
        }
        // inside a fence one line with the path may come first
        telling = open.is_none() || scan::path_in_line(line).is_some();
    }
    None
}
