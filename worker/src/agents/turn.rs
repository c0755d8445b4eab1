//! One role's conversation as a pure machine: ask, judge the answer, repair,
//! step down, give up. It has no texts, no clock and no files; [`super::drive`]
//! does what the effects say and reports back what happened.

use serde::{Deserialize, Serialize};

/// How often what may happen. Small numbers: a model that does not get it after
/// two repairs does not get it after ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most model calls.
    pub calls: u32,
    /// Repair turns before the protocol is given up.
    pub repairs: u8,
    /// Answers in a row that cannot be read at all.
    pub format_errors: u8,
    /// Rounds in which the model may ask for files.
    pub file_rounds: u8,
    /// Whether whole files are left as the last resort.
    pub can_step_down: bool,
}

impl Limits {
    /// The limits of a role: two repairs, three unreadable answers in a row.
    pub const fn new(calls: u32) -> Self {
        Self {
            calls,
            repairs: 2,
            format_errors: 3,
            file_rounds: 0,
            can_step_down: false,
        }
    }
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Model calls that were begun.
    pub calls: u32,
    /// Repair turns that were asked for.
    pub repairs: u8,
    /// Unreadable answers in a row.
    pub format_errors: u8,
    /// Rounds in which files were asked for.
    pub file_rounds: u8,
    /// Whether the limit of the answer's length was raised.
    pub raised: bool,
    /// Whether a doubtful edit was asked about.
    pub confirmed: bool,
    /// Whether whole files are the protocol now.
    pub stepped_down: bool,
}

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A model call is out.
    Calling(Tally),
    /// An answer is being read and tried.
    Judging(Tally),
    /// It is over.
    Ended(End),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The answer is good.
    Done,
    /// The models could not be asked.
    NoAnswer,
    /// Somebody stopped it.
    Stopped,
    /// The model refused to answer.
    ModelRefused,
    /// The limit of model calls is reached.
    OutOfCalls,
    /// Too many answers in a row could not be read.
    Unreadable,
    /// Repairs and the last resort did not help.
    Unusable,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole answer came.
    Answered,
    /// An answer came that was cut at the limit of its length.
    AnswerCut,
    /// The model refused.
    Refused,
    /// No model could be asked.
    CallFailed,
    /// Somebody wants it to stop.
    Stopped,
    /// The answer is good, and what it wants is done.
    Accepted,
    /// The answer asks for files.
    FilesWanted,
    /// The answer cannot be read.
    Malformed,
    /// The answer can be read but not used.
    Unfit {
        /// Whether it fails exactly as the answer before it.
        repeated: bool,
    },
    /// The answer can be used if it is really meant.
    Doubtful,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the model.
    Call(Ask),
    /// Read the answer and try it.
    Judge,
    /// Nothing more.
    Settle(End),
}

/// What to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// The task.
    Open,
    /// The same again, with room for a longer answer.
    Longer,
    /// To go on where the answer was cut, or to be shorter.
    Continue,
    /// To mend what cannot be read or used.
    Repair,
    /// To confirm what looks like a mistake.
    Confirm,
    /// To write whole files.
    WholeFiles,
    /// To answer with the files that it asked for.
    MoreFiles,
}

/// An event that means nothing in this state; it is only logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored;

/// The first state of a conversation.
pub fn start(limits: &Limits) -> (State, Effect) {
    call(Tally::default(), Ask::Open, limits)
}

/// The next state and what to do.
pub fn transition(state: State, event: Event, limits: &Limits) -> Result<(State, Effect), Ignored> {
    match state {
        State::Calling(tally) => while_calling(tally, event, limits),
        State::Judging(tally) => while_judging(tally, event, limits),
        State::Ended(_) => Err(Ignored),
    }
}

fn while_calling(mut tally: Tally, event: Event, limits: &Limits) -> Result<(State, Effect), Ignored> {
    Ok(match event {
        Event::Answered => (State::Judging(tally), Effect::Judge),
        Event::AnswerCut if !tally.raised => {
            tally.raised = true;
            call(tally, Ask::Longer, limits)
        }
        Event::AnswerCut => {
            tally.format_errors += 1;
            if tally.format_errors >= limits.format_errors {
                end(End::Unreadable)
            } else {
                call(tally, Ask::Continue, limits)
            }
        }
        Event::Refused => end(End::ModelRefused),
        Event::CallFailed => end(End::NoAnswer),
        Event::Stopped => end(End::Stopped),
        Event::Accepted | Event::FilesWanted | Event::Malformed | Event::Unfit { .. } | Event::Doubtful => {
            return Err(Ignored);
        }
    })
}

fn while_judging(mut tally: Tally, event: Event, limits: &Limits) -> Result<(State, Effect), Ignored> {
    Ok(match event {
        Event::Accepted => end(End::Done),
        Event::Stopped => end(End::Stopped),
        Event::FilesWanted if tally.file_rounds < limits.file_rounds => {
            tally.file_rounds += 1;
            tally.format_errors = 0;
            call(tally, Ask::MoreFiles, limits)
        }
        Event::Doubtful if !tally.confirmed => {
            tally.confirmed = true;
            tally.format_errors = 0;
            call(tally, Ask::Confirm, limits)
        }
        Event::FilesWanted | Event::Doubtful => unfit(tally, false, limits),
        Event::Malformed => {
            tally.format_errors += 1;
            if tally.format_errors >= limits.format_errors {
                return Ok(end(End::Unreadable));
            }
            // the last answer before the limit is left for whole files
            let last = tally.format_errors + 1 == limits.format_errors;
            mend(tally, last && limits.can_step_down, limits)
        }
        Event::Unfit { repeated } => unfit(tally, repeated, limits),
        Event::Answered | Event::AnswerCut | Event::Refused | Event::CallFailed => return Err(Ignored),
    })
}

fn unfit(mut tally: Tally, repeated: bool, limits: &Limits) -> (State, Effect) {
    tally.format_errors = 0;
    mend(tally, repeated, limits)
}

/// A repair while there are some and they may help, then whole files, then the end.
fn mend(mut tally: Tally, hopeless: bool, limits: &Limits) -> (State, Effect) {
    if tally.stepped_down {
        return end(End::Unusable);
    }
    if tally.repairs < limits.repairs && !hopeless {
        tally.repairs += 1;
        return call(tally, Ask::Repair, limits);
    }
    if limits.can_step_down {
        tally.stepped_down = true;
        return call(tally, Ask::WholeFiles, limits);
    }
    end(End::Unusable)
}

fn call(mut tally: Tally, ask: Ask, limits: &Limits) -> (State, Effect) {
    if tally.calls >= limits.calls {
        return end(End::OutOfCalls);
    }
    tally.calls += 1;
    (State::Calling(tally), Effect::Call(ask))
}

const fn end(end: End) -> (State, Effect) {
    (State::Ended(end), Effect::Settle(end))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const EVENTS: [Event; 11] = [
        Event::Answered,
        Event::AnswerCut,
        Event::Refused,
        Event::CallFailed,
        Event::Stopped,
        Event::Accepted,
        Event::FilesWanted,
        Event::Malformed,
        Event::Unfit { repeated: false },
        Event::Unfit { repeated: true },
        Event::Doubtful,
    ];

    fn edits(calls: u32) -> Limits {
        Limits {
            can_step_down: true,
            ..Limits::new(calls)
        }
    }

    /// What is asked after each event, from the start.
    fn asks(limits: &Limits, events: &[Event]) -> (Vec<Ask>, State) {
        let (mut state, mut effect) = start(limits);
        let mut asked = Vec::new();
        let mut events = events.iter();
        loop {
            if let Effect::Call(ask) = effect {
                asked.push(ask);
            }
            let Some(event) = events.next() else {
                return (asked, state);
            };
            if matches!(effect, Effect::Call(_)) && !matches!(event, Event::AnswerCut | Event::Refused) {
                (state, effect) = transition(state, Event::Answered, limits).expect("an answer may come");
                assert_eq!(effect, Effect::Judge);
            }
            (state, effect) = transition(state, *event, limits).expect("the event fits");
        }
    }

    #[test]
    fn every_reachable_state_ends_once_within_the_limits() {
        for limits in [
            edits(40),
            edits(3),
            Limits::new(40),
            Limits {
                file_rounds: 2,
                ..Limits::new(40)
            },
        ] {
            let (first, _) = start(&limits);
            let (mut seen, mut todo) = (HashSet::from([first]), vec![first]);
            while let Some(state) = todo.pop() {
                let mut moves = 0;
                for event in EVENTS {
                    let Ok((next, effect)) = transition(state, event, &limits) else {
                        continue;
                    };
                    moves += 1;
                    assert_eq!(
                        matches!(next, State::Ended(_)),
                        matches!(effect, Effect::Settle(_))
                    );
                    if let State::Calling(tally) | State::Judging(tally) = next {
                        assert!(tally.calls <= limits.calls && tally.repairs <= limits.repairs);
                        assert!(tally.format_errors < limits.format_errors);
                        assert!(tally.file_rounds <= limits.file_rounds);
                    }
                    if seen.insert(next) {
                        todo.push(next);
                    }
                }
                assert_eq!(
                    moves == 0,
                    matches!(state, State::Ended(_)),
                    "{state:?} is a dead end"
                );
            }
            assert!(seen.contains(&State::Ended(End::Done)));
            // the tally grows with every call, so every path is short
            assert!(seen.len() < 1000, "{}", seen.len());
        }
    }

    #[test]
    fn no_conversation_is_longer_than_its_repairs_allow() {
        let longest = |limits: &Limits| {
            let mut most = 0;
            let mut todo = vec![start(limits).0];
            while let Some(state) = todo.pop() {
                for event in EVENTS {
                    if let Ok((next, _)) = transition(state, event, limits) {
                        if let State::Calling(tally) = next {
                            most = most.max(tally.calls);
                        }
                        todo.push(next);
                    }
                }
            }
            most
        };
        assert_eq!(longest(&edits(3)), 3);
        // five asks that may each be cut twice, and one longer answer
        assert_eq!(longest(&edits(1000)), 16);
        assert!(
            longest(&Limits {
                file_rounds: 2,
                ..Limits::new(1000)
            }) <= 19
        );
    }

    #[test]
    fn two_repairs_then_whole_files_then_the_end() {
        let unfit = Event::Unfit { repeated: false };
        let (asked, state) = asks(&edits(40), &[unfit, unfit, unfit, unfit]);
        assert_eq!(asked, [Ask::Open, Ask::Repair, Ask::Repair, Ask::WholeFiles]);
        assert_eq!(state, State::Ended(End::Unusable));
        let (asked, state) = asks(&Limits::new(40), &[unfit, unfit, unfit]);
        assert_eq!(asked, [Ask::Open, Ask::Repair, Ask::Repair]);
        assert_eq!(state, State::Ended(End::Unusable));
    }

    #[test]
    fn a_repeated_failure_is_not_repaired_again() {
        let events = [Event::Unfit { repeated: false }, Event::Unfit { repeated: true }];
        assert_eq!(
            asks(&edits(40), &events).0,
            [Ask::Open, Ask::Repair, Ask::WholeFiles]
        );
        let (_, state) = asks(&Limits::new(40), &events);
        assert_eq!(state, State::Ended(End::Unusable));
    }

    #[test]
    fn three_unreadable_answers_in_a_row_are_the_end() {
        let malformed = [Event::Malformed; 3];
        let (asked, state) = asks(&edits(40), &malformed);
        assert_eq!(asked, [Ask::Open, Ask::Repair, Ask::WholeFiles]);
        assert_eq!(state, State::Ended(End::Unreadable));
        let (asked, state) = asks(&Limits::new(40), &malformed);
        assert_eq!(asked, [Ask::Open, Ask::Repair, Ask::Repair]);
        assert_eq!(state, State::Ended(End::Unreadable));
    }

    #[test]
    fn a_cut_answer_gets_more_room_once_and_goes_on_then() {
        let (asked, state) = asks(&edits(40), &[Event::AnswerCut, Event::AnswerCut, Event::Accepted]);
        assert_eq!(asked, [Ask::Open, Ask::Longer, Ask::Continue]);
        assert_eq!(state, State::Ended(End::Done));
    }

    #[test]
    fn files_and_confirmation_are_granted_within_bounds() {
        let limits = Limits {
            file_rounds: 2,
            ..Limits::new(40)
        };
        let (asked, _) = asks(&limits, &[Event::FilesWanted; 3]);
        assert_eq!(asked, [Ask::Open, Ask::MoreFiles, Ask::MoreFiles, Ask::Repair]);
        let (asked, state) = asks(&edits(40), &[Event::Doubtful, Event::Accepted]);
        assert_eq!(asked, [Ask::Open, Ask::Confirm]);
        assert_eq!(state, State::Ended(End::Done));
        assert_eq!(asks(&edits(40), &[Event::Doubtful; 2]).0[2], Ask::Repair);
    }
}
