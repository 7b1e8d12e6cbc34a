//! Images as others read them: archives, layouts, peers, damage.

use std::fs;
use std::process::Command;

use crate::support::{World, can_build, ended, has, has_busybox};

fn world() -> World {
    let world = World::new().with_busybox();
    world.write(
        "context/Dockerfile",
        "FROM busybox\nCOPY greeting /\nENTRYPOINT [\"/bin/cat\", \"/greeting\"]\n",
    );
    world.write("context/greeting", "hello\n");
    world.ok(["build", "-q", "-t", "greeting:v1", "context"]);
    world
}

fn digest(world: &World, image: &str) -> String {
    let shown: serde_json::Value = serde_json::from_str(&world.ok(["inspect", image])).unwrap();
    shown["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_keeps_its_digest_wherever_it_goes() {
    if !can_build() {
        return;
    }
    let world = world();
    let expected = digest(&world, "greeting:v1");
    for place in ["oci:layout:v1", "oci-archive:oci.tar", "docker-archive:docker.tar"] {
        world.ok(["export", "store:greeting:v1", place]);
        let verified = world.ok(["verify", place, "--digest", &expected]);
        assert_eq!(verified.trim(), expected, "{place}");
        let other = format!("other-{}", place.split(':').next().unwrap());
        world.ok(["--store", &other, "import", place, "store:greeting"]);
        let images: serde_json::Value =
            serde_json::from_str(&world.ok(["--store", &other, "images", "--json"])).unwrap();
        assert_eq!(images[0]["digest"].as_str(), Some(expected.as_str()), "{place}");
        assert_eq!(world.ok(["--store", &other, "run", "greeting"]), "hello\n", "{place}");
        world.ok(["--store", &other, "fsck"]);
    }
    // The same image gives the same archive.
    let first = fs::read(world.path("oci.tar")).unwrap();
    world.ok(["export", "store:greeting:v1", "oci-archive:oci2.tar"]);
    assert_eq!(first, fs::read(world.path("oci2.tar")).unwrap());
}

#[test]
fn a_flipped_byte_anywhere_in_an_archive_is_found() {
    if !has_busybox() {
        return;
    }
    let world = World::new();
    world.write("context/Dockerfile", "FROM scratch\nCOPY f /\nLABEL a=b\n");
    world.write("context/f", "some content\n");
    world.ok(["build", "-q", "-t", "small", "-o", "type=oci,dest=small.tar", "context"]);
    world.ok(["verify", "oci-archive:small.tar"]);
    let bytes = fs::read(world.path("small.tar")).unwrap();
    // Every byte is tried by the image crate's own tests; here a sample goes through the whole program.
    for position in (0..bytes.len()).step_by(bytes.len() / 61) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x20;
        world.write("damaged.tar", &damaged);
        let ended = world.run(["verify", "oci-archive:damaged.tar"]);
        assert_eq!(ended.code, 3, "byte {position}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("damaged: "), "byte {position}: {}", ended.stderr);
    }
}

#[test]
fn a_wrong_expected_digest_does_not_verify() {
    if !can_build() {
        return;
    }
    let world = world();
    let other = format!("sha256:{}", "0".repeat(64));
    let ended = world.run(["verify", "store:greeting:v1", "--digest", &other]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(
        ended.stderr.contains(&other) && ended.stderr.contains(&digest(&world, "greeting:v1")),
        "{}",
        ended.stderr
    );
    assert_eq!(world.run(["verify", "store:none"]).code, 1);
    assert_eq!(world.run(["verify", "oci-archive:none.tar"]).code, 1);
}

#[test]
fn names_are_given_and_removed_and_gc_frees() {
    if !can_build() {
        return;
    }
    let world = world();
    world.ok(["tag", "greeting:v1", "again", "registry.test:5000/x/y:z"]);
    let shown = world.ok(["images"]);
    for name in ["greeting ", "again ", "registry.test:5000/x/y "] {
        assert!(shown.contains(name), "{shown}");
    }
    assert_eq!(digest(&world, "again"), digest(&world, "greeting:v1"));
    world.ok(["rm", "greeting:v1", "again", "registry.test:5000/x/y:z"]);
    assert_eq!(world.run(["rm", "again"]).code, 1);
    assert_eq!(world.run(["inspect", "again"]).code, 1);
    let freed: serde_json::Value = serde_json::from_str(&world.ok(["gc", "--keep", "0s", "--json"])).unwrap();
    assert!(freed["objects"].as_u64().unwrap() > 0, "{freed}");
    world.fsck();
    assert_eq!(world.ok(["run", "busybox", "/bin/echo", "kept"]), "kept\n");
}

#[test]
fn history_and_usage_are_shown() {
    if !can_build() {
        return;
    }
    let world = world();
    let history = world.ok(["history", "greeting:v1"]);
    assert!(history.contains("COPY greeting /") && history.contains("ENTRYPOINT"), "{history}");
    assert!(history.contains("1980-01-01T00:00:00Z"), "{history}");
    let usage: serde_json::Value = serde_json::from_str(&world.ok(["du", "--json"])).unwrap();
    assert!(
        usage["packs"].as_u64().unwrap() > 0 && usage["images"].as_array().unwrap().len() == 2,
        "{usage}"
    );
    let info: serde_json::Value = serde_json::from_str(&world.ok(["info", "--json"])).unwrap();
    assert!(info["sandbox"]["kernel"].is_string(), "{info}");
    assert!(world.ok(["completion", "bash"]).contains("rebit"));
    assert!(world.ok(["--help"]).contains("build"));
}

#[test]
fn skopeo_and_umoci_read_what_is_exported() {
    if !can_build() || !has("skopeo") || !has("umoci") {
        return;
    }
    let world = world();
    let expected = digest(&world, "greeting:v1");
    world.ok(["export", "store:greeting:v1", "oci-archive:oci.tar"]);
    world.ok(["export", "store:greeting:v1", "docker-archive:docker.tar"]);
    world.ok(["export", "store:greeting:v1", "oci:layout:v1"]);
    let here = |program: &str, args: &[&str]| {
        let ended = ended(Command::new(program).args(args).current_dir(world.dir.path()));
        assert_eq!(ended.code, 0, "{program} {args:?}: {}", ended.stderr);
        ended.stdout
    };
    for place in ["oci-archive:oci.tar", "oci:layout:v1"] {
        let shown: serde_json::Value = serde_json::from_str(&here("skopeo", &["inspect", place])).unwrap();
        assert_eq!(shown["Digest"].as_str(), Some(expected.as_str()), "{place}");
    }
    here("skopeo", &["inspect", "docker-archive:docker.tar"]);
    here(
        "skopeo",
        &["--insecure-policy", "copy", "-q", "oci-archive:oci.tar", "docker-archive:skopeo.tar:greeting:v1"],
    );
    world.ok(["--store", "other", "import", "docker-archive:skopeo.tar", "store:greeting"]);
    assert_eq!(world.ok(["--store", "other", "run", "greeting"]), "hello\n");
    here("umoci", &["unpack", "--image", "layout:v1", "bundle"]);
    assert_eq!(fs::read_to_string(world.path("bundle/rootfs/greeting")).unwrap(), "hello\n");
}

#[test]
fn layers_that_are_not_used_become_recipes_and_come_back() {
    // X-41, X-44
    if !has("gzip") || !has("python3") {
        return;
    }
    let world = World::new();
    let text: String = (0..200_000).map(|n| format!("{} line {n}\n", n % 313)).collect();
    world.write("context/Dockerfile", "FROM scratch\nCOPY text /\nCOPY note /\n");
    world.write("context/text", &text);
    world.write("context/note", "a\n");
    world.ok(["build", "-q", "-t", "made", "-o", "type=oci,dest=made.tar", "context"]);
    // The same layers, compressed by somebody else.
    world.ok(["export", "store:made", "oci:plain"]);
    let (layer, recompressed) = recompress(&world, "plain");
    world.ok(["--store", "other", "import", "oci:plain", "store:theirs"]);
    let inspect = |image: &str| -> serde_json::Value {
        serde_json::from_str(&world.ok(["--store", "other", "inspect", image])).unwrap()
    };
    let before = inspect("theirs");
    assert_eq!(before["layers"][0]["stored"]["blob"], true);
    world.ok(["--store", "other", "gc"]);
    assert_eq!(inspect("theirs"), before, "what was imported just now is left alone");
    let said = world.run(["--store", "other", "gc", "--recipes"]);
    assert!(said.stderr.contains("made from their files from now on"), "{}", said.stderr);
    let after = inspect("theirs");
    assert_eq!(after["digest"], before["digest"]);
    let stored = &after["layers"][layer]["stored"];
    assert_eq!((&stored["blob"], &stored["recipe"][0]), (&false.into(), &"gzip-v1 6".into()));
    let size = stored["bytes"].as_u64().unwrap();
    let usage: serde_json::Value =
        serde_json::from_str(&world.ok(["--store", "other", "du", "--json"])).unwrap();
    let layers = &usage["layers"];
    assert_eq!((&layers["count"], &layers["recipes"]), (&2.into(), &2.into()), "{usage:#}");
    assert_eq!(usage["images"][0]["layers"], *layers);
    let [blobs, recipes, saved] =
        ["blob_bytes", "recipe_bytes", "saved_bytes"].map(|name| layers[name].as_u64().unwrap());
    assert!(recipes >= size && saved == blobs - recipes && saved > 100_000, "{usage:#}");
    let said = world.ok(["--store", "other", "du"]);
    assert!(said.contains("2 of 2 layers are kept as recipes"), "{said}");
    world.ok(["--store", "other", "verify", "store:theirs"]);
    world.ok(["--store", "other", "fsck"]);
    world.ok(["--store", "other", "fsck", "--rebuild-index"]);
    world.ok(["--store", "other", "export", "store:theirs", "oci:again"]);
    assert!(
        fs::read(world.path("again").join(&recompressed)).unwrap()
            == fs::read(world.path("plain").join(&recompressed)).unwrap()
    );
    assert_eq!(
        inspect("theirs")["layers"][layer]["stored"]["blob"],
        true,
        "an exported blob is kept at hand"
    );

    // Our own: the segments go, the image stays what it is.
    world.ok(["gc", "--recipes", "--keep", "0s"]);
    world.ok(["export", "store:made", "oci-archive:later.tar"]);
    world.ok(["export", "store:made", "oci-archive:latest.tar"]);
    assert!(fs::read(world.path("later.tar")).unwrap() == fs::read(world.path("latest.tar")).unwrap());
    let digest = world.ok(["verify", "oci-archive:made.tar"]);
    assert_eq!(world.ok(["verify", "oci-archive:later.tar"]), digest);
}

/// Compresses the first layer of a layout with `gzip -6`; returns its number and its new path in the layout.
fn recompress(world: &World, layout: &str) -> (usize, String) {
    let script = r#"
import hashlib, json, subprocess, sys, os
os.chdir(sys.argv[1])
blob = lambda digest: 'blobs/sha256/' + digest.split(':')[1]
def put(data):
    digest = 'sha256:' + hashlib.sha256(data).hexdigest()
    open(blob(digest), 'wb').write(data)
    return digest, len(data)
index = json.load(open('index.json'))
manifest = json.load(open(blob(index['manifests'][0]['digest'])))
layer = manifest['layers'][0]
plain = subprocess.run(['gzip', '-dc', blob(layer['digest'])], check=True, stdout=subprocess.PIPE).stdout
data = subprocess.run(['gzip', '-6'], input=plain, check=True, stdout=subprocess.PIPE).stdout
layer['digest'], layer['size'] = put(data)
entry = index['manifests'][0]
entry['digest'], entry['size'] = put(json.dumps(manifest).encode())
index.pop('annotations', None)
json.dump(index, open('index.json', 'w'))
print(blob(layer['digest']))
"#;
    let ended = ended(Command::new("python3").args(["-c", script]).arg(world.path(layout)));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    (0, ended.stdout.trim().to_owned())
}
