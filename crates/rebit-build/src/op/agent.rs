//! A socket of a step's own that leads to an SSH agent: its owner and mode are the step's to say, and the agent's socket stays as it is.

use std::fs::{self, File};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rebit_store::ScratchDir;

use crate::graph::MountOwner;

/// The name of the socket in its directory.
const NAME: &str = "agent";

/// A socket that forwards to an agent as long as this value lives.
#[derive(Debug)]
pub(crate) struct AgentSocket {
    directory: ScratchDir,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AgentSocket {
    /// Makes a socket in `directory` that leads to `agent`.
    pub(crate) fn new(directory: ScratchDir, agent: PathBuf, owner: MountOwner) -> io::Result<Self> {
        let path = directory.path().join(NAME);
        let (_open, address) = short(directory.path())?;
        let listener = UnixListener::bind(address)?;
        chown(&path, Some(owner.uid), Some(owner.gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(owner.mode))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for caller in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                // A caller that the agent does not answer finds its connection closed.
                if let (Ok(caller), Ok(agent)) = (caller, UnixStream::connect(&agent)) {
                    forward(caller, agent);
                }
            }
        });
        Ok(Self { directory, stop, thread: Some(thread) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join(NAME)
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A last caller wakes the thread; without one it ends with this process.
        let woken = short(self.directory.path()).and_then(|(_open, path)| UnixStream::connect(path));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// A name of the socket that fits the 108 bytes of an address, as long as the file is open.
fn short(directory: &Path) -> io::Result<(File, PathBuf)> {
    let open = File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd()));
    Ok((open, path))
}

/// Copies both ways until both ends are closed.
fn forward(caller: UnixStream, agent: UnixStream) {
    let (Ok(from_caller), Ok(from_agent)) = (caller.try_clone(), agent.try_clone()) else { return };
    for (mut from, mut to) in [(from_caller, agent), (from_agent, caller)] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn both_ways_are_copied_until_both_ends_are_closed() {
        let (mut outside, caller) = UnixStream::pair().unwrap();
        let (agent, mut answering) = UnixStream::pair().unwrap();
        forward(caller, agent);
        outside.write_all(b"question").unwrap();
        outside.shutdown(Shutdown::Write).unwrap();
        let mut question = String::new();
        answering.read_to_string(&mut question).unwrap();
        answering.write_all(b"answer").unwrap();
        drop(answering);
        let mut answer = String::new();
        outside.read_to_string(&mut answer).unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    }
}
