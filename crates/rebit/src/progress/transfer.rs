//! How blobs are shown that come or go: a line for each when it is done, and on a terminal what is under way.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rebit_oci::Digest;

use crate::output::size;

/// How often a terminal is written to at most.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows blobs.
pub(crate) struct Transfer {
    mode: Mode,
    state: Mutex<State>,
}

#[derive(PartialEq, Eq)]
enum Mode {
    Quiet,
    Lines,
    Live,
}

#[derive(Default)]
struct State {
    moving: BTreeMap<Digest, (u64, u64)>,
    shown: Option<Instant>,
    blobs: usize,
    bytes: u64,
}

/// A blob under way.
pub(crate) struct Moving<'a> {
    transfer: &'a Transfer,
    digest: Digest,
    size: u64,
    start: Instant,
    ended: bool,
}

impl Transfer {
    /// Shows nothing if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let mode = match quiet {
            true => Mode::Quiet,
            false if io::stderr().is_terminal() => Mode::Live,
            false => Mode::Lines,
        };
        Self { mode, state: Mutex::default() }
    }

    /// Whether anybody looks.
    pub(crate) fn is_shown(&self) -> bool {
        self.mode != Mode::Quiet
    }

    /// A blob of `size` bytes begins to move.
    pub(crate) fn begin(&self, digest: &Digest, size: u64) -> Moving<'_> {
        self.with(|state| state.moving.insert(*digest, (0, size)));
        Moving { transfer: self, digest: *digest, size, start: Instant::now(), ended: false }
    }

    /// Says what became of a blob that did not move here.
    pub(crate) fn done(&self, digest: &Digest, size: u64, how: &str) {
        self.with(|state| state.moving.remove(digest));
        self.line(digest, size, how);
    }

    /// So many more bytes of a blob moved.
    pub(crate) fn add(&self, digest: &Digest, of: u64, count: u64) {
        self.with(|state| {
            let entry = state.moving.entry(*digest).or_insert((0, of));
            entry.0 = entry.0.saturating_add(count).min(of);
            if self.mode == Mode::Live && state.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL) {
                state.shown = Some(Instant::now());
                let (done, all) =
                    state.moving.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                let blobs = state.moving.len();
                let _ = write!(io::stderr(), "\r\x1b[K{blobs} under way: {} of {}", size(done), size(all));
            }
        });
    }

    /// How many blobs came or went, and their bytes.
    pub(crate) fn total(&self) -> (usize, u64) {
        self.with(|state| (state.blobs, state.bytes))
    }

    fn line(&self, digest: &Digest, bytes: u64, how: &str) {
        let text = format!("{} {} {how}", digest.short(), size(bytes));
        match self.mode {
            Mode::Quiet => {}
            Mode::Lines => {
                let _ = writeln!(io::stderr(), "{text}");
            }
            Mode::Live => {
                let _ = writeln!(io::stderr(), "\r\x1b[K{text}");
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Moving<'_> {
    pub(crate) fn moved(&self, count: u64) {
        self.transfer.add(&self.digest, self.size, count);
    }

    pub(crate) fn end(&mut self, how: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.transfer.with(|state| {
            state.moving.remove(&self.digest);
            state.blobs += 1;
            state.bytes += self.size;
        });
        let how = format!("{how} {:.1}s", self.start.elapsed().as_secs_f64());
        self.transfer.line(&self.digest, self.size, &how);
    }
}
