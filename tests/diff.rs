//! Why two images are not the same: `rebit diff`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{World, has_busybox, is_root};

/// A world with a directory for temporary files that has to be empty in the end.
fn world() -> World {
    let world = World::new();
    fs::create_dir(world.path("temporary")).unwrap();
    world
}

/// Builds `name` from files and a Dockerfile that copies them.
fn image(world: &World, name: &str, dockerfile: &str, files: &[(&str, &[u8])]) {
    let context = format!("context-{name}");
    world.write(&format!("{context}/Dockerfile"), dockerfile);
    for (file, content) in files {
        world.write(&format!("{context}/root/{file}"), content);
    }
    world.ok(["build", "-q", "-t", name, &context]);
}

const COPY: &str = "FROM scratch\nCOPY root /\n";

/// Runs `rebit diff` and returns what it said; it has to end with `code` and leave nothing behind.
fn diff(world: &World, args: &[&str], code: i32) -> String {
    let mut command = world.command(["diff"]);
    let ended = crate::support::ended(command.args(args).env("TMPDIR", world.path("temporary")));
    assert_eq!(ended.code, code, "{args:?}: {}{}", ended.stdout, ended.stderr);
    assert_eq!(fs::read_dir(world.path("temporary")).unwrap().count(), 0);
    if code == 2 { ended.stderr } else { ended.stdout }
}

fn json(world: &World, args: &[&str], code: i32) -> serde_json::Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&diff(world, &args, code)).unwrap()
}

#[test]
fn a_difference_is_named_with_its_cause() {
    if !has_busybox() {
        return;
    }
    let world = world();
    let same = ("etc/same", &b"same\n"[..]);
    image(&world, "a", COPY, &[same, ("log", b"start\nbuilt 2026-11-24T13:15:28Z\n"), ("only-a", b"x")]);
    image(&world, "b", COPY, &[same, ("log", b"start\nbuilt 2026-11-25T03:05:08Z\n"), ("d/e", b"12345")]);
    let said = diff(&world, &["store:a", "b"], 1);
    for expected in [
        "files begin to differ in layer 1: COPY root /",
        "files: 1 changed, 1 only in b, 1 only in a",
        "only in the first: 1 place\n  /only-a (file, 1 B)",
        "only in the second: 1 place\n  /d (directory, 5 B, 1 entry)",
        "text (looks like: time stamp): 1 place\n  /log (33 B)",
        "-built 2026-11-24T13:15:28Z",
        "+built 2026-11-25T03:05:08Z",
        "layer 1: another tar",
    ] {
        assert!(said.contains(expected), "no `{expected}` in\n{said}");
    }
    assert!(!said.contains("/etc"), "{said}");

    let report = json(&world, &["a", "b"], 1);
    assert_eq!(report["version"], 1);
    assert_eq!(report["same"], false);
    let log = &report["files"][1];
    assert_eq!((&log["path"], &log["state"]), (&"/log".into(), &"changed".into()), "{report}");
    assert_eq!(log["findings"][0]["causes"], serde_json::json!(["time"]), "{report}");
    world.fsck();
}

#[test]
fn it_ends_with_0_1_or_2() {
    if !has_busybox() {
        return;
    }
    let world = world();
    image(&world, "a", COPY, &[("f", b"1\n")]);
    image(&world, "b", COPY, &[("f", b"2\n")]);
    assert!(diff(&world, &["a", "a"], 0).contains("no difference"));
    diff(&world, &["a", "b"], 1);
    assert!(diff(&world, &["a", "none"], 2).contains("there is no image"));
    assert!(diff(&world, &["a", "oci-archive:none.tar"], 2).contains("cannot read `oci-archive:none.tar`"));
    assert!(diff(&world, &["a", "dir:none"], 2).contains("error:"));
    assert!(diff(&world, &["a", "oci:"], 2).contains("error:"));
    diff(&world, &["a", "a", "--platform", "?"], 2);
    diff(&world, &["a", "b", "--html", "none/page.html"], 2);
    world.write("damaged.tar", "no archive");
    diff(&world, &["a", "docker-archive:damaged.tar"], 2);
    diff(&world, &["a"], 2);
}

#[test]
fn places_outside_of_the_store_are_compared_the_same_way() {
    if !has_busybox() {
        return;
    }
    let world = world();
    image(&world, "a", COPY, &[("f", b"1\n"), ("g", b"same\n")]);
    image(&world, "b", COPY, &[("f", b"2\n"), ("g", b"same\n")]);
    let expected = json(&world, &["a", "b"], 1);
    let images = world.ok(["images"]);
    for place in ["oci:layout:v1", "oci-archive:oci.tar", "docker-archive:docker.tar"] {
        world.ok(["export", "store:b", place]);
        assert_eq!(json(&world, &["b", place], 0)["same"], true, "{place}");
        let mut found = json(&world, &["a", place], 1);
        assert_eq!(found["b"]["place"], place);
        found["b"]["place"] = "b".into();
        // The root's time is in no layer, but in the tree.
        found["b"]["tree"] = expected["b"]["tree"].clone();
        assert_eq!(found, expected, "{place}");
    }
    // Both outside, and no store at all.
    let outside = ["--store", "none", "oci:layout:v1", "oci-archive:oci.tar"];
    assert_eq!(json(&world, &outside, 0)["same"], true);
    assert!(!world.path("none").exists());
    assert_eq!(world.ok(["images"]), images);
    world.fsck();
}

#[test]
fn what_does_not_matter_is_left_aside_and_counted() {
    if !has_busybox() {
        return;
    }
    let world = world();
    image(&world, "a", COPY, &[("f", b"1\n"), ("g", b"2\n")]);
    world.ok(["build", "-q", "-t", "zstd", "--compression", "zstd", "context-a"]);
    let said = diff(&world, &["a", "zstd"], 1);
    assert!(said.contains("layer 1: same tar, other compression") && said.contains("0 changed"), "{said}");
    let said = diff(&world, &["a", "zstd", "--semantic"], 0);
    assert!(said.contains("no difference that counts"), "{said}");
    assert!(said.contains("ignored:\n  compression: 1"), "{said}");

    // The same files in two layers, and another time.
    let split = "FROM scratch\nCOPY root/f /\nCOPY root/g /\n";
    let build = |name: &str, g: &[u8]| {
        let context = format!("context-{name}");
        world.write(&format!("{context}/Dockerfile"), split);
        world.write(&format!("{context}/root/f"), b"1\n");
        world.write(&format!("{context}/root/g"), g);
        let mut command = world.command(["build", "-q", "-t", name, &context]);
        let ended = crate::support::ended(command.env("SOURCE_DATE_EPOCH", "1700000000"));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };
    build("split", b"2\n");
    let strict = json(&world, &["a", "split"], 1);
    assert!(strict["files"].as_array().unwrap().iter().any(|file| file["path"] == "/f"), "{strict}");
    let semantic = json(&world, &["a", "split", "--semantic"], 0);
    for what in ["file-time", "config-time", "layer-split", "history"] {
        assert!(semantic["ignored"][what].as_u64().unwrap() > 0, "{what}: {semantic}");
    }
    // A content that differs counts.
    build("other", b"3\n");
    let semantic = json(&world, &["a", "other", "--semantic"], 1);
    assert_eq!(semantic["files"].as_array().unwrap().len(), 1, "{semantic}");
    assert_eq!(semantic["documents"], serde_json::json!([]));
}

#[test]
fn configs_are_compared_by_field() {
    if !has_busybox() {
        return;
    }
    let world = world();
    let with = |end: &str| format!("{COPY}{end}\n");
    image(&world, "a", &with("ENV A=1 B=2\nLABEL x=y\nCMD [\"one\"]"), &[("f", b"1\n")]);
    image(&world, "b", &with("ENV A=1 B=3\nLABEL x=z\nCMD [\"two\"]"), &[("f", b"1\n")]);
    let said = diff(&world, &["a", "b"], 1);
    for expected in [
        "config.config.Env.B: 2 → 3",
        "config.config.Labels.x: y → z",
        "config.config.Cmd: [\"one\"] → [\"two\"]",
    ] {
        assert!(said.contains(expected), "no `{expected}` in\n{said}");
    }
    assert!(!said.contains("Env.A"), "{said}");
}

#[test]
fn a_directory_is_compared_with_an_image() {
    // Owners are those on disk, and those of a build are root's.
    if !is_root() || !has_busybox() {
        return;
    }
    let world = world();
    image(&world, "a", COPY, &[("f", b"1\n"), ("d/g", b"2\n")]);
    let root = world.path("context-a/root");
    for (path, mode) in [("", 0o755), ("f", 0o644), ("d", 0o755), ("d/g", 0o644)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    // The build took the modes as the umask left them.
    world.ok(["build", "-q", "-t", "a", "context-a"]);
    let place = "dir:context-a/root";
    let same = json(&world, &["a", place], 0);
    assert_eq!(same["files"], serde_json::json!([]));
    fs::set_permissions(root.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(root.join("d/g")).unwrap();
    let said = diff(&world, &["a", place], 1);
    assert!(said.contains("/f: 0644 → 0600") && said.contains("/d/g (file, 2 B)"), "{said}");
    assert!(diff(&world, &[place, place], 0).contains("no difference"));
}

#[test]
fn a_page_holds_nothing_that_runs() {
    if !has_busybox() {
        return;
    }
    let world = world();
    let evil = ("<script>alert(1)<", &b"<img src=x onerror=alert(2)>\n"[..]);
    image(&world, "a", COPY, &[("f", b"1\n"), evil]);
    image(&world, "b", COPY, &[("f", b"<img src=x>\n")]);
    diff(&world, &["a", "b", "--html", "page.html"], 1);
    let page = fs::read_to_string(world.path("page.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;") && page.contains("+&lt;img src=x&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("://"), "{page}");
    assert!(page.ends_with("</html>\n"));
}

#[test]
fn archives_inside_of_an_image_are_looked_into() {
    if !has_busybox() {
        return;
    }
    let world = world();
    let gzip = |time: u32| {
        // An empty file, stored (RFC 1951, 3.2.4).
        [&[0x1f, 0x8b, 8, 0][..], &time.to_le_bytes(), &[0, 3, 1, 0, 0, 0xff, 0xff], &[0; 8]].concat()
    };
    image(&world, "a", COPY, &[("doc.gz", &gzip(1_700_000_000))]);
    image(&world, "b", COPY, &[("doc.gz", &gzip(1_700_000_001))]);
    let said = diff(&world, &["a", "b"], 1);
    assert!(said.contains("gzip time (looks like: time stamp): 1 place"), "{said}");
    assert!(said.contains("/doc.gz: 2023-11-14T22:13:20Z → 2023-11-14T22:13:21Z"), "{said}");
    let ignored = json(&world, &["a", "b", "--semantic"], 0);
    assert_eq!(ignored["ignored"]["archive-time"], 1, "{ignored}");
}
