//! The stable codes of errors that the command line itself finds, with what
//! `agentctl explain` says about each.

use crate::exit::Exit;

/// What `explain` knows about a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explanation {
    /// What happened.
    pub(crate) meaning: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

macro_rules! codes {
    ($($variant:ident = $text:literal, $exit:ident: $meaning:literal, $remedy:literal;)+) => {
        /// The stable code of an error of the command line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $(#[doc = $meaning] $variant),+ }

        impl Code {
            /// Every code.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text, as documentation spells it.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The exit code that it comes with.
            pub(crate) const fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit),+ }
            }

            /// What `explain` says.
            pub(crate) const fn explanation(self) -> Explanation {
                match self { $(Self::$variant => Explanation { meaning: $meaning, remedy: $remedy }),+ }
            }
        }
    };
}

codes! {
    NoController = "no_controller", Unreachable:
        "Neither a flag, nor the environment, nor a context, nor a local state folder says where a controller is.",
        "Start one on this machine with `agentd`, or store another machine's with `agentctl login URL`.";
    Unreachable = "controller_unreachable", Unreachable:
        "The controller's address is known, and nothing answers there.",
        "Check that `agentd` runs and listens on that address; `agentctl doctor` tries each part by itself.";
    UnexpectedAnswer = "unexpected_answer", Failed:
        "Something answered, and not as agentd does: a proxy, another program, or another version.",
        "Compare the versions with `agentctl doctor`, and the address with `agentctl context list`.";
    AnotherCa = "another_ca", Failed:
        "What answers at the controller's address shows another certificate authority than the one that was pinned: it was set up anew, or somebody stands in between. Nothing was sent.",
        "Compare the fingerprint with the one that `agentd` logs at its start; if they are the same, `agentctl login URL` pins it.";
    FingerprintNeeded = "fingerprint_needed", Usage:
        "The controller's certificate authority is not known here, and there is no terminal to ask whether it is the right one.",
        "Name it: `agentctl login URL --fingerprint SHA256`, as `agentd` logs it at its start.";
    InvalidUrl = "invalid_url", Usage:
        "The address of the controller is not an http or https URL.",
        "Write it as `http://HOST:PORT`, such as in `agentctl login http://127.0.0.1:8484`.";
    ContextFile = "context_file", Failed:
        "The file with the stored controllers cannot be read or written.",
        "Mend or remove the file that the message names; `agentctl login URL` writes it anew.";
    UnknownContext = "unknown_context", NotFound:
        "No stored controller has that name.",
        "`agentctl context list` shows the names.";
    InvalidArgument = "invalid_argument", Usage:
        "An argument has a value that cannot be.",
        "Follow the hint; `agentctl --help` lists the commands, and `--help` after one shows what it takes.";
    TokenNeeded = "token_needed", Usage:
        "A token is needed and there is no terminal to ask for it.",
        "Pipe it in: `agentctl login URL --token-stdin < token-file`.";
    TerminalNeeded = "terminal_needed", Usage:
        "The command draws on the whole terminal, and there is none, or one that cannot be drawn on.",
        "`agentctl ps`, `agentctl workers` and `agentctl logs JOB` print the same once.";
    UnreadableFile = "unreadable_file", Failed:
        "A file on this machine cannot be read or written.",
        "Check its path and permissions; `agentctl doctor` checks the files that every command needs.";
    NoSuchJob = "no_such_job", NotFound:
        "`@last` or `@failed` names no job, because there is none.",
        "`agentctl ps` lists the jobs.";
    NoLog = "no_log", NotFound:
        "The job has no such log: the step has not started, or has another name.",
        "`agentctl show JOB` lists the steps.";
    NothingToDecide = "nothing_to_decide", NotFound:
        "No step of the job waits for a person.",
        "`agentctl why JOB` says what it waits for.";
    StepNeeded = "step_needed", Usage:
        "Several steps wait for a person, and none was named.",
        "Name one: `agentctl approve JOB STEP`.";
    GitMissing = "git_missing", Failed:
        "The program `git` was not found.",
        "Install git, with which agentctl reads repositories; `agentctl doctor` then finds it.";
    GitFailed = "git_failed", Failed:
        "A git command on this machine failed.",
        "The cause is git's own message; `git status` in that folder, or the command that is named, looks closer.";
    NotARepository = "not_a_repository", Usage:
        "The folder is not inside a git repository.",
        "Go to one, name one with `--repo PATH|URL`, or make one with `git init` and a first commit.";
    EmptyRepository = "empty_repository", Usage:
        "The repository has no commit, so there is nothing to start from.",
        "Make a first commit: `git add -A && git commit -m start`.";
    UnknownRef = "unknown_ref", Usage:
        "The repository has no commit of that name.",
        "`git branch --all` and `git tag` list the names; in a shallow clone, `git fetch --unshallow` brings the rest.";
    MissingBase = "missing_base", Failed:
        "The repository here lacks the commit that the job started from, so its branch cannot be made.",
        "Run it in the clone that the job was submitted from, or fetch that commit first: `git fetch --all`.";
    BranchDiffers = "branch_differs", Failed:
        "The branch exists already with commits that are not the job's.",
        "Rename it, or replace it with `agentctl apply JOB --force`.";
    NoResult = "no_result", NotFound:
        "The job has not delivered that yet, or never will.",
        "`agentctl show JOB` says how far it is; `agentctl artifacts JOB` lists what there is.";
    UploadFailed = "upload_failed", Failed:
        "The controller did not take the bundle of the repository.",
        "Try again: the upload goes on where it stopped; `agentctl doctor` checks the way to the controller.";
    TimeoutPassed = "timeout_passed", TimedOut:
        "The time given with `--timeout` passed; the job goes on.",
        "`agentctl watch JOB` looks on, `agentctl cancel JOB` stops it.";
    InvalidWorkflowFile = "invalid_workflow_file", Usage:
        "The workflow's text has mistakes.",
        "Mend the lines that are named; `agentctl workflows validate FILE` checks again.";
    UnhealthySetup = "unhealthy_setup", Failed:
        "`agentctl doctor` found something that keeps jobs from running.",
        "Run the command in its last line, then `agentctl doctor` again.";
    Unexplained = "unknown_code", NotFound:
        "`agentctl explain` does not know that code.",
        "`agentctl explain` alone lists every code.";
    DemoFailed = "demo_failed", Failed:
        "The demonstration did not come to its end.",
        "The hint names the folder with the logs of its processes; `agentctl demo` tries again.";
    Io = "io", Failed:
        "Reading or writing failed on this machine.",
        "The cause is the system's own message; `agentctl doctor` checks disk and files.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Code;

    #[test]
    fn codes_are_unique_also_among_the_problems_of_the_api() {
        let api = protocol::http::problem::Code::ALL
            .iter()
            .map(|code| code.as_str());
        let own = Code::ALL.iter().map(|code| code.as_str());
        let all: Vec<&str> = own.chain(api).collect();
        let unique: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(unique.len(), all.len());
    }
}
