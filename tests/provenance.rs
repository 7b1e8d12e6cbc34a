//! What is written down of how an image was made.

use std::fs;

use serde_json::{Value, json};

use crate::support::{World, can_build};

const DOCKERFILE: &str = "FROM busybox AS build
ARG VERSION=1
ARG UNUSED
COPY src/a /src/
WORKDIR /made
RUN --mount=type=secret,id=token --mount=type=bind,source=src,target=/mnt rm /etc/group; cat /src/a > out; echo $VERSION >> out
FROM scratch AS never
COPY src/b /b
FROM scratch
COPY --from=build /made/out /out
COPY <<EOF /note
hello
EOF
ENV A=b
";

fn world() -> World {
    let world = World::new().with_busybox();
    for context in ["one", "a longer path/two"] {
        world.write(&format!("{context}/Dockerfile"), DOCKERFILE);
        world.write(&format!("{context}/src/a"), "a\n");
        world.write(&format!("{context}/src/b"), "b\n");
    }
    world.write("a longer path/two/not selected", "by any step");
    world.write("token", "do not tell");
    world
}

fn build(world: &World, context: &str, more: &[&str]) {
    let proxy = "http_proxy=http://p:1";
    let args = ["build", "-q", "-t", "app", "--build-arg", "VERSION=7", "--build-arg", proxy];
    world.ok(args.iter().chain(&["--secret", "id=token,src=token"]).chain(more).chain(&[context]));
}

fn raw(world: &World) -> String {
    world.ok(["history", "--provenance", "--raw", "app"])
}

/// P-3, P-5, P-13: one text in two stores, cached or not, whatever lies beside what is selected.
#[test]
fn the_same_inputs_give_the_same_document() {
    if !can_build() {
        return;
    }
    let (first, second) = (world(), world());
    build(&first, "one", &[]);
    let text = raw(&first);
    build(&first, "one", &[]);
    assert_eq!(raw(&first), text, "known");
    build(&first, "one", &["--no-cache"]);
    assert_eq!(raw(&first), text, "executed again");
    build(&second, "a longer path/two", &["--jobs=1"]);
    assert_eq!(raw(&second), text, "elsewhere");
    for word in ["do not tell", "p:1", "rebit-e2e", "/tmp", "startedOn", "not selected"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    second.write("a longer path/two/src/a", "other\n");
    build(&second, "a longer path/two", &[]);
    assert_ne!(raw(&second), text);
}

/// P-6 to P-12.
#[test]
fn the_document_says_what_was_asked_read_run_and_written() {
    if !can_build() {
        return;
    }
    let world = world();
    build(&world, "one", &["--label", "l=m"]);
    let document: Value =
        serde_json::from_str(&world.ok(["history", "--provenance", "--json", "app"])).unwrap();
    let definition = &document["predicate"]["buildDefinition"];
    // P-6.
    let asked = json!({
        "buildArgs": {"VERSION": "7"},
        "compression": "gzip",
        "labels": {"l": "m"},
        "modes": "shared",
        "platform": "linux/amd64",
    });
    assert_eq!(definition["externalParameters"], asked);
    let digests = world.ok(["images", "--quiet", "--no-trunc"]);
    assert!(digests.contains(document["subject"][0]["digest"]["sha256"].as_str().unwrap()), "{digests}");
    // P-7, P-8, P-9.
    let work = &definition["internalParameters"];
    assert_eq!(work["epoch"], 315_532_800);
    assert_eq!(names(&work["stages"]), ["build", "stage-2"]);
    let run = &work["stages"][0]["steps"][4];
    assert_eq!((&run["kind"], &run["network"]), (&json!("run"), &json!(true)));
    assert_eq!(run["wrote"], json!({"bytes": 4, "entries": 1, "removed": 1}));
    // P-10, P-11.
    assert_eq!(run["run"]["workingDir"], "/made");
    let secret = json!({"id": "token", "kind": "secret", "target": "/run/secrets/token"});
    assert_eq!(run["run"]["mounts"][0], secret);
    assert_eq!(names(&run["reads"]), ["context"]);
    let copies = &work["stages"][1]["steps"];
    assert_eq!(names(&copies[0]["reads"]), ["stage build"]);
    assert_eq!(copies[0]["reads"][0]["digest"]["rebitTree"], run["tree"]);
    assert_eq!(names(&copies[1]["reads"]), ["Dockerfile"]);
    let dependencies = ["Dockerfile", "context", "image docker.io/library/busybox:latest"];
    assert_eq!(names(&definition["resolvedDependencies"]), dependencies);
    let text = world.ok(["history", "--provenance", "app"]);
    for line in
        ["build argument VERSION=7", "wrote 1 entry, 4 B, removed 1 path: tree", "with secret token at /run"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// P-13, P-14, I-44: it stays with the image, and goes nowhere by itself.
#[test]
fn the_document_stays_with_the_image() {
    if !can_build() {
        return;
    }
    let world = world();
    build(&world, "one", &["--metadata-file", "metadata.json"]);
    let text = raw(&world);
    let metadata: Value = serde_json::from_slice(&fs::read(world.path("metadata.json")).unwrap()).unwrap();
    assert_eq!(metadata["rebit.provenance.digest"], rebit_oci::Digest::of(text.as_bytes()).to_string());
    world.ok(["export", "app", "oci-archive:app.tar"]);
    world.ok(["gc", "--keep-newer=0s", "--recipes"]);
    world.ok(["gc", "--keep-newer=0s"]);
    assert_eq!(raw(&world), text);
    world.ok(["tag", "app", "other"]);
    world.ok(["import", "oci-archive:app.tar", "store:app"]);
    assert_eq!(raw(&world), text);
    assert_eq!(world.ok(["history", "--provenance", "--raw", "other"]), text);
    world.fsck();
    world.ok(["import", "oci-archive:app.tar", "store:again"]);
    let ended = world.run(["history", "--provenance", "again"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(ended.stderr.contains("nothing is known of how `again` was made"), "{}", ended.stderr);
}
