//! Root file systems of images and of directories: what a step sees is the same, and so is the digest.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use crate::support::{World, assert_nothing_mounted, can_build, skip};

const KINDS: [&str; 2] = ["overlayfs", "erofs"];

/// A context of many files of every kind that a context has.
fn context(world: &World) {
    for number in 0..400 {
        world.write(&format!("context/many/{number:0>60}"), format!("content {number}\n"));
    }
    world.write("context/large", vec![7_u8; 3_000_000]);
    world.write("context/dir with space/ü/empty", "");
    world.write("context/.dockerignore", "Dockerfile\n");
    symlink("large", world.path("context/link")).unwrap();
    symlink("t".repeat(3000), world.path("context/long")).unwrap();
    fs::hard_link(world.path("context/large"), world.path("context/again")).unwrap();
}

/// Builds with one kind of layers; nothing where the host cannot.
fn build(world: &World, kind: &str, tag: &str) -> Option<(String, String)> {
    let ended = world.run(["build", "--progress=plain", "--snapshotter", kind, "-t", tag, "context"]);
    if kind == "erofs" && ended.stderr.contains("EROFS images cannot be mounted here") {
        skip(ended.stderr.lines().next().unwrap_or_default());
        return None;
    }
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    Some((ended.stdout.trim().to_owned(), ended.stderr))
}

/// What a step sees of every file: what `stat` says, but for the numbers of devices and inodes and the size of directories.
const LOOK: &str = "find / -mindepth 1 -xdev ! -path '/proc*' ! -path '/sys*' ! -path '/dev*' ! -name list ! -name seen | sort > /list; \
    while read -r f; do stat -c '%n %F %a %u %g %Y %t %T' \"$f\"; [ -d \"$f\" ] || stat -c %s \"$f\"; [ -L \"$f\" ] || [ ! -f \"$f\" ] || md5sum \"$f\"; done < /list > /seen";

#[test]
fn images_and_directories_give_the_same_layers() {
    if !can_build() {
        return;
    }
    let dockerfile = format!(
        "FROM busybox
COPY . /src
RUN mkdir /made && cd /made && for n in $(seq 300); do echo $n > $n; done; ln 1 hard; ln -s 2 soft; mkfifo pipe; \\
    chmod 4711 3; chown 70000:80000 4; rm -r '/src/dir with space'; echo new > /src/large
RUN {LOOK}
RUN rm -r /made/1* /src/many/*1 && mkdir -p /src/link2 && touch '/made/!'
RUN {LOOK}
"
    );
    let mut results = Vec::new();
    for kind in KINDS {
        let world = World::new().with_busybox();
        context(&world);
        world.write("context/Dockerfile", &dockerfile);
        let Some((first, _)) = build(&world, kind, "out") else { return };
        // Once more from what is known of the first steps, so that what they left is a layer below.
        world.write("context/Dockerfile", dockerfile.clone() + "RUN grep -c . /seen\n");
        let (second, said) = build(&world, kind, "more").unwrap();
        assert_eq!(said.matches(" DONE ").count(), 1, "{said}");
        assert_nothing_mounted(&world.path(""));
        world.ok(["build", "-q", "--snapshotter", kind, "-o", "files", "context"]);
        results.push((fs::read_to_string(world.path("files/seen")).unwrap(), first, second));
        world.fsck();
    }
    // The text first: it says what differs.
    for (directories, images) in results[0].0.lines().zip(results[1].0.lines()) {
        assert_eq!(directories, images);
    }
    assert!(results[0] == results[1]);
}

fn files_named(world: &World, name: &str) -> Vec<PathBuf> {
    let checkouts = fs::read_dir(world.path("store/loose/checkouts")).unwrap();
    let files = checkouts.map(|entry| entry.unwrap().path().join(name));
    files.filter(|path| path.exists()).collect()
}

#[test]
fn one_changed_file_of_many_costs_that_file_and_everything_is_seen() {
    if !can_build() {
        return;
    }
    for kind in KINDS {
        let world = World::new().with_busybox();
        context(&world);
        world.write(
            "context/Dockerfile",
            "FROM busybox
COPY many /many
RUN --mount=target=/context ls /many | wc -l; ls /context/many | wc -l; cat /many/*7 /context/many/*7 | md5sum
RUN --mount=source=large,target=/one wc -c < /one
",
        );
        let Some((_, before)) = build(&world, kind, "out") else { return };
        world.write(&format!("context/many/{:0>60}", 7), "changed\n");
        let (_, after) = build(&world, kind, "out").unwrap();
        for said in [&before, &after] {
            assert_eq!(said.lines().filter(|line| line.ends_with(" 400")).count(), 2, "{said}");
        }
        let sum = |said: &str| {
            let line = said.lines().find(|line| line.ends_with("  -")).unwrap_or_else(|| panic!("{said}"));
            line.split(' ').rev().nth(2).unwrap().to_owned()
        };
        assert_ne!(sum(&before), sum(&after));
        if kind == "erofs" {
            // The second image of a context shares the data of the first one and adds a block.
            let shared = files_named(&world, "0.data")
                .iter()
                .filter(|path| path.metadata().unwrap().nlink() > 1)
                .count();
            assert!(shared >= 2, "nothing is shared");
            let added: Vec<u64> =
                files_named(&world, "1.data").iter().map(|path| path.metadata().unwrap().len()).collect();
            assert!(!added.is_empty() && added.iter().all(|length| *length == 4096), "{added:?}");
        } else {
            assert_eq!(files_named(&world, "layer.erofs"), Vec::<PathBuf>::new());
        }
    }
}

#[test]
fn directories_of_images_are_listed_by_name() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    context(&world);
    world.write("context/Dockerfile", "FROM busybox\nCOPY . /src\nRUN find /src/many -type f > /listed\n");
    if build(&world, "erofs", "out").is_none() {
        return;
    }
    let ended = world.run(["build", "--snapshotter", "erofs", "-q", "-o", "files", "context"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let listed = fs::read_to_string(world.path("files/listed")).unwrap();
    let names: Vec<&str> = listed.lines().collect();
    assert!(names.len() == 400 && names.is_sorted(), "{listed}");
}

#[test]
fn an_unknown_kind_is_named() {
    let ended = World::new().run(["build", "--snapshotter", "zfs", "."]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("`zfs` is not auto, overlayfs or erofs"), "{}", ended.stderr);
}
