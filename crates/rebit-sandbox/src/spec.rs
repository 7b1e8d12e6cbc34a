//! The description of one run: a plain value, sent to the runner as JSON.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::SandboxError;

/// Most layers below the upper directory (the kernel takes 500; one is the layer of mount stubs).
pub(crate) const MAX_LOWERS: usize = 499;

/// Bytes of `/dev/shm` that container tools give when nothing else is asked for.
pub const DEFAULT_SHM_SIZE: u64 = 64 << 20;

/// Everything that the process will see, and nothing of the host beyond it.
///
/// Host paths are resolved by the runner as usual; paths inside the sandbox are absolute and resolved inside its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The root file system.
    pub root: RootFs,
    /// Program and arguments, at least one. A program without `/` is looked up in the `PATH` of [`RunSpec::env`].
    pub args: Vec<OsString>,
    /// The whole environment, in this order; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside the root, absolute. It must exist.
    #[serde(with = "crate::path_bytes")]
    pub cwd: PathBuf,
    /// Numeric user.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Supplementary groups, without those that the process has by `gid`.
    pub groups: Vec<u32>,
    /// Host name, at most 64 bytes.
    pub hostname: String,
    /// File mode creation mask.
    pub umask: u32,
    /// The network that the process sees.
    pub network: Network,
    /// Further mounts, made in this order after `/proc`, `/dev` and `/sys`.
    pub mounts: Vec<Mount>,
    /// Resource limits; those not named are inherited.
    pub limits: Vec<ResourceLimit>,
    /// Most bytes of `/dev/shm`.
    pub shm_size: u64,
    /// Standard input.
    pub stdin: Stdin,
    /// Standard output and standard error.
    pub output: Output,
    /// How much the process is confined.
    pub security: Security,
}

impl RunSpec {
    /// A spec with a fixed world: uid 0, `/` as working directory, host name `rebit`, umask 022, empty environment, no network,
    /// no extra mounts, standard input from `/dev/null`, output captured, confined.
    pub fn new(root: RootFs, args: impl IntoIterator<Item = impl Into<OsString>>) -> RunSpec {
        RunSpec {
            root,
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            hostname: "rebit".to_owned(),
            umask: 0o022,
            network: Network::None,
            mounts: Vec::new(),
            limits: Vec::new(),
            shm_size: DEFAULT_SHM_SIZE,
            stdin: Stdin::Null,
            output: Output::Capture,
            security: Security::Sandbox,
        }
    }

    /// Checks what can be checked without the host.
    pub fn validate(&self) -> Result<(), SandboxError> {
        let invalid = |reason: String| Err(SandboxError::InvalidSpec { reason });
        if self.args.first().is_none_or(|program| program.is_empty()) {
            return invalid("no program is given".to_owned());
        }
        let names = self.env.iter().flat_map(|(name, value)| [name, value]);
        if self.args.iter().chain(names).any(|value| value.as_bytes().contains(&0)) {
            return invalid("an argument or environment variable contains a zero byte".to_owned());
        }
        if let Some((name, _)) = self.env.iter().find(|(name, _)| !is_variable_name(name)) {
            return invalid(format!("not a name of an environment variable: `{}`", name.display()));
        }
        if self.hostname.is_empty() || self.hostname.len() > 64 || self.hostname.contains('\0') {
            return invalid(format!("host name is not 1 to 64 bytes: `{}`", self.hostname));
        }
        if self.umask > 0o777 {
            return invalid(format!("umask is not 0 to 0777: `{:o}`", self.umask));
        }
        if [self.uid, self.gid].iter().chain(&self.groups).any(|id| *id == u32::MAX) {
            return invalid("user and group ids must be below 4294967295".to_owned());
        }
        if let RootFs::Overlay { lowers, data, .. } = &self.root
            && lowers.len() + data.len() > MAX_LOWERS
        {
            return invalid(format!("more than {MAX_LOWERS} lower directories"));
        }
        let targets = self.mounts.iter().map(Mount::target).chain([self.cwd.as_path()]);
        for path in targets {
            if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
                return invalid(format!("path inside the sandbox is not absolute: `{}`", path.display()));
            }
        }
        Ok(())
    }
}

fn is_variable_name(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().contains(&b'=')
}

/// The root file system of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootFs {
    /// An overlay mounted for this run, with `userxattr`: an opaque directory is marked by `user.overlay.opaque`, a whiteout is a 0:0 device.
    Overlay {
        /// Lower layers, topmost first; may be empty; at most 499 together with `data`.
        lowers: Vec<Lower>,
        /// Data-only lower directories, which redirects of the *last* of `lowers` may name (`datadir+`, kernel 6.16 or so). With them, mount points
        /// that the image lacks are made in the upper directory and removed after the run.
        #[serde(with = "crate::path_bytes::list")]
        data: Vec<PathBuf>,
        /// Upper directory: receives what the run changes. Its own mode and owner are those of the root directory.
        #[serde(with = "crate::path_bytes")]
        upper: PathBuf,
        /// Scratch directory on the same file system as `upper`; the runner makes one directory inside and removes it after the run.
        #[serde(with = "crate::path_bytes")]
        work: PathBuf,
    },
    /// A plain directory, bound as it is. Mount points that it lacks are made in it and removed after the run when still empty.
    Directory {
        /// The directory.
        #[serde(with = "crate::path_bytes")]
        path: PathBuf,
        /// Whether the root is read-only for the process (further mounts have their own flag).
        readonly: bool,
    },
}

/// A read-only layer of an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lower {
    /// A directory.
    Directory {
        /// The directory.
        #[serde(with = "crate::path_bytes")]
        path: PathBuf,
    },
    /// An EROFS image in a file, mounted for this run. Needs root, and a kernel that mounts it from a file (Linux 6.12): see
    /// [`try_image`](crate::try_image).
    Image {
        /// The image.
        #[serde(with = "crate::path_bytes")]
        path: PathBuf,
        /// The files that hold its contents, in the order of its device table.
        #[serde(with = "crate::path_bytes::list")]
        data: Vec<PathBuf>,
    },
}

impl Lower {
    /// The directory or image.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Lower::Directory { path } | Lower::Image { path, .. } => path,
        }
    }
}

impl From<PathBuf> for Lower {
    fn from(path: PathBuf) -> Lower {
        Lower::Directory { path }
    }
}

/// The network that the process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The network namespace of the caller.
    Host,
    /// A new network namespace with only the loopback interface, which is up.
    None,
}

/// A mount beyond `/proc`, `/dev` and `/sys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A file or directory of the host, with what is mounted below it.
    Bind {
        /// Path on the host.
        #[serde(with = "crate::path_bytes")]
        source: PathBuf,
        /// Path inside the root.
        #[serde(with = "crate::path_bytes")]
        target: PathBuf,
        /// Whether writes are refused.
        readonly: bool,
    },
    /// What layers show together, for reading only.
    Layers {
        /// The layers, topmost first; at least one.
        lowers: Vec<Lower>,
        /// The file of them that is mounted, relative and without symlinks; everything when missing.
        #[serde(with = "crate::path_bytes::optional")]
        file: Option<PathBuf>,
        /// Path inside the root.
        #[serde(with = "crate::path_bytes")]
        target: PathBuf,
    },
    /// An empty memory file system.
    Tmpfs {
        /// Path inside the root.
        #[serde(with = "crate::path_bytes")]
        target: PathBuf,
        /// Most bytes it may hold; the kernel's default (half of the memory) when missing.
        size: Option<u64>,
        /// Mode of its root directory.
        mode: u32,
    },
    /// A file with the given bytes, held in memory, for example `/etc/resolv.conf` or a secret.
    File {
        /// Path inside the root.
        #[serde(with = "crate::path_bytes")]
        target: PathBuf,
        /// The bytes.
        contents: Vec<u8>,
        /// Mode of the file.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Whether writes are refused; otherwise they are lost after the run.
        readonly: bool,
    },
}

impl Mount {
    /// Path inside the root.
    pub fn target(&self) -> &Path {
        match self {
            Mount::Bind { target, .. }
            | Mount::Layers { target, .. }
            | Mount::Tmpfs { target, .. }
            | Mount::File { target, .. } => target,
        }
    }
}

/// A limit of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: Resource,
    /// Soft limit; unlimited when missing.
    pub soft: Option<u64>,
    /// Hard limit; unlimited when missing. Raising it above the caller's own needs `CAP_SYS_RESOURCE`.
    pub hard: Option<u64>,
}

/// A resource of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Resource {
    /// `RLIMIT_AS`, bytes of address space.
    AddressSpace,
    /// `RLIMIT_CORE`, bytes of a core file.
    Core,
    /// `RLIMIT_CPU`, seconds.
    Cpu,
    /// `RLIMIT_DATA`, bytes.
    Data,
    /// `RLIMIT_FSIZE`, bytes of one file.
    FileSize,
    /// `RLIMIT_LOCKS`, file locks.
    Locks,
    /// `RLIMIT_MEMLOCK`, bytes.
    LockedMemory,
    /// `RLIMIT_MSGQUEUE`, bytes of POSIX message queues.
    MessageQueues,
    /// `RLIMIT_NICE`, 20 minus the lowest nice value.
    Nice,
    /// `RLIMIT_NOFILE`, descriptors.
    OpenFiles,
    /// `RLIMIT_NPROC`, processes of the user.
    Processes,
    /// `RLIMIT_RSS`, bytes; Linux ignores it.
    ResidentMemory,
    /// `RLIMIT_RTPRIO`, the highest real-time priority.
    RealtimePriority,
    /// `RLIMIT_RTTIME`, microseconds of real-time scheduling without a pause.
    RealtimeTime,
    /// `RLIMIT_SIGPENDING`, signals.
    PendingSignals,
    /// `RLIMIT_STACK`, bytes.
    Stack,
}

impl Resource {
    /// Every resource with the name that `ulimit` options of container tools use.
    pub const NAMES: [(&str, Resource); 16] = [
        ("as", Resource::AddressSpace),
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::FileSize),
        ("locks", Resource::Locks),
        ("memlock", Resource::LockedMemory),
        ("msgqueue", Resource::MessageQueues),
        ("nice", Resource::Nice),
        ("nofile", Resource::OpenFiles),
        ("nproc", Resource::Processes),
        ("rss", Resource::ResidentMemory),
        ("rtprio", Resource::RealtimePriority),
        ("rttime", Resource::RealtimeTime),
        ("sigpending", Resource::PendingSignals),
        ("stack", Resource::Stack),
    ];

    /// The name that `ulimit` options of container tools use.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, resource)| *resource == self);
        found.map_or_else(|| unreachable!("every resource has a name"), |(name, _)| name)
    }
}

/// Standard input of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null` of the host.
    Null,
    /// The caller's standard input; the process stays in the caller's session, so that a terminal's job control works.
    Inherit,
}

/// Standard output and standard error of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Pipes, read by [`crate::run`].
    Capture,
    /// The caller's own.
    Inherit,
}

/// How much the process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// The 14 capabilities that containers have by default, a seccomp filter, masked and read-only paths in `/proc` and `/sys`, no usable device nodes.
    Sandbox,
    /// All capabilities of the caller, no filter, nothing masked: as `RUN --security=insecure`.
    Insecure,
}
