//! `FROM` a registry, and builds that go to one.

use std::fs;

use super::{elsewhere, moved, ok, start};
use crate::support::{has, is_root};

#[test]
fn from_takes_what_the_store_lacks_and_pull_asks_again() {
    let Some((world, registry)) = start() else { return };
    if !is_root() {
        return;
    }
    let name = registry.name("base:1");
    let old = ok(world.run(["push", "-q", "busybox", &name]));
    world.write("context/Dockerfile", format!("FROM {name} AS first\nRUN echo hello >/hello\n"));
    let build = |args: &[&str]| {
        let metadata = world.path("metadata.json").display().to_string();
        let fixed = ["build", "--progress=plain", "--metadata-file", &metadata];
        elsewhere(&world, &[&fixed, args, &["context"]].concat())
    };
    let base = || {
        let text = fs::read(world.path("metadata.json")).unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(metadata["rebit.bases"][0]["stage"], "first");
        metadata["rebit.bases"][0]["digest"].as_str().unwrap().to_owned()
    };
    // Nothing is taken when nothing may be.
    for never in ["--pull=never", "--network=none"] {
        let refused = build(&[never]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("it is not in the store"), "{}", refused.stderr);
    }
    assert!(!registry.asked().iter().any(|asked| asked.starts_with("GET")));
    // A plan looks, and takes nothing in.
    let planned = elsewhere(&world, &["plan", "context"]);
    assert!(ok(planned).contains(&old));
    assert_eq!(ok(elsewhere(&world, &["images", "-q"])), "");
    let first = build(&[]);
    assert!(first.stderr.contains(&format!("pulling {name}")), "{}", first.stderr);
    assert!(first.stderr.contains(&format!("FROM {name}@{old}")), "{}", first.stderr);
    assert_eq!(base(), old);
    let digest = ok(first);
    // From now on the store has it, and the registry is not asked.
    let before = registry.asked().len();
    assert_eq!(ok(build(&[])), digest);
    assert_eq!(registry.since(before), Vec::<String>::new());

    world.write("other/file", "x");
    world.write("other/Dockerfile", "FROM busybox\nCOPY file /\n");
    let new = ok(world.run(["build", "-q", "--push", "-t", &name, "other"]));
    assert_eq!(ok(build(&[])), digest, "what the store has is what is used");
    let moved_on = ok(build(&["--pull"]));
    assert_eq!(base(), new);
    assert_ne!(moved_on, digest);
    assert_eq!(ok(build(&["--pull=missing"])), moved_on);
    // By its digest the old one is still there, at the registry.
    world.write(
        "context/Dockerfile",
        format!("FROM {}@{old} AS first\nRUN echo hello >/hello\n", registry.name("base")),
    );
    assert_eq!(ok(build(&["--pull"])), digest);
    assert_eq!(base(), old);
    ok(elsewhere(&world, &["fsck"]));
    drop(registry);
    assert_eq!(ok(build(&["--pull"])), digest, "a digest that is there needs no registry");
    world.write("context/Dockerfile", format!("FROM {name}\n"));
    let gone = build(&["--pull"]);
    assert!(gone.stderr.contains("could not be asked what it is now"), "{}", gone.stderr);
}

#[test]
fn an_index_gives_the_image_for_the_platform() {
    let Some((world, registry)) = start() else { return };
    if !is_root() || !has("skopeo") {
        return;
    }
    let tar = world.path("busybox.tar").display().to_string();
    let mut digests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        let name = format!("store:base-{architecture}");
        ok(world.run(["import", "--rootfs", "--platform", &platform, &tar, &name]));
        let to = registry.name(&format!("base:{architecture}"));
        digests.push(ok(world.run(["push", "-q", &format!("base-{architecture}"), &to])));
    }
    let [native, other] = [&digests[0], &digests[1]];
    let manifest = |digest: &str, architecture: &str| {
        let text = world.ok(["inspect", "--raw", "manifest", digest]);
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
            text.len()
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
        manifest(native, "amd64"),
        manifest(other, "arm64")
    );
    let file = world.write("index.json", &index);
    let mut put = std::process::Command::new("curl");
    put.args([
        "-sf",
        "-X",
        "PUT",
        "-H",
        "Content-Type: application/vnd.oci.image.index.v1+json",
        "--data-binary",
    ]);
    put.arg(format!("@{}", file.display())).arg(format!("http://{}/v2/base/manifests/all", registry.host));
    if !has("curl") {
        return;
    }
    ok(crate::support::ended(&mut put));

    let name = registry.name("base:all");
    assert_eq!(&ok(elsewhere(&world, &["pull", "-q", "--platform", "linux/arm64", &name])), other);
    assert_eq!(&ok(elsewhere(&world, &["pull", "-q", "--platform", "linux/amd64", &name])), native);
    let none = elsewhere(&world, &["pull", "--platform", "linux/s390x", &name]);
    assert!(none.stderr.contains("only for linux/amd64, linux/arm64"), "{}", none.stderr);
    // A build by the digest of the index takes the image, and knows it the second time.
    let top: serde_json::Value =
        serde_json::from_str(&ok(elsewhere(&world, &["pull", "--json", &name]))).unwrap();
    let pinned = registry.name(&format!("base@{}", top["registry_digest"].as_str().unwrap()));
    world.write("context/Dockerfile", format!("FROM {pinned}\nCOPY Dockerfile /\n"));
    let build = || ok(world.run(["build", "-q", "--platform", "linux/amd64", "context"]));
    let digest = build();
    let before = registry.asked().len();
    assert_eq!(build(), digest);
    assert_eq!(registry.since(before), Vec::<String>::new());
    // The image for another platform does not take the name away.
    world.write("context/Dockerfile", format!("FROM {name}\nCOPY Dockerfile /\n"));
    ok(world.run(["build", "-q", "--platform", "linux/amd64", "context"]));
    ok(world.run(["build", "-q", "--platform", "linux/arm64", "context"]));
    ok(world.run(["build", "-q", "--pull=never", "--platform", "linux/amd64", "context"]));
    world.fsck();
}

#[test]
fn a_build_goes_to_the_registries_of_its_names() {
    let Some((world, registry)) = start() else { return };
    if !is_root() {
        return;
    }
    world.write("context/Dockerfile", "FROM busybox\nCOPY Dockerfile /\n");
    let (a, b, c) = (registry.name("a:1"), registry.name("b:2"), registry.name("c:3"));
    let nameless = world.run(["build", "--push", "context"]);
    assert_eq!(nameless.code, 2);
    assert!(nameless.stderr.contains("`-t NAME`"), "{}", nameless.stderr);
    let digest = ok(world.run(["build", "-q", "-o", "type=registry", "-t", &a, "-t", &b, "context"]));
    let named = format!("type=image,name={c},push=true");
    assert_eq!(ok(world.run(["build", "-q", "-o", &named, "-t", "local", "context"])), digest);
    for name in [&a, &b, &c] {
        assert_eq!(ok(elsewhere(&world, &["pull", "-q", name])), digest);
    }
    let before = registry.asked().len();
    ok(world.run(["build", "-q", "--push", "-t", &a, "context"]));
    assert_eq!(moved(&registry.since(before)), Vec::<&String>::new());
}
