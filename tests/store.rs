//! `rebit gc`, `du` and `fsck`: what is kept, what is said of it, and how damage is mended.

use std::fs;
use std::path::PathBuf;

use crate::support::World;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn build(world: &World, round: u32, extra: &[&str]) -> crate::support::Ended {
    world.write("context/data", vec![b'a' + u8::try_from(round).unwrap(); 200_000]);
    world.write("context/Dockerfile", "FROM busybox\nCOPY data /data\n");
    let ended = world.run([&["build", "-q", "context"], extra].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended
}

fn names(world: &World) -> Vec<String> {
    let images = json(&world.ok(["images", "--json"]));
    images.as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn gc_keeps_the_last_images_without_a_name_and_says_what_it_would_do() {
    let world = World::new().with_busybox();
    for round in 0..3 {
        build(&world, round, &[]);
    }
    assert_eq!(names(&world).len(), 4);
    let would = json(&world.ok(["gc", "--keep-newer", "0", "--keep-last", "1", "--dry-run", "--json"]));
    assert_eq!(would["unnamed_images"], 2, "{would}");
    assert!(would["object_bytes"].as_u64().unwrap() > 0);
    assert_eq!(names(&world).len(), 4, "a dry run removed something");
    let did = json(&world.ok(["gc", "--keep", "0", "--keep-last", "1", "--json"]));
    assert_eq!((&did["unnamed_images"], names(&world).len()), (&would["unnamed_images"], 2), "{did}");
    assert_eq!(did["objects"], would["objects"]);
    let fits = json(&world.ok(["gc", "--max-size", "1", "--json"]));
    assert_eq!(
        (&fits["fits"], names(&world)),
        (&false.into(), vec!["docker.io/library/busybox:latest".to_owned()])
    );
    world.fsck();
}

/// S-8.
#[test]
fn the_settings_of_the_store_collect_at_the_end_of_a_build() {
    let world = World::new().with_busybox();
    build(&world, 0, &["-t", "kept"]);
    build(&world, 1, &[]);
    world.write("store/config.toml", "[gc]\nmax-size = \"1\"\n");
    let said = build(&world, 2, &["-t", "last"]).stderr;
    assert_eq!(said, "", "a quiet build says nothing");
    assert_eq!(names(&world).len(), 3, "images without a name stayed, or named ones did not");
    world.write("store/config.toml", "[gc]\nmax-sice = \"1\"\n");
    let said = build(&world, 3, &[]).stderr;
    assert!(said.contains("warning") && said.contains("there is no setting `max-sice`"), "{said}");
    world.fsck();
}

#[test]
fn du_says_what_sharing_saved() {
    let world = World::new().with_busybox();
    build(&world, 0, &["-t", "built"]);
    let usage = json(&world.ok(["du", "--json"]));
    let images = usage["images"].as_array().unwrap();
    let image = |name: &str| {
        images
            .iter()
            .find(|image| image["name"].as_str().unwrap().contains(name))
            .unwrap_or_else(|| panic!("{name}"))
    };
    let bytes = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{value}"));
    let (built, base) = (image("built"), image("busybox"));
    assert!(bytes(&built["shared_bytes"]) > 100_000, "the base is shared: {usage:#}");
    assert!(bytes(&built["content_bytes"]) > bytes(&base["content_bytes"]));
    assert!(bytes(&built["unpacked_bytes"]) >= bytes(&base["unpacked_bytes"]) + 200_000);
    for image in [built, base] {
        let parts = bytes(&image["exclusive_bytes"]) + bytes(&image["shared_bytes"]);
        assert_eq!(bytes(&image["stored_bytes"]), parts);
    }
    assert!(bytes(&usage["saved_by_sharing"]) >= bytes(&base["shared_bytes"]));
    let said = world.ok(["du"]);
    assert!(said.contains("ITS OWN") && said.contains("if they shared nothing"), "{said}");
}

/// The largest pack.
fn pack(world: &World) -> PathBuf {
    let packs = fs::read_dir(world.path("store/packs")).unwrap().map(|entry| entry.unwrap().path());
    packs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// S-82.
#[test]
fn after_a_repair_the_same_import_makes_an_image_whole() {
    let world = World::new().with_busybox();
    build(&world, 0, &["-t", "built"]);
    let before = world.ok(["images", "--json"]);
    world.ok(["export", "built", "oci-archive:built.tar"]);
    let pack = pack(&world);
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&pack, bytes).unwrap();
    let found = world.run(["fsck"]);
    assert_eq!(found.code, 3);
    assert!(found.stderr.contains("damaged: ") && found.stderr.contains("busybox"), "{}", found.stderr);
    assert_eq!(world.run(["fsck", "--repair"]).code, 3);
    assert_ne!(world.run(["verify", "busybox"]).code, 0, "the damage was not where it mattered");
    // The same sources again.
    world.ok(["import", "--rootfs", "busybox.tar", "store:busybox"]);
    world.ok(["import", "oci-archive:built.tar", "store:built"]);
    for image in ["busybox", "built"] {
        world.ok(["verify", image]);
    }
    assert_eq!(world.ok(["images", "--json"]), before);
    world.ok(["gc"]);
    world.fsck();
}

#[test]
fn a_damaged_index_is_made_anew_by_a_repair() {
    let world = World::new().with_busybox();
    let before = world.ok(["images", "--json"]);
    for name in ["index.sqlite-wal", "index.sqlite-shm"] {
        fs::remove_file(world.path("store").join(name)).unwrap();
    }
    world.write("store/index.sqlite", vec![7; 50_000]);
    let found = world.run(["fsck"]);
    assert!(found.code == 1 && found.stderr.contains("--repair"), "{}", found.stderr);
    let repaired = world.run(["fsck", "--repair"]);
    assert_eq!(repaired.code, 0, "{}", repaired.stderr);
    assert_eq!(world.ok(["images", "--json"]), before);
    // And one that is gone, without anyone asking.
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _gone = fs::remove_file(world.path("store").join(name));
    }
    assert_eq!(world.ok(["images", "--json"]), before);
    world.fsck();
}

#[test]
fn a_store_of_a_newer_program_is_refused_by_name() {
    let world = World::new().with_busybox();
    let text = fs::read_to_string(world.path("store/store.toml")).unwrap();
    let check = |from: &str, to: &str, args: &[&str], expected: &str| {
        assert!(text.contains(from), "{text}");
        world.write("store/store.toml", text.replace(from, to));
        let refused = world.run(args);
        assert!(refused.code != 0 && refused.stderr.contains(expected), "{args:?}: {}", refused.stderr);
    };
    check("version = 1", "version = 2", &["images"], "version 2");
    check("\nincompatible = []", "\nincompatible = [\"sideways\"]", &["images"], "`sideways`");
    check("read-only-compatible = []", "read-only-compatible = [\"sums\"]", &["gc"], "`sums`");
    world.ok(["images"]);
    world.write("store/store.toml", text.clone());
    world.fsck();
}

/// S-6.
#[test]
fn a_quota_counts_everything_and_is_asked_first() {
    let world = World::new().with_busybox();
    let total = |world: &World| json(&world.ok(["du", "--json"]))["total"].as_u64().unwrap();
    let limit = (total(&world) + 100_000).to_string();
    // Bytes that do not compress.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    world.write("context/data", (0..3_000_000).map(|_| noise()).collect::<Vec<u8>>());
    world.write("context/Dockerfile", "FROM busybox\nCOPY data /data\n");
    let full = world.run(["--store-limit", &limit, "build", "-q", "context"]);
    assert!(full.code == 1 && full.stderr.contains("--store-limit"), "{}", full.stderr);
    assert!(total(&world) <= limit.parse::<u64>().unwrap());
    world.ok(["--store-limit", "500M", "build", "-q", "context"]);
    world.fsck();
}

/// A store that version 1 of the format wrote, as it was then: it stays readable. S-3.
#[test]
fn a_store_of_format_1_stays_readable() {
    let world = World::new();
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/store-1.tar.gz");
    let mut command = std::process::Command::new("tar");
    let unpacked = crate::support::ended(command.arg("-xzf").arg(golden).arg("-C").arg(world.dir.path()));
    assert_eq!(unpacked.code, 0, "{}", unpacked.stderr);
    let built = "sha256:4cd99ae9903e99936b8f0e6d78fb5a699914dfda00e88bb5e9935ef3ba12babc";
    let unnamed = "sha256:7a0ec732460468ad4347ea10daba04953419118326e2777b1e3990948285cfa0";
    let base = "sha256:e9f65ce9d42356ba326d4172d9c8139bd193e5f56210bfec4c8c9fb7b533fffd";
    let check = || {
        world.fsck();
        let images = json(&world.ok(["images", "--json"]));
        let digest = |image: &serde_json::Value| image["digest"].as_str().unwrap().to_owned();
        let digests: Vec<String> = images.as_array().unwrap().iter().map(digest).collect();
        assert_eq!(digests, [unnamed, base, built]);
        for image in ["base", "built", unnamed] {
            world.ok(["verify", image]);
        }
    };
    check();
    let usage = json(&world.ok(["du", "--json"]));
    assert!(usage["records"].as_u64().unwrap() > 0, "{usage}");
    world.ok(["export", "built", "oci-archive:out.tar"]);
    world.ok(["gc"]);
    check();
    // The packs and the journal alone say the same.
    fs::remove_file(world.path("store/index.sqlite")).unwrap();
    check();
}
