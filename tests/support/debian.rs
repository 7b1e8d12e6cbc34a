//! A Debian root file system as a base image, from the mirror that this machine's own apt uses.

use std::path::Path;
use std::process::Command;

use super::{World, ended, has, is_root, skip};

/// Imports a minimal Debian as `debian:bookworm`; says what is missing when that is not possible here.
///
/// The root file system stays in `debian.tar` of the world. One that `REBIT_DEBIAN_TAR` names need not be made.
pub(crate) fn import(world: &World) -> bool {
    if let Some(tar) = std::env::var_os("REBIT_DEBIAN_TAR") {
        std::os::unix::fs::symlink(tar, world.path("debian.tar")).unwrap();
        world.ok(["import", "--rootfs", "--compression=none", "debian.tar", "store:debian:bookworm"]);
        return true;
    }
    if !is_root() || !has("mmdebstrap") || !has("apt-get") {
        return false;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=minbase", "bookworm", "debian.tar"]).args(mirror());
    let made = ended(mmdebstrap.current_dir(world.dir.path()));
    if made.code != 0 {
        unreachable_network(&format!("needs a Debian mirror: {}", made.stderr));
        return false;
    }
    world.ok(["import", "--rootfs", "--compression=none", "debian.tar", "store:debian:bookworm"]);
    true
}

fn mirror() -> Option<String> {
    let output = ended(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE)",
        "Created-By: Packages",
    ]));
    let line = output.stdout.lines().find(|line| {
        line.ends_with(" bookworm") || line.ends_with(" oldstable") || line.ends_with(" stable")
    })?;
    line.split(' ').next().map(str::to_owned)
}

/// Pins the images of a file of recipes; says what is missing when apt does not know where packages are, or they cannot be had.
pub(crate) fn locks(world: &World, file: &str) -> bool {
    let configured =
        ["/etc/apt/sources.list", "/etc/apt/sources.list.d"].iter().any(|path| Path::new(path).exists());
    if !configured || !has("gpgv") {
        return false;
    }
    let locked = world.run(["lock", "-f", file]);
    if locked.code != 0 {
        unreachable_network(&format!("needs a Debian archive: {}", locked.stderr));
    }
    locked.code == 0
}

/// The CA certificates of this machine, where a distribution keeps them.
pub(crate) fn certificates() -> Option<&'static Path> {
    Some(Path::new("/etc/ssl/certs/ca-certificates.crt")).filter(|path| path.is_file())
}

/// Skips for want of a network, which CI always has.
pub(crate) fn unreachable_network(reason: &str) {
    skip(reason);
    assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI");
}
