//! Writing the context of a case.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::case::unescape;
use crate::support;

/// Makes what the lines say in `root`, a new directory. Modes are those of the lines, whatever the umask is.
pub(super) fn write(root: &Path, lines: &[String]) {
    fs::create_dir_all(root).unwrap();
    set_mode(root, "0755");
    for line in lines {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let path = root.join(unescape(words[1]));
        make_parents(root, &path);
        let word = |index: usize| unescape(words.get(index).unwrap_or(&""));
        match words[0] {
            "file" => {
                fs::write(&path, word(3)).unwrap();
                set_mode(&path, words[2]);
            }
            "dir" => {
                if !path.is_dir() {
                    fs::create_dir(&path).unwrap();
                }
                set_mode(&path, words[2]);
            }
            "link" => std::os::unix::fs::symlink(word(2), &path).unwrap(),
            "hard" => fs::hard_link(root.join(word(2)), &path).unwrap(),
            "fifo" => {
                rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
                set_mode(&path, words[2]);
            }
            "xattr" => {
                let value: Vec<u8> = word(3).chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
                rustix::fs::lsetxattr(&path, word(2), &value, XattrFlags::empty()).unwrap();
            }
            "tar" => pack(root, &path, words[2], words.get(3).unwrap_or(&"")),
            other => panic!("`{other}` is no directive"),
        }
    }
}

fn set_mode(path: &Path, octal: &str) {
    let mode = u32::from_str_radix(octal, 8).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn make_parents(root: &Path, path: &Path) {
    let parent = path.parent().unwrap();
    if parent != root && !parent.exists() {
        make_parents(root, parent);
        fs::create_dir(parent).unwrap();
        set_mode(parent, "0755");
    }
}

fn pack(root: &Path, archive: &Path, member: &str, args: &str) {
    let mut command = Command::new("tar");
    command.args(["--numeric-owner", "--sort=name", "--mtime=@0", "--xattrs", "--xattrs-include=*"]);
    command.args(args.split_whitespace()).arg("-caf").arg(archive).arg("-C").arg(root.join(member));
    let ended = support::ended(command.arg("."));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    fs::remove_dir_all(root.join(member)).unwrap();
}
