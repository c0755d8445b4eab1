//! Colour, where it is wanted; state is always a word too.

use protocol::{job::JobState, step::StepState, worker::WorkerState};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR or TERM=dumb says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// Stands out.
    Strong,
    /// Stands back.
    Dim,
    /// Ended well.
    Good,
    /// Ended badly.
    Bad,
    /// Goes on.
    Busy,
    /// Wants attention.
    Alert,
}

/// Paints or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    color: bool,
}

impl Style {
    /// Without colour.
    pub(crate) const PLAIN: Self = Self { color: false };

    /// Decides from flag, environment and whether the stream is a terminal.
    pub(crate) fn decide(
        choice: ColorChoice,
        terminal: bool,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let forced = variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if set("NO_COLOR") => false,
            ColorChoice::Auto if forced => true,
            ColorChoice::Auto => terminal && !dumb,
        };
        Self { color }
    }

    /// Whether it paints.
    pub(crate) const fn colors(self) -> bool {
        self.color
    }

    /// The text in its tone.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "36",
            Tone::Alert => "33",
        };
        if self.color && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// What a job's state means.
pub(crate) const fn job_tone(state: JobState) -> Tone {
    match state {
        JobState::Queued => Tone::Plain,
        JobState::Running => Tone::Busy,
        JobState::Waiting | JobState::Cancelling | JobState::Parked => Tone::Alert,
        JobState::Succeeded => Tone::Good,
        JobState::Failed => Tone::Bad,
        JobState::Cancelled => Tone::Dim,
    }
}

/// A step's state as a sign and a tone.
pub(crate) const fn step_sign(state: StepState) -> (&'static str, Tone) {
    match state {
        StepState::Blocked => ("·", Tone::Dim),
        StepState::Ready => ("○", Tone::Plain),
        StepState::RetryWait => ("↻", Tone::Alert),
        StepState::Awaiting => ("?", Tone::Alert),
        StepState::Offered => ("◌", Tone::Busy),
        StepState::Running => ("●", Tone::Busy),
        StepState::Cancelling => ("◍", Tone::Alert),
        StepState::Parked => ("‖", Tone::Alert),
        StepState::Succeeded => ("✓", Tone::Good),
        StepState::Failed => ("✗", Tone::Bad),
        StepState::Skipped => ("-", Tone::Dim),
        StepState::Cancelled => ("⊘", Tone::Dim),
    }
}

/// What a worker's state means.
pub(crate) const fn worker_tone(state: WorkerState) -> Tone {
    match state {
        WorkerState::Online => Tone::Good,
        WorkerState::Suspect => Tone::Alert,
        WorkerState::Offline => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_flag_then_environment_then_terminal() {
        let none: &[(&str, &str)] = &[];
        let table = [
            (ColorChoice::Auto, true, none, true),
            (ColorChoice::Auto, false, none, false),
            (ColorChoice::Auto, true, &[("NO_COLOR", "1")], false),
            (ColorChoice::Auto, true, &[("NO_COLOR", "")], true),
            (ColorChoice::Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (ColorChoice::Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (ColorChoice::Auto, true, &[("TERM", "dumb")], false),
            (ColorChoice::Always, false, &[("NO_COLOR", "1")], true),
            (ColorChoice::Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ];
        for (choice, terminal, env, expected) in table {
            let lookup = |name: &str| {
                let found = env.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let style = Style::decide(choice, terminal, lookup);
            assert_eq!(style.color, expected, "{choice:?} {terminal} {env:?}");
        }
    }
}
