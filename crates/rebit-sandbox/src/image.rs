//! Images that are layers: EROFS, mounted from a file.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, mount_change,
};
use rustix::thread::UnshareFlags;

use crate::report::{Context, Failure};
use crate::rootfs::{Layers, mount_overlay, open_directory, open_lower};
use crate::runner::TRY_IMAGE;
use crate::{Lower, RUNNER_ARGUMENT, Runner, Step, sys};

/// What a trial finds in its directory.
const IMAGE: &str = "image";
const PLACES: [&str; 4] = ["mounted", "root", "upper", "work"];

/// Mounts an image with its data files, attached nowhere yet.
pub(crate) fn mount_image(image: &Path, data: &[PathBuf]) -> Result<OwnedFd, Failure> {
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).at(Step::Image, image)?;
    fsconfig_set_string(&context, "source", image).at(Step::Image, image)?;
    for file in data {
        fsconfig_set_string(&context, "device", file).at(Step::Image, file)?;
    }
    fsconfig_create(&context).at(Step::Image, image)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(Step::Image, image)
}

/// Whether an image in a file of `directory` can be a layer of a root file system there: it is mounted, with an overlay on it, in a
/// short-lived runner process. What stands in the way is the reason, in words.
///
/// `directory` has to be empty, and holds the rests of the trial afterwards. `image` is any image, without data files.
pub fn try_image(runner: &Runner, directory: &Path, image: &[u8]) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    for place in PLACES {
        std::fs::create_dir(directory.join(place)).map_err(words)?;
    }
    std::fs::write(directory.join(IMAGE), image).map_err(words)?;
    let output = Command::new(runner.path())
        .args([RUNNER_ARGUMENT, TRY_IMAGE])
        .arg(directory)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(words)?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The runner's side.
pub(crate) fn try_here(directory: &Path) -> Option<()> {
    match mount_all(directory) {
        Ok(_) => Some(()),
        Err(failure) => {
            let reason = std::io::Error::from_raw_os_error(failure.errno);
            let text = format!("{}: {reason}", failure.step);
            // Whoever waits for the reason sees that there is none.
            let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            None
        }
    }
}

fn mount_all(directory: &Path) -> Result<OwnedFd, Failure> {
    sys::unshare(UnshareFlags::NEWNS).step(Step::Namespaces)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .at(Step::Namespaces, "/")?;
    let [mounted, root, upper, work] = PLACES.map(|place| directory.join(place));
    let image = Lower::Image { path: directory.join(IMAGE), data: Vec::new() };
    let lower = open_lower(&image, || open_directory(&mounted))?;
    let layers =
        Layers { lowers: vec![lower], data: &[], writable: Some((&upper, &work)), with_images: true };
    mount_overlay(&layers, open_directory(&root)?)
}
