//! Where a build context comes from.

use std::fs::{self, File};
use std::process::Command;

use crate::support::{Ended, World, can_build, ended};

fn world() -> World {
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", "FROM busybox\nCOPY . /files\nCOPY --chown=3 dir /other\n");
    world.write("context/dir/file", "content\n");
    world.write("context/tool", "#!/bin/sh\n");
    let made =
        Command::new("chmod").args(["755", "context/tool"]).current_dir(world.dir.path()).status().unwrap();
    assert!(made.success());
    world
}

/// Builds with a file as standard input.
fn build_from(world: &World, input: &str, args: &[&str]) -> Ended {
    let mut command = world.command([&["build", "-q"], args].concat());
    ended(command.stdin(File::open(world.path(input)).unwrap()))
}

fn digest(ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.trim().to_owned()
}

#[test]
fn an_archive_is_the_directory_it_was_made_of() {
    if !can_build() {
        return;
    }
    let world = world();
    let expected = digest(world.run(["build", "-q", "context"]));
    for (name, flags) in [("plain.tar", "-cf"), ("gzip.tgz", "-czf"), ("xz.txz", "-cJf")] {
        // Owners and times of the archive do not matter.
        let mut tar = Command::new("tar");
        tar.args([flags, name, "--owner=77", "--group=88", "--mtime=@1234567890", "-C", "context", "."]);
        assert_eq!(ended(tar.current_dir(world.dir.path())).code, 0);
        assert_eq!(digest(build_from(&world, name, &["-"])), expected, "{name} on standard input");
        assert_eq!(digest(world.run(["build", "-q", name])), expected, "{name} as a file");
    }
    let ended = build_from(&world, "plain.tar", &["-f", "none", "-"]);
    assert!(ended.code == 1 && ended.stderr.contains("the context has no such file"), "{}", ended.stderr);
    world.fsck();
}

#[test]
fn a_dockerfile_on_standard_input_has_an_empty_context_or_a_directory() {
    if !can_build() {
        return;
    }
    let world = world();
    world.write("alone", "FROM busybox\nRUN echo alone > /said\n");
    let alone = digest(build_from(&world, "alone", &["-"]));
    assert_eq!(world.ok(["run", &alone, "/bin/cat", "/said"]), "alone\n");
    world.write("copies", "FROM busybox\nCOPY dir/file /said\n");
    let ended = build_from(&world, "copies", &["-"]);
    assert!(ended.code == 1 && ended.stderr.contains("`dir/file` does not exist"), "{}", ended.stderr);
    let with_directory = digest(build_from(&world, "copies", &["-f", "-", "context"]));
    assert_eq!(world.ok(["run", &with_directory, "/bin/cat", "/said"]), "content\n");
    assert_eq!(build_from(&world, "copies", &["-f", "-", "-"]).code, 2);
    assert_eq!(build_from(&world, "copies", &["-f", "x", "-"]).code, 2);
}

#[test]
fn named_contexts_are_directories_and_images() {
    if !can_build() {
        return;
    }
    let world = world();
    world.write("extra/.dockerignore", "hidden\n");
    world.write("extra/hidden", "");
    world.write("extra/shown", "shown\n");
    let dockerfile = "FROM base
COPY --from=extra . /extra
RUN --mount=from=extra,target=/e cat /e/shown > /mounted
COPY --from=tools /bin/busybox /again
";
    world.write("context/Dockerfile", dockerfile);
    let flags = [
        "--build-context",
        "extra=extra",
        "--build-context",
        "base=docker-image://busybox",
        "--build-context",
        "tools=store:busybox",
    ];
    let built = digest(world.run([&["build", "-q"], &flags[..], &["context"]].concat()));
    assert_eq!(world.ok(["run", &built, "/bin/cat", "/mounted", "/extra/shown"]), "shown\nshown\n");
    assert_eq!(world.ok(["run", &built, "/bin/ls", "-A", "/extra"]), ".dockerignore\nshown\n");
    // A change in a named context is noticed.
    fs::write(world.path("extra/shown"), "changed\n").unwrap();
    let changed = digest(world.run([&["build", "-q"], &flags[..], &["context"]].concat()));
    assert_eq!(world.ok(["run", &changed, "/bin/cat", "/mounted", "/extra/shown"]), "changed\nchanged\n");
    for (flag, code) in
        [("extra", 2), ("extra=none", 1), ("extra=https://host.invalid/x.git?x", 2), ("extra=store:UPPER", 2)]
    {
        assert_eq!(world.run(["build", "-q", "--build-context", flag, "context"]).code, code, "{flag}");
    }
    world.fsck();
}
