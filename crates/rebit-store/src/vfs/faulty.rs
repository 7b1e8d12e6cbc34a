//! A file system that fails at the n-th operation, for tests.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{RealVfs, Vfs, VfsFile};

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with an I/O error, once.
    Fail,
    /// From it on, what takes space fails for want of it: until [`FaultyVfs::heal`], or while the store's
    /// reserve is freed.
    NoSpace,
    /// The process is killed: the operation and all later ones fail; what was written stays.
    Kill,
    /// The power is lost: as `Kill`, and what was not synced is gone. [`FaultyVfs::lose_power`] makes it so.
    PowerLoss,
    /// The power is lost, and of what was not synced any part may be there: each write whole, cut short or not at all, in any order; a
    /// name that was made, moved or removed, or not yet; the index as of any commit since the last durable one. The seed chooses.
    Reordered(u64),
}

/// The extension under which a renamed file is noted until its directory is synced.
const PENDING: &str = "pending-rename";

/// Counts operations and fails at the n-th (from 1).
#[derive(Debug, Clone)]
pub struct FaultyVfs {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    fault: Fault,
    countdown: u64,
    broken: bool,
    /// The durable length of files written to; `None` when the file's name itself is not durable.
    files: BTreeMap<PathBuf, FileState>,
    /// The index files as of the last durable commit, and of each one since.
    index: Vec<Vec<(PathBuf, Vec<u8>)>>,
    /// Files whose removal or replacement is not durable yet, by name.
    removed: BTreeMap<PathBuf, Vec<u8>>,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    named: bool,
    synced: Vec<u8>,
    /// What was done since the last sync.
    pending: Vec<Operation>,
}

#[derive(Debug, Clone)]
enum Operation {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Operation {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Truncate(length) => content.resize(*length as usize, 0),
            Self::Write(offset, bytes) => {
                let end = *offset as usize + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset as usize..end].copy_from_slice(bytes);
            }
        }
    }
}

/// Numbers that a seed determines.
struct Choices(blake3::OutputReader);

impl Choices {
    fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn below(&mut self, count: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % count.max(1) as u64) as usize
    }

    /// What may be on the disk of a file, of which `synced` is sure.
    fn content(&mut self, file: &FileState) -> Vec<u8> {
        let mut content = file.synced.clone();
        let mut pending = file.pending.clone();
        while !pending.is_empty() {
            let operation = pending.swap_remove(self.below(pending.len()));
            match (self.below(3), operation) {
                (0, _) => {}
                (1, Operation::Write(offset, bytes)) => {
                    let length = self.below(bytes.len() + 1);
                    Operation::Write(offset, bytes[..length].to_vec()).apply(&mut content);
                }
                (_, operation) => operation.apply(&mut content),
            }
        }
        content
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn VfsFile>,
    path: PathBuf,
    vfs: FaultyVfs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    /// Changes something and takes no space.
    Change,
    /// Takes space.
    Write,
}

impl FaultyVfs {
    /// Fails with `fault` at operation `nth` of the store at `root`.
    #[must_use]
    pub fn new(root: &Path, fault: Fault, nth: u64) -> Self {
        let state = State {
            root: root.to_owned(),
            fault,
            countdown: nth,
            broken: false,
            files: BTreeMap::new(),
            index: Vec::new(),
            removed: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Whether the chosen operation was reached.
    #[must_use]
    pub fn reached(&self) -> bool {
        self.lock().countdown == 0
    }

    /// Lets every later operation succeed.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.broken = false;
        state.countdown = u64::MAX;
    }

    /// Puts the files under the root into the state that the disk is sure to have. No store may be open.
    ///
    /// # Errors
    /// The operating system's.
    pub fn lose_power(&self) -> io::Result<()> {
        let state = self.lock();
        let mut choices = match state.fault {
            Fault::Reordered(seed) => Some(Choices::new(seed)),
            _ => None,
        };
        for (path, content) in &state.removed {
            if choices.as_mut().is_some_and(|choices| choices.below(2) == 0) {
                fs::write(path, content)?;
            }
        }
        for (path, file) in &state.files {
            let (named, content) = match &mut choices {
                None => (file.named, file.synced.clone()),
                Some(choices) => (file.named || choices.below(2) == 0, choices.content(file)),
            };
            // A name that may not have moved yet: the file is then where it was, or where it was going.
            let pending = path.extension().is_some_and(|extension| extension == PENDING);
            let target = if pending { path.with_extension("log") } else { path.clone() };
            if pending && !named {
                // The old content stays under the new name.
                if let Some(old) = state.files.get(&target) {
                    fs::write(&target, &old.synced)?;
                } else if target.exists() {
                    fs::remove_file(&target)?;
                }
            } else if named {
                fs::write(target, content)?;
            } else if target.exists() {
                fs::remove_file(target)?;
            }
        }
        let chosen = match &mut choices {
            None => state.index.first(),
            Some(choices) => state.index.get(choices.below(state.index.len())),
        };
        if let Some(index) = chosen {
            for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
                let path = state.root.join(name);
                if path.exists() {
                    fs::remove_file(path)?;
                }
            }
            for (path, bytes) in index {
                fs::write(path, bytes)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, kind: Kind) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        let mut now = false;
        if state.countdown > 0 && kind != Kind::Read {
            state.countdown -= 1;
            now = state.countdown == 0;
            state.broken |= now;
        }
        let fails = match state.fault {
            Fault::Fail => now,
            Fault::Kill | Fault::PowerLoss | Fault::Reordered(_) => state.broken,
            Fault::NoSpace => state.broken && kind == Kind::Write && state.root.join("reserve").exists(),
        };
        if fails { Err(state.fault.error()) } else { Ok(state) }
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::NoSpace => io::Error::from(io::ErrorKind::StorageFull),
            Self::Fail | Self::Kill | Self::PowerLoss | Self::Reordered(_) => {
                io::Error::other("fault injected by a test")
            }
        }
    }
}

impl State {
    /// A file that existed before this file system watched it is durable as it is.
    fn adopt(&mut self, path: &Path) -> io::Result<&mut FileState> {
        if !self.files.contains_key(path) {
            let state = FileState { named: true, synced: fs::read(path)?, pending: Vec::new() };
            self.files.insert(path.to_owned(), state);
        }
        Ok(self.files.entry(path.to_owned()).or_default())
    }
}

impl State {
    /// Notes what is not synced yet, when it matters.
    fn note(&mut self, path: &Path, operation: Operation) {
        if matches!(self.fault, Fault::Reordered(_))
            && let Some(file) = self.files.get_mut(path)
        {
            file.pending.push(operation);
        }
    }
}

impl Vfs for FaultyVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let mut state = self.step(Kind::Write)?;
        let inner = RealVfs.create(path)?;
        state.files.insert(path.to_owned(), FileState::default());
        drop(state);
        Ok(Box::new(FaultyFile { inner, path: path.to_owned(), vfs: self.clone() }))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn VfsFile>> {
        let mut state = self.step(Kind::Read)?;
        let inner = RealVfs.open(path, write)?;
        if write {
            state.adopt(path)?;
        }
        drop(state);
        Ok(Box::new(FaultyFile { inner, path: path.to_owned(), vfs: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step(Kind::Change)?;
        // The new name is durable only after the directory is synced; until then the old file is there.
        if to.exists() {
            state.adopt(to)?;
        }
        RealVfs.rename(from, to)?;
        if let Some(moved) = state.files.remove(from) {
            let pending = to.with_extension(PENDING);
            state.files.insert(pending, moved);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step(Kind::Change)?;
        let content = fs::read(path);
        RealVfs.remove(path)?;
        let known = state.files.remove(path);
        if known.is_none_or(|file| file.named)
            && let Ok(content) = content
        {
            state.removed.insert(path.to_owned(), content);
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step(Kind::Change)?;
        RealVfs.sync_dir(path)?;
        let renamed: Vec<PathBuf> = state
            .files
            .keys()
            .filter(|file| file.extension().is_some_and(|extension| extension == PENDING))
            .cloned()
            .collect();
        for pending in renamed {
            if let Some(file) = state.files.remove(&pending) {
                state.files.insert(pending.with_extension("log"), file);
            }
        }
        for (file, state) in &mut state.files {
            if file.parent() == Some(path) {
                state.named = true;
            }
        }
        state.removed.retain(|file, _| file.parent() != Some(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let _state = self.step(Kind::Read)?;
        RealVfs.list(path)
    }

    fn before_commit(&self) -> io::Result<()> {
        self.step(Kind::Change).map(drop)
    }

    fn after_commit(&self, durable: bool) {
        let mut state = self.lock();
        let keeps = match state.fault {
            Fault::PowerLoss => durable,
            Fault::Reordered(_) => true,
            _ => false,
        };
        if keeps && !state.broken {
            let read = |name: &str| {
                let path = state.root.join(name);
                fs::read(&path).ok().map(|bytes| (path, bytes))
            };
            let now = ["index.sqlite", "index.sqlite-wal"].into_iter().filter_map(read).collect();
            if durable {
                state.index.clear();
            }
            state.index.push(now);
        }
    }
}

impl VfsFile for FaultyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        drop(self.vfs.step(Kind::Read)?);
        self.inner.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.vfs.step(Kind::Write) {
            Ok(mut state) => state.note(&self.path, Operation::Write(offset, bytes.to_vec())),
            Err(error) => {
                // A write that is cut short leaves a torn tail behind.
                let _torn = self.inner.write_all_at(&bytes[..bytes.len() / 2], offset);
                return Err(error);
            }
        }
        self.inner.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.vfs.step(Kind::Change)?.note(&self.path, Operation::Truncate(length));
        self.inner.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.vfs.step(Kind::Change)?;
        self.inner.sync()?;
        let content = fs::read(&self.path)?;
        if let Some(file) = state.files.get_mut(&self.path) {
            file.synced = content;
            file.pending.clear();
        }
        Ok(())
    }
}
