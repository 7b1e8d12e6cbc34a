//! What is not the same in two builds of a check.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rebit_store::{ScratchDir, Session, Store, StoreOptions};
use rustix::fs::{Mode, XattrFlags};
use rustix::process::umask;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::environment;
use crate::error::CommandError;
use crate::temporary::Temporary;

/// What overlayfs(5) is as a file system: it cannot be the upper directory of another overlay.
const OVERLAYFS: u64 = 0x794c_7630;
/// The least room on another file system that is worth a try.
const LEAST_ROOM: u64 = 64 << 20;

/// Under what a build is done, as far as it can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conditions {
    /// Processes see one processor rather than all that there are.
    pub(super) one_processor: bool,
    /// Root file systems lie elsewhere.
    pub(super) elsewhere: bool,
    /// The umask of this program is 0. Processes have one of their own.
    pub(super) open_umask: bool,
}

impl Conditions {
    pub(super) const FIRST: Self = Self { one_processor: false, elsewhere: false, open_umask: false };
    pub(super) const SECOND: Self = Self { one_processor: true, elsewhere: true, open_umask: true };
    /// The first ones with another number of processors.
    pub(super) const PROCESSORS: Self = Self { one_processor: true, ..Self::FIRST };
    /// The first ones with other directories.
    pub(super) const DIRECTORIES: Self = Self { elsewhere: true, ..Self::FIRST };
}

/// Where builds of a check are done.
pub(super) struct Ground<'a> {
    session: &'a Session,
    store: PathBuf,
    /// A directory on another file system than the store's, once it was looked for.
    elsewhere: OnceLock<Option<PathBuf>>,
    processors: usize,
    all: CpuSet,
}

impl<'a> Ground<'a> {
    pub(super) fn new(store: &Store, session: &'a Session) -> Result<Self, CommandError> {
        let all = sched_getaffinity(None)
            .map_err(|errno| CommandError::message(format!("cannot read the CPU affinity: {errno}")))?;
        let store = store.root().to_owned();
        Ok(Self { session, store, elsewhere: OnceLock::new(), processors: environment::processors(), all })
    }

    /// Looks for another file system, with `room` bytes free.
    pub(super) fn look_elsewhere(&self, room: u64) {
        let fits = |directory: &PathBuf| is_another_file_system(directory, &self.store, room.max(LEAST_ROOM));
        self.elsewhere.get_or_init(|| environment::temporary_directories().into_iter().find(fits));
    }

    fn elsewhere(&self) -> Option<&PathBuf> {
        self.elsewhere.get()?.as_ref()
    }

    /// What was different in the second build, in words.
    pub(super) fn changed(&self) -> Vec<String> {
        let mut changed = vec!["start time: at least two seconds later".to_owned()];
        if self.processors > 1 {
            changed.push(format!("processors: 1 instead of {}", self.processors));
        }
        changed.push(match self.elsewhere() {
            Some(directory) => {
                format!("directories: on another file system (`{}`)", directory.display())
            }
            None => "directories: at another path".to_owned(),
        });
        changed.push("umask of rebit: 000".to_owned());
        changed
    }

    /// What could not be made different, in words.
    pub(super) fn unchanged(&self) -> Vec<String> {
        let mut unchanged = vec!["the date: a clock can be waited for, not set".to_owned()];
        if self.processors == 1 {
            unchanged.push("the number of processors: there is only one".to_owned());
        }
        if self.elsewhere().is_none() {
            unchanged.push(
                "the file system: no other one takes root file systems and has room for them".to_owned(),
            );
        }
        unchanged
    }

    /// Whether conditions differ from the first ones here.
    pub(super) fn differs(&self, conditions: &Conditions) -> bool {
        (conditions.one_processor && self.processors > 1) || conditions.elsewhere
    }

    /// An empty store for the directories of one build.
    pub(super) fn place(&self, conditions: &Conditions) -> Result<Place, CommandError> {
        let (path, held) = match self.elsewhere().filter(|_| conditions.elsewhere) {
            Some(parent) => {
                let held = Held::Other(Temporary::new(parent)?);
                (held.path().join("store"), held)
            }
            None => {
                let held = Held::Scratch(self.session.scratch_dir("check")?);
                // The path is another one in any case.
                let name = if conditions.elsewhere { "elsewhere/store" } else { "store" };
                (held.path().join(name), held)
            }
        };
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let session = Store::open(&path, &options)?.session()?;
        Ok(Place { session, _held: held })
    }

    /// Does `work` under `conditions`, and restores what was before.
    pub(super) fn under<T>(
        &self,
        conditions: &Conditions,
        work: impl FnOnce() -> T,
    ) -> Result<T, CommandError> {
        let _restored = Restored {
            umask: conditions.open_umask.then(|| umask(Mode::empty())),
            processors: conditions.one_processor.then_some(&self.all),
        };
        if conditions.one_processor {
            let first = (0..CpuSet::MAX_CPU).find(|number| self.all.is_set(*number)).unwrap_or(0);
            let mut one = CpuSet::new();
            one.set(first);
            sched_setaffinity(None, &one)
                .map_err(|errno| CommandError::message(format!("cannot set the CPU affinity: {errno}")))?;
        }
        Ok(work())
    }
}

/// Where the directories of one build are; removed when dropped.
pub(super) struct Place {
    pub(super) session: Session,
    _held: Held,
}

enum Held {
    Scratch(ScratchDir),
    Other(Temporary),
}

impl Held {
    fn path(&self) -> &Path {
        match self {
            Self::Scratch(scratch) => scratch.path(),
            Self::Other(temporary) => temporary.path(),
        }
    }
}

/// Umask and processors as they were, when dropped.
struct Restored<'a> {
    umask: Option<Mode>,
    processors: Option<&'a CpuSet>,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        if let Some(mask) = self.umask {
            umask(mask);
        }
        if let Some(processors) = self.processors {
            // It was allowed before.
            let _ = sched_setaffinity(None, processors);
        }
    }
}

/// Whether root file systems can be written below `directory`, and on another file system than `store` is on.
fn is_another_file_system(directory: &Path, store: &Path, least: u64) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    if device(directory).is_none() || device(directory) == device(store) {
        return false;
    }
    let overlay = rustix::fs::statfs(directory).is_ok_and(|found| found.f_type as u64 == OVERLAYFS);
    let room =
        rustix::fs::statvfs(directory).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    if overlay || room < least {
        return false;
    }
    // An overlay's upper directory marks what it hides by attributes.
    let Ok(probe) = Temporary::new(directory) else { return false };
    rustix::fs::setxattr(probe.path(), "user.rebit", b"y", XattrFlags::empty()).is_ok()
}
