//! Fixers: what a `RUN` is known to leave is the same each time with them, and a check says which to take.

use serde_json::Value;

use crate::support::{World, can_build, debian};

/// A step that leaves what package managers leave, and something of its own.
const DOCKERFILE: &str = "FROM busybox
RUN mkdir -p /var/log/apt /var/lib/dbus /var/cache/ldconfig && busybox date +%s%N > /var/log/apt/history.log && busybox date > /var/log/dpkg.log \
 && cat /proc/sys/kernel/random/uuid > /etc/machine-id && head -c 9 /dev/urandom > /var/cache/ldconfig/aux-cache \
 && echo \"web:!:$(($(busybox date +%s) / 86400)):0:99999:7:::\" >> /etc/shadow && echo mine > /mine
RUN ls -1 /var/log/apt > /list; cat /etc/shadow > /seen
";
const FIXERS: &str = "apt-logs,ldconfig-cache,machine-id";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_check_says_which_fixers_to_take_and_they_hold() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", DOCKERFILE);
    let checked = world.run(["check", "-q", "context"]);
    assert_eq!(checked.code, 3, "{}", checked.stderr);
    assert!(checked.stdout.contains(&format!("hint: try: --fix {FIXERS}\n")), "{}", checked.stdout);
    // The day is the same in both builds.
    for part in [
        "left the date: the same today, it may differ tomorrow",
        "`/etc/shadow`: day ",
        "try: --fix shadow-dates",
    ] {
        assert!(checked.stderr.contains(part), "{part} is not in\n{}", checked.stderr);
    }
    let checked = world.run(["check", "--json", "context"]);
    let found = json(&checked.stdout);
    assert_eq!(found["differences"][0]["fixers"], serde_json::json!(FIXERS.split(',').collect::<Vec<_>>()));
    let files = found["differences"][0]["files"].as_array().unwrap();
    let log = files.iter().find(|file| file["path"] == "/var/log/apt/history.log").unwrap();
    assert_eq!(log["fixers"], serde_json::json!(["apt-logs"]));
    assert_eq!(found["dated"][0]["files"][0]["path"], "/etc/shadow");
    assert_eq!(found["dated"][0]["files"][0]["fixers"], serde_json::json!(["shadow-dates"]));

    let fix = format!("--fix={FIXERS},shadow-dates");
    let checked = world.run(["check", &fix, "context"]);
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    assert!(!checked.stderr.contains("left the date"), "{}", checked.stderr);
    let built = world.run(["build", &fix, "context"]);
    assert_eq!(built.stdout, checked.stdout, "{}", built.stderr);
    for part in ["fixed: [stage-0 1/2] apt-logs removed 2 files", "shadow-dates rewrote 1 file"] {
        assert!(built.stderr.contains(part), "{part} is not in\n{}", built.stderr);
    }
    // The provenance knows them, and so does a rebuild.
    world.ok(["build", "-t", "fixed", &fix, "context"]);
    let rebuilt = world.run(["verify", "--rebuild", "fixed", "context"]);
    assert_eq!(rebuilt.code, 0, "{}{}", rebuilt.stdout, rebuilt.stderr);
    let again = World::new().with_busybox();
    again.write("context/Dockerfile", DOCKERFILE);
    assert_eq!(again.ok(["build", "-q", "--fix=shadow-dates", &fix, "context"]), built.stdout);
    world.fsck();
}

#[test]
fn fixers_are_part_of_the_key_and_steps_after_them_see_what_they_left() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", DOCKERFILE);
    let plain = world.ok(["build", "-q", "context"]);
    world.write("context/rebit.toml", "[build]\nfix = [\"apt-logs\", \"shadow-dates\"]\n");
    let fixed = world.run(["build", "-t", "fixed", "context"]);
    assert_ne!(fixed.stdout, plain);
    assert_eq!(world.ok(["run", "fixed", "/bin/cat", "/seen"]), "web:!:3652:0:99999:7:::\n");
    assert_eq!(world.ok(["run", "fixed", "/bin/cat", "/list"]), "");
    // What the step wrote and no fixer is for is there, and so is what is below it.
    assert_eq!(world.ok(["run", "fixed", "/bin/cat", "/mine"]), "mine\n");
    let why = world.ok(["why", "context"]);
    for part in ["fixed: apt-logs removed 2 files", "fixer gained "] {
        assert!(why.contains(part), "{part} is not in\n{why}");
    }
    let steps = json(&world.ok(["why", "--json", "context"]));
    let touched = steps.as_array().unwrap().iter().flat_map(|step| step["fixed"].as_array().unwrap());
    let paths: Vec<String> =
        touched.map(|file| format!("{} {} {}", file["fixer"], file["did"], file["path"])).collect();
    assert_eq!(
        paths,
        [
            r#""shadow-dates" "rewritten" "/etc/shadow""#,
            r#""apt-logs" "removed" "/var/log/apt/history.log""#,
            r#""apt-logs" "removed" "/var/log/dpkg.log""#,
        ]
    );
    // The file's word is left aside, and then the steps are those of the first build.
    assert_eq!(world.ok(["build", "-q", "--fix=none", "context"]), plain);
    let known = world.run(["build", "context"]);
    assert_eq!(known.stdout, fixed.stdout);
    assert!(known.stderr.contains("CACHED") && !known.stderr.contains("fixed:"), "{}", known.stderr);
    let plan = json(&world.ok(["plan", "--json", "context"]));
    assert_eq!(plan["fixers"], serde_json::json!(["apt-logs", "shadow-dates"]));

    world.write("context/rebit.toml", "[build]\nfix = [\"apt-log\"]\n");
    let wrong = world.run(["build", "context"]);
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("there is no fixer `apt-log`"), "{}", wrong.stderr);
    world.write("context/rebit.toml", "[build]\nfixes = []\n");
    let wrong = world.run(["build", "context"]);
    assert!(wrong.stderr.contains("unknown field `fixes`"), "{}", wrong.stderr);
    assert_eq!(world.run(["build", "--fix=apt-log", "context"]).code, 2);
    world.fsck();
}

#[test]
fn a_file_that_was_there_before_is_what_it_was() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    let dockerfile = "FROM busybox
RUN mkdir -p /var/log && echo old > /var/log/dpkg.log && echo also > /var/log/alternatives.log
RUN busybox date >> /var/log/dpkg.log; rm /var/log/alternatives.log; echo x > /x
RUN cat /var/log/* > /seen
";
    world.write("context/Dockerfile", dockerfile);
    world.write("base/Dockerfile", dockerfile.lines().take(2).collect::<Vec<_>>().join("\n"));
    world.ok(["build", "-q", "-t", "base", "base"]);
    world.write("context/Dockerfile", dockerfile.replace("busybox\nRUN mkdir -p /var/log && echo old > /var/log/dpkg.log && echo also > /var/log/alternatives.log", "base"));
    let built = world.run(["build", "-t", "x", "--fix=apt-logs", "context"]);
    assert!(built.stderr.contains("apt-logs restored 1 file"), "{}", built.stderr);
    // What a step removes stays removed.
    assert_eq!(world.ok(["run", "x", "/bin/cat", "/seen"]), "old\n");
    assert_eq!(world.ok(["run", "x", "/bin/ls", "-1", "/var/log"]), "dpkg.log\n");
    world.fsck();
}

#[test]
fn fixers_are_listed() {
    let world = World::new();
    let listed = json(&world.ok(["fixers", "--json"]));
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|fixer| fixer["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"apt-logs") && names.contains(&"zip-order"), "{names:?}");
    let text = world.ok(["fixers"]);
    let completion = world.ok(["completion", "bash"]);
    let docs = std::fs::read_to_string(crate::tidy::root().join("docs/reproducibility.md")).unwrap();
    for name in names {
        assert!(text.contains(&format!("{name} (version ")), "{name} is not in\n{text}");
        assert!(completion.contains(name), "{name} is not completed");
        assert!(docs.contains(&format!("| `{name}` |")), "{name} is not in docs/reproducibility.md");
    }
}

/// Python and zip files as Debian's own tools leave them.
#[test]
fn what_python_and_other_tools_leave_is_fixed_and_still_valid() {
    let world = World::new();
    if !debian::import(&world) {
        return;
    }
    world.write("context/greet.py", "def hello():\n    return 'hello'\n");
    world.write(
        "context/Dockerfile",
        "FROM debian:bookworm AS tools
RUN apt-get update && apt-get install -y --no-install-recommends python3 binutils && rm -rf /var/lib/apt/lists/*
FROM tools
COPY greet.py /srv/
RUN cp /srv/greet.py /srv/said.py && cd /srv && python3 -c 'import greet, said' \\
 && echo content > /srv/b && cp /srv/b /srv/a && cd /srv && python3 -m zipfile -c /srv/x.zip b a \\
 && gzip -k b && ar rcU libx.a a b && tar czf x.tgz a b
",
    );
    let fixers = "pyc,gzip-mtime,zip-order,ar-dates";
    let fix = format!("--fix=apt-logs,dpkg-old,ldconfig-cache,{fixers}");
    let tools = ["build", "-q", "--compression=none", "--target=tools", "-t", "tools", &fix, "context"];
    world.ok(tools);
    let dockerfile = std::fs::read_to_string(world.path("context/Dockerfile")).unwrap();
    world.write(
        "context/Dockerfile",
        format!("FROM tools\n{}", dockerfile.split_once("FROM tools\n").unwrap().1),
    );
    let checked = json(&world.run(["check", "--json", "--compression=none", "context"]).stdout);
    let files = checked["differences"][0]["files"].as_array().unwrap();
    let without: Vec<&Value> = files
        .iter()
        .filter(|file| file["fixers"].as_array().unwrap().is_empty())
        .map(|file| &file["path"])
        .collect();
    // The members of a tar archive inside of gzip are beyond a fixer.
    assert_eq!(without, ["/srv/x.tgz"]);
    let dockerfile = std::fs::read_to_string(world.path("context/Dockerfile")).unwrap();
    world.write("context/Dockerfile", dockerfile.replace(" && tar czf x.tgz a b", ""));
    let checked = json(&world.run(["check", "--json", "--compression=none", "context"]).stdout);
    assert_eq!(checked["differences"][0]["fixers"], serde_json::json!(fixers.split(',').collect::<Vec<_>>()));
    let held = world.run(["check", "-q", "--compression=none", &fix, "context"]);
    assert_eq!(held.code, 0, "{}{}", held.stdout, held.stderr);

    world.ok(["build", "-q", "--compression=none", "-t", "x", &fix, "context"]);
    let run = |args: &[&str]| world.run(["run", "x"].iter().chain(args));
    let loaded = run(&["/bin/sh", "-c", "cd /srv && python3 -v -c 'import greet, said' 2>&1"]);
    assert!(
        loaded.stdout.contains("/srv/__pycache__/greet.cpython-311.pyc matches /srv/greet.py"),
        "{}",
        loaded.stdout
    );
    let listed = run(&[
        "/bin/sh",
        "-c",
        "cd /srv && python3 -m zipfile -l x.zip && python3 -m zipfile -t x.zip && ar tvO libx.a && zcat b.gz && nm libx.a",
    ]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    for part in [
        "a                                              1980-01-01 00:00:00            8",
        "Done testing",
        "rw-r--r-- 0/0      8 Jan  1 00:00 1970 a",
        "content",
    ] {
        assert!(listed.stdout.contains(part), "{part} is not in\n{}", listed.stdout);
    }
}
