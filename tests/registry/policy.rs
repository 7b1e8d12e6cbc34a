//! `policy.json`: what may be taken from registries.

use super::{elsewhere, ok, start};

#[test]
fn what_the_policy_does_not_let_in_is_not_taken() {
    let Some((world, registry)) = start() else { return };
    let name = registry.name("team/busybox:1");
    let digest = ok(world.run(["push", "-q", "busybox", &name]));
    let policy = |host: &str| {
        let text = format!(
            r#"{{"default":[{{"type":"insecureAcceptAnything"}}],"transports":{{"docker":{{"{}/{host}":[{{"type":"TYPE"}}]}}}}}}"#,
            registry.host
        );
        move |kind: &str| text.replace("TYPE", kind)
    };
    let write = |text: String| world.write(".config/containers/policy.json", text);
    let pull = || elsewhere(&world, &["pull", "-q", &name]);
    // Another scope does not matter.
    write(policy("other")("reject"));
    assert_eq!(ok(pull()), digest);
    write(policy("team")("insecureAcceptAnything"));
    assert_eq!(ok(pull()), digest);
    let before = registry.asked().len();
    write(policy("team")("reject"));
    let rejected = pull();
    assert_eq!(rejected.code, 1);
    assert!(rejected.stderr.contains("team` rejects it"), "{}", rejected.stderr);
    assert!(rejected.stderr.contains("policy.json"), "{}", rejected.stderr);
    for kind in ["signedBy", "sigstoreSigned"] {
        write(policy("team")(kind));
        let signed = pull();
        assert_eq!(signed.code, 1);
        assert!(
            signed.stderr.contains(&format!("wants what is not verified here (`{kind}`)")),
            "{}",
            signed.stderr
        );
        assert!(signed.stderr.contains("skopeo copy"), "{}", signed.stderr);
    }
    // Wherever an image of a registry is taken.
    world.write(
        "context/Dockerfile",
        format!("FROM {}\nCOPY Dockerfile /\n", registry.name("team/busybox:1")),
    );
    let place = format!("docker://{name}");
    for args in [
        &["build", "-q", "--pull", "context"][..],
        &["import", &place, "store:x"],
        &["copy", &place, "oci:x"],
        &["diff", &place, &place],
        &["verify", &place],
    ] {
        let refused = elsewhere(&world, args);
        assert!(
            refused.code != 0 && refused.stderr.contains("not verified here"),
            "{args:?} {}",
            refused.stderr
        );
    }
    assert_eq!(registry.since(before), Vec::<String>::new(), "nobody was asked");
    // What cannot be read is no permission.
    write("{".to_owned());
    let unreadable = pull();
    assert_eq!(unreadable.code, 1);
    assert!(unreadable.stderr.contains("it is not a policy"), "{}", unreadable.stderr);
}
