//! Directories on disk, relative to open descriptors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSink};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, StatxTimestamp, XattrFlags,
    lgetxattr, llistxattr, lsetxattr, makedev, openat2, readlinkat, statx,
};
use rustix::io::Errno;

use crate::{FileStat, InsertError, Kind, PathError, TreePath};

/// Why a directory on disk was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// An operation on a path failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was being done: `open`, `read`, `list` …
        action: &'static str,
        /// Relative to the directory that is read or written.
        path: TreePath,
        /// The cause.
        source: std::io::Error,
    },
    /// A file was written to while it was being read.
    #[error("`{path}` changed while it was being read")]
    Changed {
        /// Relative to the directory that is read.
        path: TreePath,
    },
    /// A name on disk is not a valid path of a tree.
    #[error("a name in `{directory}` cannot be in an image")]
    Name {
        /// Where the name is.
        directory: TreePath,
        /// What is wrong with it.
        source: PathError,
    },
    /// There is something that cannot be carried over and must not be dropped.
    #[error("`{path}`: {reason}")]
    Unsupported {
        /// Relative to the directory that is read or written.
        path: TreePath,
        /// What it is, in words.
        reason: String,
    },
    /// There is more than may be read.
    #[error("the directory has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The objects' keeper failed.
    #[error("cannot keep or fetch the content of `{path}`")]
    Object {
        /// Relative to the directory that is read or written.
        path: TreePath,
        /// The cause.
        source: ObjectError,
    },
    /// The tree does not take the node.
    #[error("the tree does not take `{path}`")]
    Insert {
        /// Where.
        path: TreePath,
        /// The cause.
        source: InsertError,
    },
}

impl DiskError {
    pub(crate) fn io(action: &'static str, path: &TreePath, source: impl Into<std::io::Error>) -> Self {
        Self::Io { action, path: path.clone(), source: source.into() }
    }

    pub(crate) fn object(path: &TreePath, source: ObjectError) -> Self {
        Self::Object { path: path.clone(), source }
    }
}

/// A directory that is read or written, by paths inside it.
///
/// Every path is resolved below the directory without following a symbolic link, so a link inside leads
/// nowhere, whoever changes the directory meanwhile.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
}

/// What [`Root::list`] found: the directory, and its names in bytewise order with the kind that the
/// directory itself gives, which may be unknown.
pub(crate) struct Listing {
    pub(crate) fd: OwnedFd,
    pub(crate) entries: Vec<(Vec<u8>, FileType)>,
}

impl Root {
    /// Opens the directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| DiskError::io("open", &TreePath::root(), error))?;
        Ok(Self { fd })
    }

    /// Opens `path` with `flags`; a new file gets mode 0600.
    pub(crate) fn open_at(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let name = if path.is_root() { &b"."[..] } else { path.as_bytes() };
        let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.fd, name, flags | OFlags::CLOEXEC, mode, resolve) {
                // A rename somewhere made the kernel unsure; it asks to be asked again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// Opens a directory inside.
    pub(crate) fn directory(&self, path: &TreePath) -> Result<OwnedFd, DiskError> {
        self.open_at(path, OFlags::DIRECTORY | OFlags::RDONLY)
            .map_err(|error| DiskError::io("open", path, error))
    }

    /// Opens the directory that holds `path`.
    pub(crate) fn parent(&self, path: &TreePath) -> Result<OwnedFd, DiskError> {
        let parent = path.parent().unwrap_or_else(TreePath::root);
        self.open_at(&parent, OFlags::DIRECTORY | OFlags::PATH)
            .map_err(|error| DiskError::io("open the directory of", path, error))
    }

    /// Lists the directory `path`.
    pub(crate) fn list(&self, path: &TreePath) -> Result<Listing, DiskError> {
        let fd = self.directory(path)?;
        let entries = entries(&fd).map_err(|error| DiskError::io("list", path, error))?;
        Ok(Listing { fd, entries })
    }
}

/// The names in a directory, sorted, each with its kind as far as the directory knows.
pub(crate) fn entries(directory: &OwnedFd) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut found = Vec::new();
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push((name.to_vec(), entry.file_type()));
        }
    }
    found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// The status of `name` in a directory, symbolic links not followed.
pub(crate) fn stat(directory: impl AsFd, name: &[u8]) -> Result<Statx, Errno> {
    statx(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)
}

/// The status of an open file.
pub(crate) fn stat_open(file: impl AsFd) -> Result<Statx, Errno> {
    statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

/// What tells one state of a file from another.
pub(crate) fn file_stat(stat: &Statx) -> FileStat {
    let nanoseconds = |time: StatxTimestamp| {
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
    };
    FileStat {
        dev: makedev(stat.stx_dev_major, stat.stx_dev_minor),
        ino: stat.stx_ino,
        size: stat.stx_size,
        mtime_ns: nanoseconds(stat.stx_mtime),
        ctime_ns: nanoseconds(stat.stx_ctime),
    }
}

/// The kind of a node, as far as its status and its directory tell; the content of a file is found out
/// later.
pub(crate) enum Seen {
    Directory,
    File,
    Socket,
    Other(Kind),
}

/// What `name` in `directory` is.
pub(crate) fn seen(
    directory: &OwnedFd,
    name: &[u8],
    stat: &Statx,
    path: &TreePath,
) -> Result<Seen, DiskError> {
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    Ok(match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory => Seen::Directory,
        FileType::RegularFile => Seen::File,
        FileType::Symlink => {
            let target = readlinkat(directory, name, Vec::new())
                .map_err(|error| DiskError::io("read the symbolic link", path, error))?;
            Seen::Other(Kind::Symlink { target: target.into_bytes() })
        }
        FileType::CharacterDevice => Seen::Other(Kind::CharDevice { major, minor }),
        FileType::BlockDevice => Seen::Other(Kind::BlockDevice { major, minor }),
        FileType::Fifo => Seen::Other(Kind::Fifo),
        FileType::Socket => Seen::Socket,
        FileType::Unknown => {
            return Err(DiskError::Unsupported {
                path: path.clone(),
                reason: "it is of an unknown kind".into(),
            });
        }
    })
}

/// Files up to this size are read in one piece.
const SMALL: u64 = 1 << 20;

/// Puts the content of the file `path`, whose status was `before`, into `sink`.
pub(crate) fn keep_file(
    root: &Root,
    path: &TreePath,
    before: &FileStat,
    sink: &dyn ObjectSink,
) -> Result<ObjectId, DiskError> {
    let changed = || DiskError::Changed { path: path.clone() };
    let check = |file: &File| match stat_open(file) {
        Ok(stat) if file_stat(&stat) == *before => Ok(()),
        Ok(_) => Err(changed()),
        Err(error) => Err(DiskError::io("read", path, error)),
    };
    // Not blocking: a pipe may have taken the place of the file.
    let fd = root
        .open_at(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)
        .map_err(|error| DiskError::io("open", path, error))?;
    let mut file = File::from(fd);
    check(&file)?;
    let (object, size) = if before.size <= SMALL {
        let mut content = Vec::with_capacity(usize::try_from(before.size).unwrap_or(0) + 1);
        (&mut file)
            .take(before.size + 1)
            .read_to_end(&mut content)
            .map_err(|error| DiskError::io("read", path, error))?;
        if content.len() as u64 != before.size {
            return Err(changed());
        }
        let object = sink.put(&content, &[]).map_err(|source| DiskError::object(path, source))?;
        (object, before.size)
    } else {
        let mut limited = (&mut file).take(before.size.saturating_add(1));
        sink.put_reader(&mut limited).map_err(|source| DiskError::object(path, source))?
    };
    check(&file)?;
    if size == before.size { Ok(object) } else { Err(changed()) }
}

/// Where `name` in an open directory is found by functions that take no descriptor.
fn proc_path(directory: &OwnedFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Every extended attribute of `name` in a directory that this process may see.
pub(crate) fn xattrs(directory: &OwnedFd, name: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let path = proc_path(directory, name);
    let mut list = vec![0_u8; 1024];
    let length = loop {
        match llistxattr(&path[..], &mut list[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) if list.len() < 128 * 1024 => list.resize(128 * 1024, 0),
            Err(Errno::NOTSUP) => break 0,
            Err(error) => return Err(error),
        }
    };
    let mut xattrs = BTreeMap::new();
    let names = list.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 256];
        loop {
            match lgetxattr(&path[..], name, &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    xattrs.insert(name.to_vec(), value);
                    break;
                }
                Err(Errno::RANGE) if value.len() < 64 * 1024 => value.resize(64 * 1024, 0),
                // Gone since it was listed, or listed but not for this process.
                Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(xattrs)
}

/// Sets an extended attribute of `name` in a directory, symbolic links not followed.
pub(crate) fn set_xattr(directory: &OwnedFd, name: &[u8], key: &[u8], value: &[u8]) -> Result<(), Errno> {
    lsetxattr(&proc_path(directory, name)[..], key, value, XattrFlags::empty())
}
