//! Provenances beside images at their registries.

use super::{elsewhere, ok, start};
use crate::support::is_root;

/// P-15, P-16: published, listed, read back from another machine; the image stays what it is.
#[test]
fn a_provenance_goes_with_its_image_and_changes_nothing_of_it() {
    let Some((world, registry)) = start() else { return };
    if !is_root() {
        return;
    }
    world.write("context/Dockerfile", "FROM busybox\nRUN echo hello >/hello\nCOPY Dockerfile /\n");
    let name = registry.name("team/app:1");
    let built = ok(world.run(["build", "-q", "-t", &name, "context"]));
    // Something that was not built here has none, and that is said before anything is sent.
    let none = world.run(["push", "--provenance", "busybox", &registry.name("busybox:1")]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("nothing is known of how `busybox` was made"), "{}", none.stderr);
    assert_eq!(registry.asked().iter().filter(|asked| asked.contains("/busybox/")).count(), 0);

    assert_eq!(ok(world.run(["push", "-q", &name])), built);
    let at = format!("docker://{name}");
    let bare = elsewhere(&world, &["history", "--provenance", &at]);
    assert_eq!(bare.code, 1);
    assert!(bare.stderr.contains("there is no provenance by rebit beside"), "{}", bare.stderr);
    let pushed = world.run(["push", "--provenance", &name]);
    assert!(pushed.stderr.contains("provenance sha256:"), "{}", pushed.stderr);
    assert!(pushed.stderr.contains("listed by a tag"), "{}", pushed.stderr);
    assert_eq!(ok(pushed), built, "the image stays the same");
    // A second time nothing is added.
    let again: serde_json::Value =
        serde_json::from_str(&ok(world.run(["push", "--json", "--provenance", &name]))).unwrap();
    assert_eq!(again["uploaded"], 0);

    let listed = ok(elsewhere(&world, &["referrers", "--json", &name]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed["digest"], listed["referrers"].as_array().unwrap().len()),
        (&built.as_str().into(), 1)
    );
    let referrer = &listed["referrers"][0];
    assert_eq!(referrer["digest"], again["provenance"]);
    assert_eq!(referrer["artifact_type"], "application/vnd.in-toto+json");
    assert_eq!(referrer["annotations"]["in-toto.io/predicate-type"], "https://slsa.dev/provenance/v1");
    assert!(ok(elsewhere(&world, &["referrers", &name])).contains("application/vnd.in-toto+json"));

    let raw = |place: &str| elsewhere(&world, &["history", "--provenance", "--raw", place]);
    let own = world.ok(["history", "--provenance", "--raw", &name]);
    assert_eq!(raw(&at).stdout, own);
    assert!(ok(elsewhere(&world, &["history", "--provenance", &at])).contains("RUN echo hello >/hello"));
    // The same from another store, and for the image by its digest.
    let pinned = format!("docker://{}", registry.name(&format!("team/app@{built}")));
    assert_eq!(raw(&pinned).stdout, own);
    // It goes with a copy when that is wanted.
    let there = |name: &str| format!("docker://{}", registry.name(name));
    for (to, flags, said) in [
        ("bare:1", &[][..], ""),
        ("full:1", &["--referrers"], "1 referrer"),
        ("all:1", &["--all", "--referrers"], "1 referrer"),
    ] {
        let copied = elsewhere(&world, &[&["copy"], flags, &[&at, &there(to)]].concat());
        assert!(copied.stderr.contains(said), "{}", copied.stderr);
        assert_eq!(ok(copied), built);
        assert_eq!(raw(&there(to)).stdout, if flags.is_empty() { "" } else { &own }, "{to}");
    }
    let refused = elsewhere(&world, &["copy", "--referrers", &at, "oci:x"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(!world.path("elsewhere").exists());
    assert_eq!(ok(elsewhere(&world, &["pull", "-q", &name])), built);
    ok(elsewhere(&world, &["verify", &at]));
}

#[test]
fn a_build_that_is_sent_takes_its_provenance_along_when_it_is_told_to() {
    let Some((world, registry)) = start() else { return };
    if !is_root() {
        return;
    }
    world.write("context/Dockerfile", "FROM busybox\nCOPY Dockerfile /\n");
    let build = |tag: &str, flags: &[&str]| {
        let name = registry.name(&format!("{tag}:1"));
        ok(world.run([&["build", "-q", "--push", "-t", &name][..], flags, &["context"]].concat()))
    };
    let digest = build("none", &[]);
    for (tag, flag, listed) in
        [("no", "--provenance=false", 0), ("yes", "--provenance", 1), ("max", "--provenance=mode=max", 1)]
    {
        assert_eq!(build(tag, &[flag]), digest);
        let referrers = ok(elsewhere(&world, &["referrers", "--json", &registry.name(&format!("{tag}:1"))]));
        let referrers: serde_json::Value = serde_json::from_str(&referrers).unwrap();
        assert_eq!(referrers["referrers"].as_array().unwrap().len(), listed, "{flag}");
    }
    let min = world.run(["build", "--provenance=mode=min", "context"]);
    assert_eq!(min.code, 2, "{}", min.stderr);
}
