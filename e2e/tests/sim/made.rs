//! Random workflows that use every part of the language which the orchestrator
//! acts on. The same number always makes the same workflow.

use std::fmt::Write;

use crate::random::Random;

/// Its name differs from those of the other steps.
const CLOSING: u64 = 25;

/// The text of one workflow.
pub(crate) fn text(number: u64) -> String {
    let mut random = Random::new(number);
    let mut text = format!(
        "api: agentd/v1\nname: flow{number}\npriority: {}\n",
        random.below(3)
    );
    if random.below(3) == 0 {
        text.push_str("timeout: 20m\n");
    }
    if random.below(2) == 0 {
        let group = 1 + random.below(2);
        let rule = ["queue", "queue", "cancel_old", "reject"][random.below(4) as usize];
        let _ = writeln!(
            text,
            "concurrency: {{group: g{group}, max: {group}, on_conflict: {rule}}}"
        );
    }
    if random.below(3) == 0 {
        let rule = ["park", "fail"][random.below(2) as usize];
        let _ = writeln!(text, "budget: {{tokens: 30, on_exceed: {rule}}}");
    }
    text.push_str("steps:\n");
    let count = 1 + random.below(4);
    for index in 0..count {
        step(&mut random, &mut text, 2, index, true);
    }
    if random.below(2) == 0 {
        text.push_str("finally:\n");
        step(&mut random, &mut text, 2, CLOSING, false);
    }
    text
}

fn name(index: u64) -> char {
    char::from(b'a' + index as u8)
}

/// One step that may need those before it.
fn step(random: &mut Random, text: &mut String, indent: usize, index: u64, blocks: bool) {
    let pad = " ".repeat(indent);
    let _ = writeln!(text, "{pad}{}:", name(index));
    let before = if index == CLOSING { 0 } else { index };
    let needs: Vec<String> = (0..before)
        .filter(|_| random.below(2) == 0)
        .map(|need| name(need).to_string())
        .collect();
    if !needs.is_empty() {
        let _ = writeln!(text, "{pad}  needs: [{}]", needs.join(", "));
        match random.below(5) {
            0 => text.push_str(&format!("{pad}  if: always()\n")),
            1 => text.push_str(&format!("{pad}  if: steps.{}.ok\n", needs[0])),
            _ => {}
        }
    }
    if random.below(5) == 0 {
        let _ = writeln!(text, "{pad}  allow_failure: true");
    }
    if blocks && random.below(3) == 0 {
        if random.below(3) > 0 {
            let then = ["fail", "park", "succeed"][random.below(3) as usize];
            let _ = writeln!(
                text,
                "{pad}  loop: {{as: again, max: 2, until: \"{{{{ steps.a.ok }}}}\", on_exhausted: {then}}}"
            );
        }
        let _ = writeln!(text, "{pad}  steps:");
        for inner in 0..=random.below(2) {
            let nested = indent < 4 && random.below(3) == 0;
            step(random, text, indent + 4, inner, nested);
        }
        return;
    }
    if index != CLOSING && random.below(8) == 0 {
        let then = ["approve", "reject"][random.below(2) as usize];
        let _ = writeln!(text, "{pad}  approval: {{timeout: 30m, on_timeout: {then}}}");
        return;
    }
    if random.below(4) == 0 {
        let _ = writeln!(text, "{pad}  agent: architect\n{pad}  with: {{task: x}}");
    } else {
        let _ = writeln!(text, "{pad}  run: [work]");
    }
    match random.below(6) {
        0 => text.push_str(&format!("{pad}  effect: external\n")),
        1 => text.push_str(&format!("{pad}  requires: {{disk: fast}}\n")),
        2 => text.push_str(&format!("{pad}  timeout: 1m\n")),
        _ => {}
    }
    if random.below(2) == 0 {
        let max = random.below(3);
        let _ = writeln!(text, "{pad}  retry: {{max: {max}, on: [exit, timeout]}}");
    }
    let works = text.contains("\n  a:\n    run") || text.contains("\n  a:\n    agent");
    if before > 0 && indent == 2 && works && random.below(4) == 0 {
        let _ = writeln!(text, "{pad}  place: {{not_with: [a]}}");
    }
}
