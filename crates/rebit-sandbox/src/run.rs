//! The caller's side of a run.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::runner::{RUN, Runner};
use crate::{Output, RUNNER_ARGUMENT, RunSpec, SandboxError, Stdin, sys};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

impl Exit {
    /// Whether the command exited with code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

/// Which stream a chunk of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A flag that stops runs; clones share it, and once set it stays set.
///
/// It is a plain atomic, so that a signal handler may set it. A run notices within about 50 ms.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> StopFlag {
        StopFlag::default()
    }

    /// Sets the flag.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the flag is set.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl From<Arc<AtomicBool>> for StopFlag {
    fn from(flag: Arc<AtomicBool>) -> StopFlag {
        StopFlag(flag)
    }
}

/// Runs the process to its end, handing its output to `output` as it comes.
///
/// Chunks are at most 64 KiB and keep their order within a stream; with [`crate::Output::Inherit`] there are none. May be called from several
/// threads at once. When it returns, everything that was started is dead and reaped and nothing is mounted.
///
/// # Errors
///
/// [`SandboxError::Setup`] or [`SandboxError::Exec`] when the command did not start, [`SandboxError::Stopped`] when `stop` was set.
pub fn run(
    spec: &RunSpec,
    runner: &Runner,
    output: &mut dyn FnMut(Stream, &[u8]),
    stop: &StopFlag,
) -> Result<Exit, SandboxError> {
    spec.validate()?;
    if stop.is_stopped() {
        return Err(SandboxError::Stopped);
    }
    let mut running = start(spec, runner)?;
    let report = running.stream(output, stop)?;
    running.finish(&report)
}

/// How often the stop flag is looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Looks at the flag before a runner that does not react to a stop is killed: 10 seconds.
const PATIENCE: u32 = 200;

/// A runner at work; dropping it kills and reaps everything.
struct Running {
    child: Child,
    report: Option<OwnedFd>,
    /// Closing it tells the runner to stop; so does the death of this process.
    lifeline: Option<OwnedFd>,
}

fn start(spec: &RunSpec, runner: &Runner) -> Result<Running, SandboxError> {
    let io = |action: &'static str| move |errno: Errno| SandboxError::Io { action, source: errno.into() };
    let spec_file = spec_file(spec)?;
    let (report, report_end) = pipe_with(PipeFlags::CLOEXEC).map_err(io("create a pipe"))?;
    let (lifeline_end, lifeline) = pipe_with(PipeFlags::CLOEXEC).map_err(io("create a pipe"))?;
    let kept: Vec<RawFd> = [&spec_file, &report_end, &lifeline_end].iter().map(|fd| fd.as_raw_fd()).collect();
    let mut command = Command::new(runner.path());
    command.arg0("rebit-sandbox").arg(RUNNER_ARGUMENT).arg(RUN).env_clear();
    command.args(kept.iter().map(|fd| fd.to_string()));
    command.stdin(match spec.stdin {
        Stdin::Null => Stdio::null(),
        Stdin::Inherit => Stdio::inherit(),
    });
    let stream = || match spec.output {
        Output::Capture => Stdio::piped(),
        Output::Inherit => Stdio::inherit(),
    };
    command.stdout(stream()).stderr(stream());
    sys::keep_descriptors(&mut command, kept);
    let child =
        command.spawn().map_err(|source| SandboxError::Spawn { path: runner.path().to_owned(), source })?;
    Ok(Running { child, report: Some(report), lifeline: Some(lifeline) })
}

/// The spec as a memory file: unlike a pipe it holds any size before anyone reads.
fn spec_file(spec: &RunSpec) -> Result<OwnedFd, SandboxError> {
    let io = |source| SandboxError::Io { action: "hand the run spec to the runner", source };
    let bytes = serde_json::to_vec(spec).map_err(|error| io(error.into()))?;
    let file = memfd_create("rebit-run-spec", MemfdFlags::CLOEXEC).map_err(|errno| io(errno.into()))?;
    let mut file = File::from(file);
    file.write_all(&bytes).and_then(|()| file.rewind()).map_err(io)?;
    Ok(file.into())
}

impl Running {
    /// Hands the output on until the runner is done; returns its report.
    fn stream(
        &mut self,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &StopFlag,
    ) -> Result<Vec<u8>, SandboxError> {
        let stdout = self.child.stdout.take().map(|pipe| (Stream::Stdout, OwnedFd::from(pipe)));
        let stderr = self.child.stderr.take().map(|pipe| (Stream::Stderr, OwnedFd::from(pipe)));
        let mut pipes: Vec<(Stream, OwnedFd)> = stdout.into_iter().chain(stderr).collect();
        let mut chunk = vec![0_u8; 64 << 10];
        let mut text = Vec::new();
        let mut ticks_since_stop = 0;
        loop {
            let ready = wait_readable(&pipes, self.report.as_ref())?;
            let any_output = pipes.iter().zip(&ready).any(|(_, ready)| *ready);
            let mut position = 0;
            pipes.retain(|(stream, fd)| {
                let is_ready = ready.get(position).copied().unwrap_or(false);
                position += 1;
                !is_ready || forward(*stream, fd, &mut chunk, output)
            });
            match self.report.as_ref().filter(|_| ready.last() == Some(&true)) {
                Some(report) => match rustix::io::read(report, &mut chunk) {
                    Ok(0) => self.report = None,
                    Ok(length) => text.extend_from_slice(chunk.get(..length).unwrap_or_default()),
                    Err(Errno::INTR) => {}
                    Err(errno) => {
                        return Err(SandboxError::Io {
                            action: "read the runner's report",
                            source: errno.into(),
                        });
                    }
                },
                // The runner is gone, and so is everything that could write: what the pipes held has been read.
                None if self.report.is_none() && !any_output => return Ok(text),
                None => {}
            }
            if stop.is_stopped() {
                self.lifeline = None;
                ticks_since_stop += 1;
                if ticks_since_stop == PATIENCE {
                    self.kill()?;
                }
            }
        }
    }

    fn kill(&mut self) -> Result<(), SandboxError> {
        self.child.kill().map_err(|source| SandboxError::Io { action: "kill the runner", source })
    }

    fn finish(mut self, report: &[u8]) -> Result<Exit, SandboxError> {
        let stopped = self.lifeline.take().is_none();
        let status =
            self.child.wait().map_err(|source| SandboxError::Io { action: "wait for the runner", source })?;
        match serde_json::from_slice::<Report>(report) {
            Ok(report) => report.into_result(),
            Err(_) if stopped => Err(SandboxError::Stopped),
            Err(_) => Err(SandboxError::RunnerDied { status }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lifeline = None;
        // Already reaped in the normal course; after an error or a panic of the callback this is the only wait.
        let _ = self.child.wait();
    }
}

/// Waits for one tick at most; says for each pipe, and last for the report, whether it can be read.
fn wait_readable(pipes: &[(Stream, OwnedFd)], report: Option<&OwnedFd>) -> Result<Vec<bool>, SandboxError> {
    let all = pipes.iter().map(|(_, fd)| fd).chain(report);
    let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    // With the runner gone nothing more will come: only what is there is of interest.
    let timeout = if report.is_some() { TICK } else { Timespec { tv_sec: 0, tv_nsec: 0 } };
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SandboxError::Io { action: "wait for output", source: errno.into() }),
        }
    }
    let mut ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    if report.is_none() {
        ready.push(false);
    }
    Ok(ready)
}

/// Reads one chunk and hands it on; false at the end of the stream.
fn forward(stream: Stream, fd: &OwnedFd, chunk: &mut [u8], output: &mut dyn FnMut(Stream, &[u8])) -> bool {
    match rustix::io::read(fd, &mut *chunk) {
        Ok(0) => false,
        Ok(length) => {
            output(stream, chunk.get(..length).unwrap_or_default());
            true
        }
        Err(errno) => errno == Errno::INTR,
    }
}
