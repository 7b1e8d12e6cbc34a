//! Times the way of a root file system archive into a store, out as an archive, and its verification.
//!
//! `cargo run -p rebit-image --example rootfs -- ARCHIVE.tar DIRECTORY`

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rebit_image::{
    ImportOptions, Place, Platform, RootfsOptions, export, import_place, import_rootfs, verify,
};
use rebit_store::{Store, StoreOptions};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(archive), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: rootfs ARCHIVE.tar DIRECTORY".into());
    };
    let platform = Platform::new("linux", "amd64");
    let now = SystemTime::UNIX_EPOCH;
    let root = Path::new(&directory);
    let session = Store::open(&root.join("store"), &StoreOptions::default())?.session()?;
    let names = ["base".parse()?];
    let mut times: Vec<(&str, Duration)> = Vec::new();

    let start = Instant::now();
    let options = RootfsOptions::new(platform.clone(), 315_532_800, now);
    let image = import_rootfs(&session, &mut File::open(archive)?, &names, &options)?;
    times.push(("import of the root file system", start.elapsed()));

    let place: Place = format!("oci-archive:{}", root.join("image.tar").display()).parse()?;
    let start = Instant::now();
    export(&session, &image, &place, &names)?;
    times.push(("export", start.elapsed()));

    let start = Instant::now();
    verify(None, &place, Some(image.digest()))?;
    times.push(("verify", start.elapsed()));

    let fresh = Store::open(&root.join("fresh"), &StoreOptions::default())?.session()?;
    let options = ImportOptions::new(platform, now);
    for what in ["import of the image", "the same again"] {
        let start = Instant::now();
        import_place(&fresh, &place, &names, &options)?;
        times.push((what, start.elapsed()));
    }
    let lines: Vec<String> = times.iter().map(|(what, time)| format!("{what}: {time:.2?}")).collect();
    std::io::Write::write_all(&mut std::io::stdout(), (lines.join("\n") + "\n").as_bytes())?;
    Ok(())
}
