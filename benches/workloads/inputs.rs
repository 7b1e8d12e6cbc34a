//! Inputs made from what every machine has.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILES: usize = 21_700;
const BYTES: u64 = 816_000_000;
/// The file of every input that changes.
const CHANGES: &str = "tree/m/changes.txt";

/// A few files.
pub(crate) fn small(context: &Path) {
    for number in 0..20 {
        let path = context.join(format!("tree/{number}.txt"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{number}\n").repeat(200)).unwrap();
    }
}

/// Files of the Rust toolchain and of `/usr`, in a fixed order, until there are enough files and bytes.
pub(crate) fn tree(context: &Path) {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim());
    let (mut files, mut bytes) = (0, 0);
    // Small files first, as many as the share of each root allows, then large ones until there are enough bytes.
    let small = FILES - 700;
    let roots = [
        (PathBuf::from("/usr/include"), 8_000),
        (sysroot.join("share"), small),
        ("/usr/share".into(), small),
        (sysroot.join("lib"), FILES),
    ];
    for (number, (root, most)) in roots.iter().enumerate() {
        let mut pending = vec![root.clone()];
        while let Some(directory) = pending.pop() {
            let mut entries: Vec<_> = fs::read_dir(&directory).into_iter().flatten().flatten().collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    pending.push(entry.path());
                }
                let size = entry.metadata().map_or(0, |found| found.len());
                let fits = files < *most && bytes + size <= BYTES;
                if kind.is_file() && fits {
                    let target =
                        context.join(format!("tree/{number}")).join(entry.path().strip_prefix(root).unwrap());
                    fs::create_dir_all(target.parent().unwrap()).unwrap();
                    if fs::copy(entry.path(), target).is_ok() {
                        files += 1;
                        bytes += size;
                    }
                }
            }
        }
    }
}

/// One file of 2 GB that does not compress to nothing.
pub(crate) fn one(context: &Path) {
    fs::create_dir_all(context.join("tree")).unwrap();
    let mut file = std::io::BufWriter::new(fs::File::create(context.join("tree/large")).unwrap());
    let mut state = 1_u64;
    for _ in 0..2_000_000_000 / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Half of each word is zero.
        file.write_all(&((state >> 33) & 0xffff_ffff).to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

pub(crate) fn dockerfile(name: &str) -> &'static str {
    match name {
        "W1" => "FROM bench/base:1\nCOPY tree /src\nRUN cat /src/*.txt | sha256sum > /sum\n",
        "W2" => {
            "FROM bench/base:1 AS a\nCOPY tree /src\nRUN cp -a /src /out\nFROM scratch\nCOPY --from=a /out /out\n"
        }
        "W2b" => "FROM bench/base:1 AS a\nCOPY tree /src\nFROM scratch\nCOPY --from=a /src /out\n",
        _ => "FROM bench/base:1\nCOPY tree /src\n",
    }
}

/// Changes a small file, or some bytes in the middle of the large one.
pub(crate) fn change(context: &Path) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let large = context.join("tree/large");
    if large.is_file() {
        use std::os::unix::fs::FileExt as _;
        let file = fs::File::options().write(true).open(large).unwrap();
        file.write_all_at(&now.to_le_bytes(), 1_000_000_000).unwrap();
        return;
    }
    let path = context.join(CHANGES);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{now}\n")).unwrap();
}

pub(crate) fn describe(context: &Path) -> String {
    let (mut files, mut bytes) = (0_u64, 0_u64);
    let mut pending = vec![context.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            match entry.metadata().unwrap() {
                found if found.is_dir() => pending.push(entry.path()),
                found => {
                    files += 1;
                    bytes += found.len();
                }
            }
        }
    }
    format!("{files} files, {} MB", bytes / 1_000_000)
}
