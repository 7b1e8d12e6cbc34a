//! Registries: Debian's docker-registry on 127.0.0.1, with skopeo, podman and Docker as other clients of it.

mod builds;
mod certificates;
mod faults;
mod indexes;
mod login;
mod policy;
mod provenance;

use std::fs;
use std::process::Command;

use crate::differential::daemon::Daemon;
use crate::support::registry::Registry;
use crate::support::{Ended, World, ended, has, has_busybox, is_root};

/// A second store in the same world.
fn elsewhere(world: &World, args: &[&str]) -> Ended {
    ended(world.command(args).env("REBIT_STORE", world.path("elsewhere")))
}

fn ok(ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    ended.stdout.trim().to_owned()
}

fn skopeo(args: &[&str]) -> String {
    let mut command = Command::new("skopeo");
    ok(ended(command.arg("--insecure-policy").args(args)))
}

/// What was asked that moves the bytes of blobs.
fn moved(asked: &[String]) -> Vec<&String> {
    let moves = |asked: &&String| {
        asked.contains("/blobs/")
            && ["GET", "PATCH", "PUT", "POST"].iter().any(|verb| asked.starts_with(verb))
    };
    asked.iter().filter(moves).collect()
}

/// A world with `busybox` and a registry; `None`, visibly, where one of them cannot be.
fn start() -> Option<(World, Registry)> {
    if !has_busybox() {
        return None;
    }
    Some((World::new().with_busybox(), Registry::start()?))
}

#[test]
fn an_image_goes_to_a_registry_and_comes_back_the_same() {
    let Some((world, registry)) = start() else { return };
    let name = registry.name("team/busybox:1");
    let digest = ok(world.run(["push", "busybox", &name]));
    // What is there moves no blob.
    let before = registry.asked().len();
    let again = world.run(["push", "busybox", &name]);
    assert!(again.stderr.contains("0 blobs sent (0 B), 0 mounted, 2 were there"), "{}", again.stderr);
    assert_eq!(moved(&registry.since(before)), Vec::<&String>::new());
    assert_eq!(ok(again), digest);
    assert_eq!(ok(world.run(["tags", &registry.name("team/busybox")])), "1");

    let pulled = elsewhere(&world, &["pull", &name]);
    assert!(pulled.stderr.contains("1 layer"), "{}", pulled.stderr);
    assert_eq!(ok(pulled), digest);
    assert_eq!(ok(elsewhere(&world, &["verify", &name])), digest);
    // It is unpacked when a file of it is needed first, under each of its names.
    ok(elsewhere(&world, &["tag", &name, "alias"]));
    let unpacked = |name: &str| {
        let images = ok(elsewhere(&world, &["images", "--json"]));
        let images: serde_json::Value = serde_json::from_str(&images).unwrap();
        let mut images = images.as_array().unwrap().iter();
        let image = images.find(|image| image["name"].as_str().unwrap().contains(name)).unwrap().clone();
        image["uncompressed_size"].as_u64()
    };
    assert_eq!((unpacked("team/busybox"), unpacked("alias")), (None, None));
    let diff = elsewhere(&world, &["diff", &name, "alias"]);
    assert!(diff.stderr.contains(&format!("unpacking {name}")), "{}", diff.stderr);
    ok(diff);
    assert!(unpacked("team/busybox") > Some(100_000) && unpacked("alias") == unpacked("team/busybox"));
    ok(elsewhere(&world, &["fsck"]));
    // What the store has is not fetched, by whatever name.
    let before = registry.asked().len();
    assert_eq!(ok(elsewhere(&world, &["pull", &name])), digest);
    let by_digest = registry.name(&format!("team/busybox@{digest}"));
    assert_eq!(ok(elsewhere(&world, &["import", &format!("docker://{by_digest}"), "store:same"])), digest);
    let since = registry.since(before);
    assert!(!since.is_empty() && moved(&since).is_empty(), "{since:?}");
    // Nor what a recipe gives back.
    ok(elsewhere(&world, &["gc", "--recipes", "--keep-newer", "0"]));
    assert_eq!(ok(elsewhere(&world, &["pull", &name])), digest);
    assert!(moved(&registry.since(before)).is_empty());
}

#[test]
fn only_the_layer_that_differs_moves() {
    let Some((world, registry)) = start() else { return };
    if !is_root() {
        return;
    }
    let make = |text: &str, name: &str| {
        world.write("context/file", text);
        world.write("context/Dockerfile", "FROM busybox\nCOPY Dockerfile /\nCOPY file /\n");
        ok(world.run(["build", "-q", "--push", "-t", &registry.name(name), "context"]))
    };
    make("one", "app:1");
    ok(elsewhere(&world, &["pull", &registry.name("app:1")]));
    let before = registry.asked().len();
    let digest = make("two", "app:2");
    let pushed = registry.since(before);
    assert_eq!(
        pushed.iter().filter(|asked| asked.starts_with("PATCH")).count(),
        2,
        "layer and config: {pushed:?}"
    );
    let before = registry.asked().len();
    assert_eq!(ok(elsewhere(&world, &["pull", &registry.name("app:2")])), digest);
    assert_eq!(moved(&registry.since(before)).len(), 2, "layer and config");
    ok(elsewhere(&world, &["fsck"]));
    // In another repository of the registry they are there already.
    let before = registry.asked().len();
    let other = world.run(["push", &registry.name("app:2"), &registry.name("other/app:2")]);
    assert!(other.stderr.contains("1 blobs sent"), "{}", other.stderr);
    assert!(other.stderr.contains("3 mounted"), "{}", other.stderr);
    let patched = registry.since(before).iter().filter(|asked| asked.starts_with("PATCH")).count();
    assert_eq!(patched, 1, "the config only");
}

#[test]
fn what_other_clients_send_is_taken() {
    let Some((world, registry)) = start() else { return };
    if !has("skopeo") {
        return;
    }
    let layout = format!("oci:{}:latest", world.path("layout").display());
    world.ok(["export", "busybox", &layout]);
    for (tag, flags) in [
        ("docker", &["--format", "v2s2"][..]),
        ("oci", &["--format", "oci"]),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
        ("plain", &["--format", "oci", "--dest-decompress"]),
    ] {
        let name = registry.name(&format!("their/{tag}:1"));
        let to = format!("docker://{name}");
        skopeo(
            &[&["copy", "-q", "--dest-tls-verify=false"], flags, &[layout.as_str(), to.as_str()]].concat(),
        );
        let expected = skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &to]);
        assert_eq!(ok(elsewhere(&world, &["pull", "-q", &name])), expected, "{tag}");
        assert_eq!(ok(elsewhere(&world, &["verify", &name])), expected, "{tag}");
        // And goes on as it came.
        let back = registry.name(&format!("back/{tag}:1"));
        ok(elsewhere(&world, &["push", "-q", &name, &back]));
        let found = skopeo(&[
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{back}"),
        ]);
        assert_eq!(found, expected, "{tag}");
    }
    ok(elsewhere(&world, &["fsck"]));
}

#[test]
fn other_clients_take_what_is_sent() {
    let Some((world, registry)) = start() else { return };
    if !is_root() {
        return;
    }
    let name = registry.name("ours/busybox:1");
    let digest = ok(world.run(["push", "-q", "busybox", &name]));
    if has("skopeo") {
        let layout = format!("oci:{}:x", world.path("their").display());
        skopeo(&["copy", "-q", "--src-tls-verify=false", &format!("docker://{name}"), &layout]);
        assert_eq!(world.ok(["verify", &layout]).trim(), digest);
    }
    if has("podman") {
        let root = world.path("podman");
        let podman = |args: &[&str]| {
            let mut command = Command::new("podman");
            command.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run"));
            ok(ended(command.args(["--storage-driver", "vfs"]).args(args)))
        };
        podman(&["pull", "-q", "--tls-verify=false", &name]);
        assert_eq!(podman(&["image", "inspect", "--format", "{{.Digest}}", &name]), digest);
        let theirs = registry.name("podman/busybox:1");
        podman(&["push", "-q", "--tls-verify=false", &name, &theirs]);
        ok(elsewhere(&world, &["pull", "-q", &theirs]));
        ok(elsewhere(&world, &["verify", &theirs]));
    }
    let Some(docker) = Daemon::start(&world.path("docker")) else { return };
    ok(docker.run(["pull", "-q", &name]));
    assert!(ok(docker.run(["image", "inspect", "--format", "{{.RepoDigests}}", &name])).contains(&digest));
    let theirs = registry.name("docker/busybox:1");
    ok(docker.run(["tag", &name, &theirs]));
    ok(docker.run(["push", "-q", &theirs]));
    ok(elsewhere(&world, &["pull", "-q", &theirs]));
    ok(elsewhere(&world, &["verify", &theirs]));
    ok(elsewhere(&world, &["fsck"]));
}

#[test]
fn an_image_is_copied_without_the_store() {
    let Some((world, registry)) = start() else { return };
    let a = format!("docker://{}", registry.name("a/busybox:1"));
    let digest = ok(world.run(["copy", "store:busybox", &a]));
    let there = |place: &str| ok(elsewhere(&world, &["copy", "-q", &a, place]));
    let layout = format!("oci:{}:x", world.path("layout").display());
    let archive = format!("oci-archive:{}", world.path("a.tar").display());
    for place in [&layout, &archive, "store:back"] {
        assert_eq!(there(place), digest, "{place}");
    }
    assert_eq!(world.ok(["verify", &layout]).trim(), digest);
    assert_eq!(world.ok(["verify", &archive]).trim(), digest);
    assert_eq!(ok(elsewhere(&world, &["verify", "back"])), digest);
    let b = format!("docker://{}", registry.name("b/busybox:1"));
    let before = registry.asked().len();
    let copied = world.run(["copy", &a, &b]);
    assert!(copied.stderr.contains("1 mounted"), "{}", copied.stderr);
    assert_eq!(ok(copied), digest);
    let since = registry.since(before);
    assert_eq!(since.iter().filter(|asked| asked.starts_with("PATCH")).count(), 1, "the config: {since:?}");
    let c = format!("docker://{}", registry.name("c/busybox:1"));
    assert_eq!(ok(world.run(["copy", "-q", &layout, &c])), digest);
    // Nothing differs between the two, and one that is not there says so.
    assert_eq!(world.run(["diff", "busybox", &c]).code, 0);
    let missing = world.run(["copy", &format!("docker://{}", registry.name("d:1")), &layout]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("is not in `127.0.0.1:"), "{}", missing.stderr);
}

#[test]
fn mirrors_and_blocks_of_the_configuration_hold() {
    let Some((world, registry)) = start() else { return };
    let digest = ok(world.run(["push", "-q", "busybox", &registry.name("hub/library/small:1")]));
    let conf = world.write(
        "registries.conf",
        format!(
            "unqualified-search-registries = [\"{host}\"]\n[aliases]\n\"tiny\" = \"docker.io/library/small\"\n[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"{host}/hub\"\n[[registry]]\nprefix = \"*.example\"\nblocked = true\n",
            host = registry.host
        ),
    );
    let run = |args: &[&str]| {
        let mut command = world.command(args);
        command.env("REBIT_STORE", world.path("elsewhere")).env("CONTAINERS_REGISTRIES_CONF", &conf);
        ended(&mut command)
    };
    assert_eq!(ok(run(&["pull", "-q", "docker.io/library/small:1"])), digest);
    assert_eq!(ok(run(&["pull", "-q", "tiny:1"])), digest);
    // A name without a registry is looked for where the configuration says.
    assert_eq!(ok(run(&["pull", "-q", "hub/library/small:1"])), digest);
    let names = ok(run(&["images"]));
    assert!(names.contains(&registry.name("hub/library/small")), "{names}");
    let blocked = run(&["pull", "a.example/x"]);
    assert!(blocked.stderr.contains("is blocked by the configuration"), "{}", blocked.stderr);
    fs::write(&conf, "[registries.search]\nregistries = []\n").unwrap();
    let old = run(&["pull", "small"]);
    assert!(old.stderr.contains("version 1"), "{}", old.stderr);
}
