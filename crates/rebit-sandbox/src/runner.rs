//! The process between the caller and the sandbox.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, setsid, waitpid};
use rustix::thread::UnshareFlags;

use crate::report::{Context, Failure, Message, Report};
use crate::rootfs::Scratch;
use crate::stubs::{self, Made};
use crate::{Exit, RootFs, RunSpec, Stdin, Step, image, inside, probe, seccomp, sys};

/// First argument that makes the executable a runner; hidden from users.
pub const RUNNER_ARGUMENT: &str = "__rebit-sandbox";

/// Second argument: run a process. Three numbers of descriptors follow.
pub(crate) const RUN: &str = "run";

/// Second argument: find out what the host allows.
pub(crate) const PROBE: &str = "probe";

/// Second argument: find out whether an image can be a layer. The directory of the trial follows.
pub(crate) const TRY_IMAGE: &str = "try-image";

/// Most bytes of a spec: files to mount are part of it.
const MAX_SPEC: u64 = 256 << 20;

/// Exit code of a runner that could not even report.
const EXIT_BROKEN: i32 = 70;

/// The executable that is started as the runner: one whose `main` begins with [`maybe_run_as_runner`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    path: PathBuf,
}

impl Runner {
    /// The running executable itself (`/proc/self/exe`), even if its file has been replaced meanwhile.
    pub fn this_executable() -> Runner {
        Runner { path: PathBuf::from("/proc/self/exe") }
    }

    /// Another executable.
    pub fn new(path: impl Into<PathBuf>) -> Runner {
        Runner { path: path.into() }
    }

    /// Path of the executable.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Becomes the runner and never returns, if the first argument is [`RUNNER_ARGUMENT`]; else does nothing.
///
/// To be called first in `main`, before any thread is started and any descriptor is opened.
pub fn maybe_run_as_runner() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != RUNNER_ARGUMENT) {
        return;
    }
    let code = match args.next() {
        Some(mode) if mode == RUN => run_from_descriptors(args),
        Some(mode) if mode == PROBE => probe::print(),
        Some(mode) if mode == TRY_IMAGE => {
            args.next().and_then(|directory| image::try_here(directory.as_ref()))
        }
        _ => None,
    };
    std::process::exit(if code.is_some() { 0 } else { EXIT_BROKEN });
}

fn run_from_descriptors(mut args: impl Iterator<Item = OsString>) -> Option<()> {
    let mut next = || sys::take_inherited(args.next()?.to_str()?.parse().ok()?).ok();
    let (spec, report, lifeline) = (next()?, next()?, next()?);
    let result = match read_spec(spec) {
        Ok(spec) => run(&spec, lifeline).unwrap_or_else(Report::Failed),
        Err(failure) => Report::Failed(failure),
    };
    File::from(report).write_all(&serde_json::to_vec(&result).ok()?).ok()
}

fn read_spec(spec: OwnedFd) -> Result<RunSpec, Failure> {
    let mut bytes = Vec::new();
    File::from(spec).take(MAX_SPEC).read_to_end(&mut bytes).step(Step::Process)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(Step::Process, Errno::INVAL).detail(format!("run spec: {error}")))
}

/// Starts PID 1, waits for it, removes what was made for it.
fn run(spec: &RunSpec, lifeline: OwnedFd) -> Result<Report, Failure> {
    sys::ignore_terminal_signals();
    if spec.stdin == Stdin::Null {
        setsid().step(Step::Process)?;
    }
    let filter = seccomp::filter()
        .map_err(|error| Failure::new(Step::Seccomp, Errno::INVAL).detail(error.to_string()))?;
    let needed = stubs::needed(spec)?;
    let scratch = match &spec.root {
        RootFs::Overlay { work, lowers, .. } => Some(Scratch::create(work, &needed, lowers)?),
        RootFs::Directory { .. } => None,
    };
    let ended = start_and_wait(spec, scratch.as_ref(), &filter, lifeline);
    let base = match &spec.root {
        RootFs::Overlay { upper, .. } => upper,
        RootFs::Directory { path, .. } => path,
    };
    let made = ended.as_ref().map(|(_, made)| made.as_slice()).unwrap_or_default();
    let cleaned = stubs::remove(base, made).and(scratch.map_or(Ok(()), |scratch| scratch.remove()));
    let (report, _) = ended?;
    match (report, cleaned) {
        (Report::Exited(_), Err(failure)) => Err(failure),
        (report, _) => Ok(report),
    }
}

fn start_and_wait(
    spec: &RunSpec,
    scratch: Option<&Scratch>,
    filter: &[seccompiler::sock_filter],
    lifeline: OwnedFd,
) -> Result<(Report, Vec<Made>), Failure> {
    let (receive, send) = pipe_with(PipeFlags::CLOEXEC).step(Step::Process)?;
    sys::unshare(UnshareFlags::NEWPID)
        .step(Step::Namespaces)
        .map_err(|failure| failure.detail("PID namespace; needs root or a user namespace"))?;
    let child = match sys::fork().step(Step::Namespaces)? {
        sys::Fork::Parent(child) => child,
        sys::Fork::Child => {
            drop((receive, lifeline));
            inside::become_command(spec, scratch, filter, send)
        }
    };
    drop(send);
    let waited = wait_for(child, &lifeline, receive);
    if waited.is_err() {
        // Nothing may be left running, whatever went wrong.
        let _ = rustix::process::kill_process(child, Signal::KILL);
        let _ = waitpid(Some(child), WaitOptions::empty());
    }
    waited
}

/// Waits for PID 1 and kills it when the caller lets go of the lifeline; its death is the death of everything in the sandbox.
fn wait_for(child: Pid, lifeline: &OwnedFd, messages: OwnedFd) -> Result<(Report, Vec<Made>), Failure> {
    let process = pidfd_open(child, PidfdFlags::empty()).step(Step::Process)?;
    let mut stopped = false;
    let mut text = Vec::new();
    let mut open = true;
    loop {
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        if !stopped {
            fds.push(PollFd::new(lifeline, PollFlags::IN));
        }
        if open {
            fds.push(PollFd::new(&messages, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Failure::new(Step::Process, errno)),
        }
        let ready = |fd: &OwnedFd| fds.iter().any(|poll| is_same(poll, fd) && !poll.revents().is_empty());
        let (exited, hung_up, message) =
            (ready(&process), !stopped && ready(lifeline), open && ready(&messages));
        if message {
            open = read_some(&messages, &mut text)?;
        } else if exited {
            break;
        } else if hung_up {
            stopped = true;
            pidfd_send_signal(&process, Signal::KILL).step(Step::Process)?;
        }
    }
    let (_, status) = waitpid(Some(child), WaitOptions::empty())
        .step(Step::Process)?
        .ok_or(Errno::CHILD)
        .step(Step::Process)?;
    let (made, last) = parse_messages(&text)?;
    let report = match (last, status.exit_status(), status.terminating_signal()) {
        _ if stopped => Report::Stopped,
        (Some(Message::Failed(failure)), ..) => Report::Failed(failure),
        (Some(Message::ExecFailed { program, errno }), ..) => Report::ExecFailed { program, errno },
        (_, Some(code), _) => Report::Exited(Exit::Code(code)),
        (_, None, Some(signal)) => Report::Exited(Exit::Signal(signal)),
        (_, None, None) => return Err(Failure::new(Step::Process, Errno::CHILD).detail("wait status")),
    };
    Ok((report, made))
}

fn is_same(poll: &PollFd<'_>, fd: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    poll.as_fd().as_raw_fd() == fd.as_raw_fd()
}

/// Reads what is there; false at the end.
fn read_some(messages: &OwnedFd, text: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut chunk = [0_u8; 4096];
    let length = rustix::io::read(messages, &mut chunk).step(Step::Process)?;
    text.extend_from_slice(chunk.get(..length).unwrap_or_default());
    Ok(length > 0)
}

fn parse_messages(text: &[u8]) -> Result<(Vec<Made>, Option<Message>), Failure> {
    let mut all = Vec::new();
    let mut last = None;
    for message in serde_json::Deserializer::from_slice(text).into_iter::<Message>() {
        match message {
            Ok(Message::Made(made)) => all.extend(made),
            Ok(message) => last = Some(message),
            // PID 1 was killed in the middle of a line.
            Err(error) if error.is_eof() => break,
            Err(error) => {
                return Err(
                    Failure::new(Step::Process, Errno::INVAL).detail(format!("message of PID 1: {error}"))
                );
            }
        }
    }
    Ok((all, last))
}
