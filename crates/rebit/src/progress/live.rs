//! The live region at the bottom of a terminal: the running steps, their times, and the last lines they wrote.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::output::cut;

/// How many lines of output are shown.
const LINES: usize = 6;
/// How often the region is drawn at most.
const INTERVAL: Duration = Duration::from_millis(80);

/// What is shown, and how many lines of it stand on the terminal.
#[derive(Debug, Default)]
pub(super) struct Live {
    running: Vec<(String, Instant)>,
    lines: VecDeque<String>,
    drawn: usize,
    last: Option<Instant>,
}

impl Live {
    /// Begins a step.
    pub(super) fn begin(&mut self, label: &str) {
        self.running.push((label.to_owned(), Instant::now()));
        self.draw();
    }

    /// Adds a line of output.
    pub(super) fn output(&mut self, line: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(printable(line));
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.draw();
        }
    }

    /// Ends a step.
    pub(super) fn end(&mut self, label: &str) {
        self.clear();
        if let Some(place) = self.running.iter().position(|(running, _)| running == label) {
            self.running.remove(place);
        }
        self.lines.clear();
    }

    /// Prints a line that stays, above the region.
    pub(super) fn print_above(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(io::stderr(), "{text}");
        self.draw();
    }

    /// Removes the region from the terminal.
    pub(super) fn clear(&mut self) {
        if self.drawn > 0 {
            let _ = write!(io::stderr(), "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let width = columns();
        let mut text = String::new();
        for (label, start) in &self.running {
            text.push_str(&cut(&format!("{label}  {:.1}s", start.elapsed().as_secs_f64()), width));
            text.push('\n');
        }
        let drawn = self.lines.len() + self.running.len();
        for line in &self.lines {
            text.push_str(&format!("\x1b[2m  {}\x1b[0m\n", cut(line, width.saturating_sub(2))));
        }
        self.clear();
        let _ = write!(io::stderr(), "{text}");
        self.drawn = drawn;
        self.last = Some(Instant::now());
    }
}

/// A line without what would move the cursor.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 20).unwrap_or(80)
}
