//! How a job that goes on is shown: live, as lines, as JSON, or not at all.

use std::io::{self, Write};

use protocol::{event::Event, http::jobs::JobView};

use super::{Out, json, live::Live, plain::Plain};

/// What `--progress` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProgressChoice {
    /// A live tree on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A live tree.
    Tty,
    /// One line per change of state.
    Plain,
    /// Every event as a line of JSON.
    Json,
    /// Nothing but the exit code.
    Quiet,
}

/// Shows a job while it goes on.
pub(crate) trait Progress: Send {
    /// Something happened.
    fn event(&mut self, event: &Event) -> io::Result<()>;
    /// Something about the showing itself; `None` takes it back.
    fn notice(&mut self, text: Option<&str>) -> io::Result<()>;
    /// The job as it is now; called several times a second.
    fn show(&mut self, job: &JobView) -> io::Result<()>;
    /// The job does not go on, or nobody looks on any more.
    fn end(&mut self, job: &JobView, closing: &[String]) -> io::Result<()>;
}

/// The right way for this invocation. Progress is the result of `run` and
/// `watch`, so it goes to stdout, how the job ended and its first error with it:
/// `| cat` shows all of it. If `-o` asked for the job itself, that is the data and
/// progress is talk.
pub(crate) fn progress(choice: ProgressChoice, out: &Out) -> Box<dyn Progress> {
    let (stream, sink): (_, Box<dyn Write + Send>) = if out.asked_for_format() {
        (out.stderr(), Box::new(io::stderr()))
    } else {
        (out.stdout(), Box::new(io::stdout()))
    };
    match choice {
        ProgressChoice::Auto if stream.redraws => Box::new(Live::new(sink, stream.style)),
        ProgressChoice::Auto | ProgressChoice::Plain => Box::new(Plain::new(sink)),
        ProgressChoice::Tty => Box::new(Live::new(sink, stream.style)),
        ProgressChoice::Json => Box::new(JsonLines(sink)),
        ProgressChoice::Quiet => Box::new(Silence { closing: false }),
    }
}

struct JsonLines(Box<dyn Write + Send>);

impl Progress for JsonLines {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        writeln!(self.0, "{}", json::line(event))
    }

    fn notice(&mut self, _text: Option<&str>) -> io::Result<()> {
        Ok(())
    }

    fn show(&mut self, _job: &JobView) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, job: &JobView, _closing: &[String]) -> io::Result<()> {
        writeln!(self.0, "{}", json::line(job))
    }
}

/// Says nothing while the job goes on, and how it ended on stderr.
pub(crate) fn silent_until_end(choice: ProgressChoice) -> Box<dyn Progress> {
    Box::new(Silence {
        closing: choice != ProgressChoice::Quiet,
    })
}

struct Silence {
    closing: bool,
}

impl Progress for Silence {
    fn event(&mut self, _event: &Event) -> io::Result<()> {
        Ok(())
    }

    fn notice(&mut self, _text: Option<&str>) -> io::Result<()> {
        Ok(())
    }

    fn show(&mut self, _job: &JobView) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _job: &JobView, closing: &[String]) -> io::Result<()> {
        let mut lines = closing.iter().filter(|_| self.closing);
        lines.try_for_each(|line| writeln!(io::stderr(), "{line}"))
    }
}
