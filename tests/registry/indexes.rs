//! Indexes as they are, with the images for every platform, and images that are looked at where they are.

use std::collections::BTreeSet;
use std::fs;

use super::faults::digest;
use super::{elsewhere, ok, skopeo, start};
use crate::support::registry::Registry;
use crate::support::{World, has};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout with images for two platforms and two indexes over them: `flat`, and `nested`, which has one within it.
struct Layout {
    images: [String; 2],
    flat: String,
    nested: String,
}

fn layout(world: &World) -> Layout {
    let tar = world.path("busybox.tar").display().to_string();
    let to = format!("oci:{}", world.path("layout").display());
    let mut descriptors = Vec::new();
    let images = ["amd64", "arm64"].map(|architecture| {
        let (platform, name) = (format!("linux/{architecture}"), format!("store:base-{architecture}"));
        world.ok(["import", "--rootfs", "--platform", &platform, &tar, &name]);
        world.ok(["copy", "-q", &name, &format!("{to}:{architecture}")]);
        let text = world.ok(["inspect", "--raw", "manifest", &name]);
        let platform = format!(r#","platform":{{"architecture":"{architecture}","os":"linux"}}"#);
        descriptors.push(described(MANIFEST, &text, &platform));
        digest(text.as_bytes())
    });
    let inner = index(&descriptors[1..]);
    let nested = index(&[descriptors[0].clone(), described(INDEX, &inner, "")]);
    // What BuildKit adds to an index: a manifest that is no image.
    let statement = "{}\n";
    let config = format!(
        r#"{{"architecture":"unknown","os":"unknown","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        digest(statement.as_bytes())
    );
    let attestation = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        described("application/vnd.oci.image.config.v1+json", &config, ""),
        described("application/vnd.in-toto+json", statement, "")
    );
    let more = format!(
        r#","platform":{{"architecture":"unknown","os":"unknown"}},"annotations":{{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"{}"}}"#,
        images[0]
    );
    descriptors.push(described(MANIFEST, &attestation, &more));
    let flat = index(&descriptors);
    for text in [&*flat, &inner, &nested, &attestation, &config, statement] {
        let hex = digest(text.as_bytes()).replace("sha256:", "");
        world.write(&format!("layout/blobs/sha256/{hex}"), text);
    }
    let named = |text: &str, name: &str| {
        let annotation = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
        described(INDEX, text, &annotation)
    };
    world.write("layout/index.json", index(&[named(&flat, "flat"), named(&nested, "nested")]));
    Layout { images, flat, nested }
}

fn described(media_type: &str, text: &str, more: &str) -> String {
    let digest = digest(text.as_bytes());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{more}}}"#, text.len())
}

fn index(descriptors: &[String]) -> String {
    // Not as this program writes it: bytes have to stay what they are.
    format!(
        "{{\n \"schemaVersion\": 2,\n \"mediaType\": \"{INDEX}\",\n \"manifests\": [{}]\n}}\n",
        descriptors.join(",\n")
    )
}

fn blobs(world: &World, layout: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(world.path(layout).join("blobs/sha256")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn an_index_is_copied_with_all_it_has_and_byte_for_byte() {
    let Some((world, registry)) = start() else { return };
    let layout = layout(&world);
    let from = |name: &str| format!("oci:{}:{name}", world.path("layout").display());
    let at = |name: &str| format!("docker://{}", registry.name(name));
    for (name, text, manifests) in [("flat", &layout.flat, 3), ("nested", &layout.nested, 2)] {
        let digest = digest(text.as_bytes());
        let copied = elsewhere(&world, &["copy", "--all", &from(name), &at(&format!("a/{name}:1"))]);
        assert!(copied.stderr.contains(&format!("an index of {manifests} manifests")), "{}", copied.stderr);
        assert_eq!(ok(copied), digest);
        let before = registry.asked().len();
        let again =
            elsewhere(&world, &["copy", "-a", &at(&format!("a/{name}:1")), &at(&format!("b/{name}"))]);
        assert!(again.stderr.contains("0 blobs sent"), "{}", again.stderr);
        assert_eq!(ok(again), digest);
        assert!(!registry.since(before).iter().any(|asked| asked.starts_with("PATCH")));
        for to in [
            format!("oci:{}", world.path(&format!("back-{name}")).display()),
            format!("oci-archive:{}", world.path(&format!("back-{name}.tar")).display()),
        ] {
            let place = format!("{to}:x");
            assert_eq!(
                ok(elsewhere(&world, &["copy", "-q", "--all", &at(&format!("b/{name}")), &place])),
                digest
            );
            let verified = ok(world.run(["verify", "--digest", &digest, &place]));
            assert_eq!(
                verified.lines().collect::<BTreeSet<_>>(),
                layout.images.iter().map(String::as_str).collect()
            );
            // And back again.
            let third = at(&format!("c/{name}:1"));
            assert_eq!(ok(elsewhere(&world, &["copy", "-q", "--all", &place, &third])), digest);
        }
    }
    let of_flat: BTreeSet<String> = blobs(&world, "back-flat");
    assert_eq!(of_flat.len(), 9, "two images with one layer, an attestation, and the index: {of_flat:?}");
    assert!(
        blobs(&world, "back-nested")
            .is_superset(&blobs(&world, "layout").difference(&of_flat).cloned().collect())
    );
    if has("skopeo") {
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &at("b/flat")]);
        assert_eq!(raw, layout.flat.trim());
        let theirs = format!("oci:{}:x", world.path("theirs").display());
        skopeo(&["copy", "-q", "--all", "--src-tls-verify=false", &at("b/flat"), &theirs]);
        let flat = digest(layout.flat.as_bytes());
        assert_eq!(ok(elsewhere(&world, &["copy", "-q", "--all", &theirs, &at("d/flat")])), flat);
        assert_eq!(blobs(&world, "theirs"), of_flat);
    }
}

#[test]
fn of_an_index_one_image_is_copied_unless_all_are_wanted() {
    let Some((world, registry)) = start() else { return };
    let layout = layout(&world);
    let from = format!("oci:{}:flat", world.path("layout").display());
    let at = format!("docker://{}", registry.name("a:1"));
    ok(world.run(["copy", "-q", "--all", &from, &at]));
    let to = format!("oci:{}:x", world.path("one").display());
    for (platform, digest) in [("linux/amd64", &layout.images[0]), ("linux/arm64", &layout.images[1])] {
        assert_eq!(&ok(elsewhere(&world, &["copy", "-q", "--platform", platform, &at, &to])), digest);
        let shown = ok(elsewhere(&world, &["inspect", "--platform", platform, &at]));
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((&shown["digest"], &shown["names"][0]), (&digest.as_str().into(), &at.as_str().into()));
        assert_eq!(shown["layers"].as_array().unwrap().len(), 1);
        let raw = elsewhere(&world, &["inspect", "--platform", platform, "--raw", "manifest", &at]).stdout;
        assert_eq!(&super::faults::digest(raw.as_bytes()), digest);
    }
    assert_eq!(elsewhere(&world, &["inspect", "--raw", "index", &at]).stdout, layout.flat);
    assert!(ok(elsewhere(&world, &["history", "--json", &at])).contains("sha256:"));
    // One image is copied as one.
    let image = format!("docker://{}", registry.name("one:1"));
    assert_eq!(ok(world.run(["copy", "-q", "--all", "--", &to, &image])), layout.images[1]);
    for (destination, said) in
        [("store:x", "a name of the store is one image"), ("docker-archive:x.tar", "Docker archive")]
    {
        let refused = elsewhere(&world, &["copy", "--all", &at, destination]);
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    assert!(!world.path("x.tar").exists() && !world.path("elsewhere").exists());
}

/// The file in which the registry keeps a blob.
fn kept(registry: &Registry, digest: &str) -> std::path::PathBuf {
    let hex = digest.replace("sha256:", "");
    registry.path(&format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
}

#[test]
fn an_image_is_verified_at_its_registry_and_nothing_is_kept() {
    let Some((world, registry)) = start() else { return };
    let layout = layout(&world);
    let name = registry.name("a:1");
    ok(world.run([
        "copy",
        "-q",
        "--all",
        &format!("oci:{}:nested", world.path("layout").display()),
        &format!("docker://{name}"),
    ]));
    let top = digest(layout.nested.as_bytes());
    let pinned = format!("docker://{}", registry.name(&format!("a@{top}")));
    let verify = |args: &[&str]| elsewhere(&world, &[&["verify"], args].concat());
    let verified = verify(&[&pinned]);
    assert!(verified.stderr.contains("verified 7 blobs"), "{}", verified.stderr);
    let digests: BTreeSet<String> = ok(verified).lines().map(str::to_owned).collect();
    assert_eq!(digests, layout.images.iter().cloned().collect());
    let tagged = format!("docker://{name}");
    for expected in [&top, &layout.images[0], &layout.images[1]] {
        ok(verify(&["-q", "--digest", expected, &tagged]));
    }
    let other = verify(&["--digest", &digest(b"other"), &tagged]);
    assert_eq!(other.code, 3, "{}", other.stderr);
    let report: serde_json::Value = serde_json::from_str(&ok(verify(&["--json", &pinned]))).unwrap();
    assert_eq!(report["verified"], true);
    assert!(!world.path("elsewhere").exists(), "there was no need of a store");

    // What is missing there is no verification that fails, nor is a registry that does not answer.
    let missing = verify(&[&format!("docker://{}", registry.name("none:1"))]);
    assert_eq!(missing.code, 1, "{}", missing.stderr);
    // One byte of a layer.
    let shown: serde_json::Value =
        serde_json::from_str(&ok(elsewhere(&world, &["inspect", "--platform", "linux/amd64", &tagged])))
            .unwrap();
    let layer = kept(&registry, shown["layers"][0]["digest"].as_str().unwrap());
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let damaged = verify(&[&pinned]);
    assert_eq!(damaged.code, 3, "{}", damaged.stderr);
    assert!(damaged.stderr.contains("damaged: blob sha256:"), "{}", damaged.stderr);
    // Other bytes for a manifest.
    fs::write(kept(&registry, &top), layout.flat.as_bytes()).unwrap();
    assert_eq!(verify(&[&pinned]).code, 3);
    drop(registry);
    assert_eq!(verify(&[&pinned]).code, 1);
}
