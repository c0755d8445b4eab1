//! What a model is told when its edits could not be used: only the failed
//! ones, why, and the real lines that help. Looser likeness suggests here; it
//! never decides.

use protocol::documents::EditProtocol;

use super::{
    EditOp, Problem,
    apply::{Cause, Excerpt, Failure},
    instructions::instructions,
};

/// Longest part of a failed edit that is repeated, in bytes.
const SHOWN_BYTES: usize = 3000;

/// Asks for the failed edits again. `kept` is how many others fit and wait.
pub fn prompt(protocol: EditProtocol, problems: &[Problem], failures: &[Failure], kept: usize) -> String {
    let count = problems.len() + failures.len();
    let mut text = match count {
        1 => "One of your edits could not be used. Nothing was written yet.\n".to_owned(),
        _ => format!("{count} of your edits could not be used. Nothing was written yet.\n"),
    };
    describe(&mut text, problems, failures, kept);
    if kept > 0 {
        text.push_str(&format!(
            "\nThe other edits of your answer fit and are kept ({kept}): do not repeat them.\n"
        ));
    }
    text.push_str("\nSend the failed edits again, corrected, in the same format. ");
    text.push_str(match protocol {
        EditProtocol::WholeFile => "Send each of these files whole.",
        EditProtocol::SearchReplace | EditProtocol::ApplyPatch | EditProtocol::UnifiedDiff => {
            "Copy the old lines exactly from the file."
        }
    });
    text
}

/// Asks for whole files instead, after the protocol failed.
pub fn step_down(problems: &[Problem], failures: &[Failure], kept: usize) -> String {
    let mut text = "Your edits could still not be used. Nothing was written yet.\n".to_owned();
    describe(&mut text, problems, failures, kept);
    if kept > 0 {
        text.push_str(&format!(
            "\nThe edits that fit are kept ({kept}): do not repeat them.\n"
        ));
    }
    text.push_str(
        "\nNow send each file of the failed edits whole instead, with all the changes that it needs.\n\n",
    );
    text.push_str(instructions(EditProtocol::WholeFile));
    text
}

/// Asks whether most of a file shall really go.
pub fn confirm(failures: &[Failure]) -> String {
    let mut text = "Please confirm before anything is written:\n".to_owned();
    for failure in failures {
        text.push_str(&format!("- {}.\n", failure.reason));
    }
    text.push_str(
        "\nIf that is what you want, send the same file again. If lines were left out, send the complete file.",
    );
    text
}

/// Asks for edits when an answer had none.
pub fn no_edits(protocol: EditProtocol) -> String {
    format!(
        "Your answer contains no edit that could be read. Nothing was written yet. Answer again with the edits.\n\n{}",
        instructions(protocol)
    )
}

/// Asks for a change when the edits make none.
pub fn unchanged(protocol: EditProtocol) -> String {
    format!(
        "Your edits change nothing: the files already are as you wrote them. Look at the task again and answer with edits that do what is missing.\n\n{}",
        instructions(protocol)
    )
}

/// Asks to go on after an answer was cut.
pub fn cut(protocol: EditProtocol, kept: usize) -> String {
    let rest = match kept {
        0 => "Nothing of it could be used. Answer again, with less text and only the edits".to_owned(),
        _ => format!(
            "The first {kept} edits were complete and are kept. Go on with the edit that was cut, from its beginning"
        ),
    };
    format!(
        "Your answer was cut at the limit of its length. {rest}.\n\n{}",
        instructions(protocol)
    )
}

fn describe(text: &mut String, problems: &[Problem], failures: &[Failure], kept: usize) {
    let state = if kept > 0 {
        "With your other edits the file has"
    } else {
        "The file has"
    };
    for problem in problems {
        let path = problem.path.as_deref().unwrap_or("(no path)");
        text.push_str(&format!(
            "\n### {path}, line {} of your answer\n{}.\n",
            problem.line, problem.reason
        ));
    }
    for failure in failures {
        text.push_str(&format!("\n### {}\n{}.\n", failure.op.path(), failure.reason));
        if failure.cause == Cause::Shrinks {
            text.push_str(
                "If that is what you want, send the same file again; else send the complete file.\n",
            );
        }
        if let EditOp::Replace { search, .. } = &failure.op {
            text.push_str(&format!(
                "You wrote as the text to replace:\n{}",
                fenced(&shortened(search))
            ));
        }
        for excerpt in &failure.excerpts {
            text.push_str(&format!("{state}:\n{}", fenced(&numbered(excerpt))));
        }
    }
}

fn numbered(excerpt: &Excerpt) -> String {
    let mut text = String::new();
    for (i, line) in excerpt.lines.iter().enumerate() {
        text.push_str(&format!(
            "{:>5} | {line}
",
            excerpt.first + i
        ));
    }
    text
}

fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BYTES {
        return text.to_owned();
    }
    let end = (0..=SHOWN_BYTES)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    format!("{}\n(cut)\n", &text[..end])
}

/// The text in a fence that is longer than any inside it.
pub(crate) fn fenced(text: &str) -> String {
    let longest = text
        .lines()
        .map(|line| line.trim_start().chars().take_while(|c| *c == '`').count())
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{fence}\n{text}{end}{fence}\n")
}
