//! What all cells need: base images as archives, file systems, a daemon of repositories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::case::{Base, Case, applications};
use crate::support::repository::Daemon;
use crate::support::{World, debian, ended, has, skip};

/// The file systems that stores are put on besides the one of temporary files, and what makes them.
const FILE_SYSTEMS: [(&str, &[&str]); 3] = [
    ("ext4", &["mkfs.ext4", "-q", "-F"]),
    ("xfs", &["mkfs.xfs", "-q", "-f"]),
    ("btrfs", &["mkfs.btrfs", "-q", "-f"]),
];

/// One archive is written at a time.
static WRITING: Mutex<()> = Mutex::new(());

pub(super) struct Lab {
    /// Has the base images; large Dockerfiles are built in its store.
    pub(super) world: World,
    mounts: Vec<(&'static str, PathBuf)>,
    repositories: OnceLock<Daemon>,
    has_debian: bool,
}

impl Lab {
    /// Makes the base images that Dockerfiles start from.
    pub(super) fn new(bases: &[Base]) -> Self {
        let world = World::new().with_busybox();
        fs::create_dir_all(world.path("git")).unwrap();
        let has_debian = bases.iter().any(|base| *base != Base::Small) && debian::import(&world);
        if has_debian && bases.contains(&Base::Tools) {
            let tools = applications().join("tools").display().to_string();
            for target in ["runtime", "tools"] {
                world.ok(["build", "-q", "--compression=none", "--target", target, "-t", target, &tools]);
            }
        }
        let mut lab = Self { world, mounts: Vec::new(), repositories: OnceLock::new(), has_debian };
        lab.mount_all();
        lab
    }

    /// Whether a Dockerfile can be built here.
    pub(super) fn has(&self, case: &Case) -> bool {
        case.base == Base::Small || self.has_debian
    }

    /// Where a base image is; written when it is first asked for.
    pub(super) fn archive(&self, image: &str) -> String {
        let file = self.world.path(&format!("{}.image", image.replace(':', "-")));
        let place = format!("docker-archive:{}:{image}", file.display());
        let _one = WRITING.lock().unwrap();
        if !file.is_file() {
            self.world.ok(["export", &format!("store:{image}"), &place]);
        }
        place
    }

    /// A directory on a file system of this kind.
    pub(super) fn on(&self, kind: &str) -> Option<&Path> {
        self.mounts.iter().find(|(name, _)| *name == kind).map(|(_, path)| path.as_path())
    }

    /// Serves the repositories below `git` of the lab.
    pub(super) fn repositories(&self) -> &Daemon {
        self.repositories.get_or_init(|| Daemon::new(&self.world.path("git")))
    }

    fn mount_all(&mut self) {
        for (name, make) in FILE_SYSTEMS {
            let (image, target) = (self.world.path(&format!("{name}.img")), self.world.path(name));
            if !has(make[0]) {
                continue;
            }
            fs::create_dir_all(&target).unwrap();
            fs::File::create(&image).unwrap().set_len(6 << 30).unwrap();
            let made = ended(Command::new(make[0]).args(&make[1..]).arg(&image));
            let mounted = ended(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&target));
            if made.code == 0 && mounted.code == 0 {
                self.mounts.push((name, target));
            } else {
                skip(&format!("needs {name}: {}{}", made.stderr, mounted.stderr));
            }
        }
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            self.mounts.push(("tmpfs", shared.to_owned()));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (name, target) in self.mounts.iter().filter(|(name, _)| *name != "tmpfs") {
            let unmounted = ended(Command::new("umount").arg(target));
            if unmounted.code != 0 {
                skip(&format!("cannot unmount {name}: {}", unmounted.stderr));
            }
        }
    }
}

/// A tar of a file with capabilities, one with an attribute and a plain one.
pub(super) fn attributes() -> &'static [u8] {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(|| {
        let world = World::new();
        for name in ["capable", "attribute", "plain"] {
            world.write(&format!("x/{name}"), name);
        }
        let accepted = |command: &mut Command| {
            let ended = ended(command.current_dir(world.dir.path()));
            assert_eq!(ended.code, 0, "{}", ended.stderr);
        };
        accepted(Command::new("setcap").args(["cap_net_bind_service+ep", "x/capable"]));
        let attribute = "import os; os.setxattr('x/attribute', 'user.note', b'\\0\\xff')";
        accepted(Command::new("python3").args(["-c", attribute]));
        let tar = "--format=posix --pax-option=delete=atime,delete=ctime --xattrs --xattrs-include=* --sort=name --mtime=@7 -cf t.tar x";
        accepted(Command::new("tar").args(tar.split(' ')));
        fs::read(world.path("t.tar")).unwrap()
    })
}
