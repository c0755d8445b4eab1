//! The tree on a terminal, redrawn in place.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use crossterm::{
    QueueableCommand, cursor,
    terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};
use jiff::Timestamp;
use protocol::{event::Event, http::jobs::JobView};

use super::{
    progress::Progress,
    style::{Style, Tone},
    terminal_size,
    text::{clean, fit, width},
    tree::{self, Room},
};

/// Redraw at least this often, so that elapsed times move.
const BEAT: Duration = Duration::from_secs(1);

/// A live tree on one stream.
pub(super) struct Live<W: Write> {
    out: W,
    style: Style,
    /// Widths of the lines that stand on the screen.
    drawn: Vec<usize>,
    drawn_at: Option<Instant>,
    changed: bool,
    notice: Option<String>,
}

impl<W: Write> Live<W> {
    pub(super) fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            drawn: Vec::new(),
            drawn_at: None,
            changed: true,
            notice: None,
        }
    }

    fn draw(&mut self, lines: &[String], columns: usize) -> io::Result<()> {
        self.out.queue(BeginSynchronizedUpdate)?;
        self.erase(columns)?;
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        self.out.queue(EndSynchronizedUpdate)?;
        self.out.flush()?;
        self.drawn = lines.iter().map(|line| width(&clean(line))).collect();
        self.drawn_at = Some(Instant::now());
        Ok(())
    }

    /// Goes back to the first drawn line; a terminal that got narrower has wrapped some.
    fn erase(&mut self, columns: usize) -> io::Result<()> {
        let rows: usize = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(columns.max(1)).max(1))
            .sum();
        if rows > 0 {
            self.out.queue(cursor::MoveToColumn(0))?;
            self.out
                .queue(cursor::MoveUp(u16::try_from(rows).unwrap_or(u16::MAX)))?;
            self.out.queue(Clear(ClearType::FromCursorDown))?;
        }
        self.drawn.clear();
        Ok(())
    }
}

impl<W: Write + Send> Progress for Live<W> {
    fn event(&mut self, _event: &Event) -> io::Result<()> {
        self.changed = true;
        Ok(())
    }

    fn notice(&mut self, text: Option<&str>) -> io::Result<()> {
        self.notice = text.map(str::to_owned);
        self.changed = true;
        Ok(())
    }

    fn show(&mut self, job: &JobView) -> io::Result<()> {
        let due = self.drawn_at.is_none_or(|at| at.elapsed() >= BEAT);
        if !self.changed && !due {
            return Ok(());
        }
        if self.drawn_at.is_none() {
            self.out.queue(cursor::Hide)?;
        }
        self.changed = false;
        let (columns, rows) = terminal_size();
        // one line below stays free for the cursor, one for the notice
        let room = Room {
            columns: Some(usize::from(columns)),
            lines: Some(usize::from(rows).saturating_sub(2)),
        };
        let mut lines = tree::render(job, Timestamp::now(), room, self.style);
        if let Some(notice) = &self.notice {
            lines.push(self.style.paint(&fit(notice, usize::from(columns)), Tone::Alert));
        }
        self.draw(&lines, usize::from(columns))
    }

    fn end(&mut self, job: &JobView, closing: &[String]) -> io::Result<()> {
        let columns = usize::from(terminal_size().0);
        let room = Room {
            columns: Some(columns),
            lines: None,
        };
        let lines = tree::render(job, Timestamp::now(), room, self.style);
        self.draw(&lines, columns)?;
        for line in closing {
            writeln!(self.out, "{line}")?;
        }
        self.drawn.clear();
        Ok(())
    }
}

impl<W: Write> Drop for Live<W> {
    fn drop(&mut self) {
        // also after an error the cursor comes back; that it cannot is no news then
        let _ = self.out.queue(cursor::Show).and_then(Write::flush);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_drawing_replaces_the_first() {
        let mut live = Live::new(Vec::new(), Style::PLAIN);
        live.draw(&["a".repeat(30), "b".into()], 20).expect("a vector");
        live.out.clear();
        live.draw(&["c".into()], 20).expect("a vector");
        let text = String::from_utf8(live.out.clone()).expect("UTF-8");
        let up = text.find("\u{1b}[3A").expect("two wrapped rows and one");
        assert!(text[up..].contains("\u{1b}[J"), "{text:?}");
        assert!(text.contains("c\n"));
    }
}
