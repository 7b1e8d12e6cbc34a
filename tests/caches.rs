//! `rebit cache`: what `RUN --mount=type=cache` keeps, listed, pruned and carried.

use std::fs;

use crate::support::{World, can_build};

fn build(world: &World, name: &str, extra: &[&str]) {
    let dockerfile = format!(
        "FROM busybox\nARG ROUND\nRUN --mount=type=cache,target=/c,id={name} echo $ROUND >> /c/log && cp /c/log /log\n"
    );
    world.write("context/Dockerfile", dockerfile);
    let ended = world.run([&["build", "-q", "-t", "out", "-o", "files", "context"], extra].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

fn log(world: &World) -> String {
    fs::read_to_string(world.path("files/log")).unwrap()
}

#[test]
fn caches_are_carried_from_store_to_store() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    build(&world, "one", &["--build-arg", "ROUND=1"]);
    build(&world, "two", &["--build-arg", "ROUND=2"]);
    let wrote = world.ok(["cache", "export", "caches.tar.zst"]);
    assert_eq!(wrote, "wrote one (2 B)\nwrote two (2 B)\n");
    world.ok(["cache", "export", "two.tar", "two"]);
    let missing = world.run(["cache", "export", "none.tar", "none"]);
    assert!(missing.code == 1 && missing.stderr.contains("there is no cache `none`"), "{}", missing.stderr);
    assert!(!world.path("none.tar").exists());
    // Compressed or not, to a file or not: the same tar.
    fs::write(world.path("out.tar"), world.command(["cache", "export", "-", "two"]).output().unwrap().stdout)
        .unwrap();
    assert!(fs::read(world.path("out.tar")).unwrap() == fs::read(world.path("two.tar")).unwrap());

    let other = World::new().with_busybox();
    let said =
        other.ok([std::ffi::OsStr::new("cache"), "import".as_ref(), world.path("caches.tar.zst").as_ref()]);
    assert_eq!(said, "brought in one (2 B)\nbrought in two (2 B)\n");
    build(&other, "one", &["--build-arg", "ROUND=3"]);
    assert_eq!(log(&other), "1\n3\n");
    other.fsck();
}

#[test]
fn caches_are_pruned_by_size_and_age() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    for name in ["one", "two"] {
        build(&world, name, &["--build-arg", "ROUND=1"]);
    }
    assert_eq!(world.run(["cache", "prune"]).code, 2, "pruned without a limit");
    let kept = world.ok(["cache", "prune", "--older-than", "1h", "--max-size", "1G"]);
    assert_eq!(kept, "removed 0 caches, 0 B\n");
    let would: serde_json::Value =
        serde_json::from_str(&world.ok(["cache", "prune", "--max-size", "0", "--dry-run", "--json"]))
            .unwrap();
    assert_eq!((would["removed"].as_array().unwrap().len(), &would["dry_run"]), (2, &true.into()));
    assert!(would["removed"][0]["last_used"].as_u64().is_some_and(|time| time > 1_600_000_000));
    let pruned = world.ok(["cache", "prune", "--older-than", "0"]);
    assert!(pruned.ends_with("\n") && pruned.contains("removed 2 caches"), "{pruned}");
    assert_eq!(world.ok(["cache", "ls", "--json"]), "[]\n");
    build(&world, "one", &["--build-arg", "ROUND=2"]);
    assert_eq!(log(&world), "2\n");
}
