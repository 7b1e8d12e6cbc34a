//! `rebit verify --rebuild`: what an image and its sources have in common.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rebit_oci::Digest;
use serde_json::{Value, json};

use crate::support::{Ended, World, can_build, ended, has};

const DOCKERFILE: &str = "FROM busybox AS build
ARG WORD=none
COPY a b /src/
RUN cat /src/a /src/b > /made; echo $WORD >> /made
FROM scratch
COPY a /dir/a
COPY --from=build /made /made
ENV X=1
";

fn world() -> World {
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", DOCKERFILE);
    // More than a block of pigz.
    world.write("context/a", (0..60_000).map(|number| format!("{number}\n")).collect::<String>());
    world.write("context/b", "b\n");
    world.ok(["build", "-q", "-t", "app", "--build-arg", "WORD=yes", "context"]);
    world.ok(["export", "app", "oci:layout:app"]);
    world
}

fn rebuild(world: &World, image: &str, more: &[&str]) -> (Ended, Value) {
    let args = ["verify", "--rebuild", "--json", "--network=none", image, "context"];
    let ended = world.run(args.iter().chain(more));
    let report = serde_json::from_str(&ended.stdout).unwrap_or_default();
    (ended, report)
}

/// Checks verdict, exit code and the verdicts of the layers.
fn check(world: &World, image: &str, more: &[&str], code: i32, expected: &str, layers: &[&str]) -> Value {
    let (ended, report) = rebuild(world, image, more);
    assert_eq!(report["verdict"], expected, "{}{}", ended.stdout, ended.stderr);
    assert_eq!((ended.code, &report["holds"]), (code, &json!(code == 0)), "{}", ended.stderr);
    let found: Vec<&str> =
        report["layers"].as_array().unwrap().iter().map(|layer| layer["verdict"].as_str().unwrap()).collect();
    assert_eq!(found, layers, "{}", ended.stdout);
    report
}

const ARGUMENT: [&str; 2] = ["--build-arg", "WORD=yes"];

#[test]
fn an_image_is_what_its_sources_give() {
    if !can_build() {
        return;
    }
    let world = world();
    let report = check(&world, "app", &[], 0, "identical", &["identical", "identical"]);
    let taken: Vec<&str> =
        report["taken"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(taken.contains(&"its provenance: build argument WORD=yes"), "{taken:?}");
    // Elsewhere nothing is known of how it was made, and the store may be another one.
    check(&world, "oci:layout:app", &ARGUMENT, 0, "identical", &["identical", "identical"]);
    world.ok(["export", "app", "docker-archive:app.tar:app:1"]);
    check(&world, "docker-archive:app.tar", &ARGUMENT, 0, "identical", &["identical", "identical"]);
    // What the image was made with is found out: epoch, annotations, compression, target.
    let options = [
        "--annotation",
        "n=v",
        "--compression=zstd",
        "--target=build",
        "--fix=pyc",
        "--build-arg",
        "SOURCE_DATE_EPOCH=86400",
    ];
    world.ok(["build", "-q", "-t", "other", "-o", "type=oci,tar=false,dest=other"]
        .iter()
        .chain(&options)
        .chain(&["context"]));
    let report = check(&world, "other", &[], 0, "identical", &["identical"; 3]);
    assert!(report["taken"].to_string().contains("fixers pyc "), "{}", report["taken"]);
    check(&world, "oci:other", &["--target=build"], 0, "identical", &["identical"; 3]);
    let text = world.ok(["verify", "--rebuild", "-q", "app", "context"]);
    assert!(text.ends_with("verdict: identical blob\n"), "{text}");
    world.fsck();
}

/// A step is executed although it is known, and what it then gives is not what later builds use.
#[test]
fn a_rebuild_relies_on_nothing_and_leaves_nothing() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write(
        "context/Dockerfile",
        "FROM busybox\nRUN --network=none cat /proc/sys/kernel/random/uuid > /id\n",
    );
    world.ok(["build", "-q", "-t", "app", "context"]);
    let report = check(&world, "app", &[], 3, "different", &["identical", "different"]);
    let step = &report["files"][0]["steps"][0];
    assert_eq!(step["instruction"], "RUN --network=none cat /proc/sys/kernel/random/uuid > /id");
    assert_eq!(report["moved"][0]["what"], "result");
    let before = world.ok(["images", "--quiet", "--no-trunc"]);
    world.ok(["build", "-q", "-t", "app", "context"]);
    assert_eq!(world.ok(["images", "--quiet", "--no-trunc"]), before);
}

#[test]
fn a_changed_file_is_named_with_the_step_that_made_it() {
    if !can_build() {
        return;
    }
    let world = world();
    world.write("context/b", "c\n");
    let report = check(&world, "app", &[], 3, "different", &["identical", "different"]);
    assert_eq!(report["files"].as_array().unwrap().len(), 1);
    assert_eq!(report["files"][0]["path"], "/made");
    let steps = json!([
        {"stage": "stage-1", "instruction": "COPY --from=build /made /made"},
        {"stage": "build", "instruction": "RUN cat /src/a /src/b > /made; echo $WORD >> /made"},
    ]);
    assert_eq!(report["files"][0]["steps"], steps);
    let read = json!({"stage": "build", "instruction": "COPY a b /src/"});
    assert_eq!(report["moved"], json!([{"what": "read", "from": "context", "step": read}]));
    // Without a provenance the file is traced all the same.
    let (_, report) = rebuild(&world, "oci:layout:app", &ARGUMENT);
    assert_eq!(report["files"][0]["steps"], steps);
    let ended = world.run(["verify", "--rebuild", "-q", "app", "context"]);
    assert_eq!(ended.code, 3);
    for line in [
        "  /made: not the same",
        "    made by [build] RUN cat",
        "      -b",
        "      +c",
        "verdict: different content",
    ] {
        assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
    }
    // A file that only the given image has is one of its layers'.
    world.write("context/b", "b\n");
    world.write("context/Dockerfile", DOCKERFILE.replace("COPY a /dir/a", "COPY a /a"));
    let report = check(&world, "app", &[], 3, "different", &["different", "identical"]);
    let only: Vec<_> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap(), file["steps"][0]["instruction"].as_str().unwrap()))
        .collect();
    assert_eq!(only, [("/a", "COPY a /a"), ("/dir", "COPY a /dir/a")]);
    assert_eq!(report["moved"][0]["name"], "Dockerfile");
    assert_eq!(report["moved"][1]["given"], "COPY a /dir/a");
}

#[test]
fn another_encoder_is_recognised() {
    if !can_build() {
        return;
    }
    let world = world();
    let tar = ["identical-tar", "identical-tar"];
    for (program, args, name) in [
        ("gzip", vec!["-9"], "GNU gzip level 9"),
        ("gzip", vec!["-1n"], "GNU gzip level 1"),
        ("pigz", vec!["-6", "-p", "2"], "pigz level 6"),
    ] {
        if !has(program) {
            continue;
        }
        let pack = |plain: &[u8]| piped(Command::new(program).args(&args), plain);
        let place = repacked(&world, name, &|_, plain| (pack(&plain), plain));
        let more = ["--accept", "tar"];
        let more: Vec<&str> = ARGUMENT.iter().chain(&more).copied().collect();
        check(&world, &place, &ARGUMENT, 3, "identical-tar", &tar);
        let report = check(&world, &place, &more, 0, "identical-tar", &tar);
        assert_eq!(report["layers"][0]["encoder"], name);
    }
    if has("skopeo") {
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "-q", "--dest-compress-format", "zstd"]).current_dir(world.dir.path());
        let made = ended(copy.args(["oci:layout:app", "oci:zstd:app"]));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let more = ["--accept=tar", "--compression=gzip"];
        let more: Vec<&str> = ARGUMENT.iter().chain(&more).copied().collect();
        check(&world, "oci:zstd:app", &more, 0, "identical-tar", &tar);
    }
}

#[test]
fn the_same_files_with_other_metadata_are_told_from_other_files() {
    if !can_build() {
        return;
    }
    let world = world();
    // The times of the first layer, in the headers of the tar.
    let place = repacked(&world, "times", &|number, plain| {
        let plain = if number == 0 { with_times(&plain) } else { plain };
        (piped(Command::new("gzip").arg("-n"), &plain), plain)
    });
    let report = check(&world, &place, &ARGUMENT, 3, "identical-tree", &["identical-tree", "identical-tar"]);
    assert_eq!(report["layers"][0]["metadata"], json!(["the times of 2 entries"]));
    let accepted: Vec<&str> = ARGUMENT.iter().chain(&["--accept=tree"]).copied().collect();
    check(&world, &place, &accepted, 0, "identical-tree", &["identical-tree", "identical-tar"]);
    if has("buildah") {
        world.write("context/Dockerfile", "FROM scratch\nCOPY a b /dir/\nENV X=1\n");
        let buildah = |args: &[&str]| {
            let mut command = Command::new("buildah");
            let store = ["--root", "buildah/root", "--runroot", "buildah/run", "--storage-driver", "vfs"];
            let made = ended(command.args(store).args(args).current_dir(world.dir.path()));
            assert_eq!(made.code, 0, "{}", made.stderr);
        };
        buildah(&["build", "--isolation=chroot", "-q", "-t", "app", "context"]);
        buildah(&["push", "-q", "app", "oci:buildah/layout:app"]);
        let report = check(&world, "oci:buildah/layout:app", &[], 3, "identical-tree", &["identical-tree"]);
        let fields: Vec<&str> = report["documents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["place"].as_str().unwrap())
            .collect();
        assert!(
            fields.contains(&"config.created") && fields.contains(&"config.history[0].created_by"),
            "{fields:?}"
        );
    }
}

#[test]
fn what_cannot_be_done_is_no_verdict() {
    if !can_build() {
        return;
    }
    let world = world();
    for (args, code, text) in [
        (vec!["verify", "--rebuild", "app"], 2, "CONTEXT"),
        (vec!["verify", "app", "context"], 2, "a context is for --rebuild"),
        (vec!["verify", "--accept=tar", "app"], 2, "--rebuild"),
        (vec!["verify", "--rebuild", "none", "context"], 1, "there is no image `none`"),
        (vec!["verify", "--rebuild", "oci:nowhere", "context"], 1, "cannot read `oci:nowhere`"),
        (vec!["verify", "--rebuild", "app", "nowhere"], 1, "nowhere"),
        (vec!["verify", "--rebuild", "--build-arg", "WORD=no", "app", "context"], 3, "different content"),
    ] {
        let ended = world.run(&args);
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(text), "{args:?}: {}", ended.stderr);
    }
}

/// What a program makes of its standard input.
fn piped(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// The times of a tar's entries, one hour later.
fn with_times(plain: &[u8]) -> Vec<u8> {
    let mut changed = plain.to_vec();
    let mut at = 0;
    while changed.get(at).is_some_and(|byte| *byte != 0) {
        let octal = |field: &[u8]| {
            u64::from_str_radix(std::str::from_utf8(field).unwrap().trim_matches(['\0', ' ']), 8).unwrap()
        };
        let (size, time) = (octal(&changed[at + 124..at + 136]), octal(&changed[at + 136..at + 148]));
        changed[at + 136..at + 148].copy_from_slice(format!("{:011o}\0", time + 3_600).as_bytes());
        changed[at + 148..at + 156].copy_from_slice(b"        ");
        let sum: u64 = changed[at..at + 512].iter().map(|byte| u64::from(*byte)).sum();
        changed[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        at += 512 + size.next_multiple_of(512) as usize;
    }
    changed
}

type Repack<'a> = &'a dyn Fn(usize, Vec<u8>) -> (Vec<u8>, Vec<u8>);

/// A copy of the layout whose layers are as `repack` makes them of their tar streams: blob and tar stream.
fn repacked(world: &World, name: &str, repack: Repack<'_>) -> String {
    let layout = world.path("layout");
    let target = world.path(name);
    fs::create_dir_all(target.join("blobs/sha256")).unwrap();
    fs::copy(layout.join("oci-layout"), target.join("oci-layout")).unwrap();
    let mut index = json(&layout.join("index.json"));
    let mut manifest = json(&blob(&layout, &index["manifests"][0]));
    let mut config = json(&blob(&layout, &manifest["config"]));
    for (number, layer) in manifest["layers"].as_array_mut().unwrap().iter_mut().enumerate() {
        let plain = piped(Command::new("gzip").arg("-dc"), &fs::read(blob(&layout, layer)).unwrap());
        let (packed, plain) = repack(number, plain);
        put(&target, layer, &packed);
        config["rootfs"]["diff_ids"][number] = json!(Digest::of(&plain).to_string());
    }
    put(&target, &mut manifest["config"], &canonical(&config));
    put(&target, &mut index["manifests"][0], &canonical(&manifest));
    // The seal is rebit's own, and this layout is another program's.
    index.as_object_mut().unwrap().remove("annotations");
    fs::write(target.join("index.json"), canonical(&index)).unwrap();
    format!("oci:{name}:app")
}

fn canonical(value: &Value) -> Vec<u8> {
    rebit_oci::json::to_canonical(value).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
}

fn put(layout: &Path, descriptor: &mut Value, content: &[u8]) {
    let digest = Digest::of(content);
    descriptor["digest"] = json!(digest.to_string());
    descriptor["size"] = json!(content.len());
    fs::write(layout.join("blobs/sha256").join(digest.hex()), content).unwrap();
}
