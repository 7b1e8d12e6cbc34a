//! `rebit check`: a build done twice, and what is said of what differs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::{Ended, World, can_build};

/// The world in which `Dockerfile` was checked, and what the check said.
fn check(dockerfile: &str, args: &[&str]) -> (World, Ended) {
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", dockerfile);
    world.write("context/hello", "hello\n");
    let ended = world.run(["check", "context"].iter().chain(args));
    (world, ended)
}

/// The check of `dockerfile` names all of `expected`.
#[track_caller]
fn names(dockerfile: &str, expected: &[&str]) {
    let (_, ended) = check(dockerfile, &["--quiet"]);
    assert_eq!(ended.code, 3, "{}{}", ended.stdout, ended.stderr);
    for part in expected {
        assert!(ended.stdout.contains(part), "{part} is not in\n{}", ended.stdout);
    }
}

#[test]
fn a_deterministic_build_passes_with_the_digest_of_a_build() {
    if !can_build() {
        return;
    }
    let dockerfile = "FROM busybox AS one
COPY hello /hello
RUN mkdir /d && for i in c a b; do echo $i > /d/$i; done && ls /d > /list
FROM busybox
WORKDIR /w
RUN env > /env; id > /id; hostname > /name; umask > /umask; echo $$ > /pid
RUN --mount=type=cache,target=/c echo x >> /c/x; cp /c/x /x
RUN rm /id && mv /env /w/env
COPY --from=one /d /list /w/
";
    let (world, ended) = check(dockerfile, &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stderr.contains("reproducible: 7 steps were executed twice, 4 of them RUN"),
        "{}",
        ended.stderr
    );
    let built = world.ok(["build", "--quiet", "context"]);
    assert_eq!(ended.stdout, built);
    let json = world.ok(["check", "--json", "context"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["reproducible"], json["digest"].as_str()), (&true.into(), Some(built.trim())));
    world.fsck();
}

#[test]
fn a_clock_is_named_with_the_file_the_bytes_and_the_lines() {
    if !can_build() {
        return;
    }
    let dockerfile = "FROM busybox\nRUN echo ok > /ok\nRUN busybox date > /built; echo same > /same\nRUN echo later > /later\n";
    names(
        dockerfile,
        &[
            "error: `RUN busybox date > /built; echo same > /same` is not deterministic",
            "Dockerfile:3:1",
            "`/built`: content (29 bytes), bytes ",
            "first: ",
            "likely cause: `date` in the command",
            "hint: `date -u -d @$SOURCE_DATE_EPOCH`",
        ],
    );
    let (_, ended) = check(dockerfile, &["--quiet"]);
    for part in ["/same", "/later", "/ok`"] {
        assert!(!ended.stdout.contains(&format!("`{part}`:")), "{part} is in\n{}", ended.stdout);
    }
}

#[test]
fn random_bytes_ids_names_and_known_places_are_named() {
    if !can_build() {
        return;
    }
    names(
        "FROM busybox\nRUN head -c 8 /dev/urandom > /random\nRUN cat /proc/sys/kernel/random/uuid > /etc/machine-id\nRUN busybox mktemp -d /made.XXXXXX\n",
        &[
            "`RUN head -c 8 /dev/urandom > /random` is not deterministic",
            "`/random`: content (8 bytes), bytes ",
            "random bytes of the kernel",
            "Dockerfile:3:1",
            "an id that is made at random",
            "hint: try: --fix machine-id",
            "or: empty it in the same step: `: > /etc/machine-id`",
            "Dockerfile:4:1",
            "only the first build left it",
            "`mktemp` in the command",
        ],
    );
    // What not everyone may read is not in the log.
    let dockerfile = "FROM busybox\nRUN umask 077; (echo key; busybox date +%s) > /key\n";
    names(dockerfile, &["`/key`: content (15 bytes), bytes ", "likely cause: `date`"]);
    let (_, ended) = check(dockerfile, &[]);
    assert!(!ended.stdout.contains("first: "), "{}", ended.stdout);
}

#[test]
fn what_depends_on_the_environment_is_told_from_chance() {
    if !can_build() {
        return;
    }
    if std::thread::available_parallelism().map_or(1, usize::from) > 1 {
        names(
            "FROM busybox\nRUN busybox nproc > /cpus\n",
            &[
                "`RUN busybox nproc > /cpus` depends on the environment: on the number of processors",
                "`/cpus`: content",
                "hint: a number instead of what `nproc` says",
            ],
        );
    } else {
        crate::support::skip("needs two processors");
    }
    let list = "mkdir /d; for i in zeta beta gamma alpha omega phi chi psi; do echo > /d/$i; done; busybox find /d > /list";
    let (_, ended) = check(&format!("FROM busybox\nRUN {list}\n"), &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let other_file_system = json["changed"].to_string().contains("another file system");
    let found = &json["differences"][0];
    if other_file_system && !found.is_null() {
        assert_eq!(found["verdict"], "directories");
        assert_eq!(found["files"][0]["path"], "/list");
        assert_eq!(found["files"][0]["cause"], "`find` lists in the order of the directory");
        assert_eq!(found["location"]["start"]["line"], 2);
    } else {
        crate::support::skip("needs two file systems that list directories in another order");
    }
}

#[test]
fn each_step_is_judged_from_the_same_files() {
    if !can_build() {
        return;
    }
    let dockerfile = "FROM busybox\nRUN head -c 8 /dev/urandom > /a\nRUN cp /a /b\nFROM busybox\nCOPY --from=0 /b /c\nRUN sha256sum /c > /d\n";
    let (world, ended) = check(dockerfile, &["--json"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let steps: Vec<&str> =
        json["differences"].as_array().unwrap().iter().map(|found| found["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["RUN head -c 8 /dev/urandom > /a"]);
    assert_eq!(json["differences"][0]["verdict"], "not-deterministic");
    // What was found to be by chance is known to no later build, and nothing else is left.
    let first = world.run(["build", "context"]);
    assert!(!first.stderr.contains("CACHED"), "{}", first.stderr);
    world.fsck();
    assert_eq!(fs::read_dir(world.path("store/scratch")).unwrap().count(), 0);
}

#[test]
fn an_input_that_moves_is_told_from_a_step_that_does() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", "FROM busybox\nCOPY hello /hello\nRUN echo x > /x\n");
    world.write("context/hello", "hello\n");
    let mut command = world.command(["check", "--progress=plain", "context"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    // The first build has the context, and the second one has not.
    assert!(said.any(|line| line.unwrap().starts_with("#1 DONE")));
    world.write("next", "moved\n");
    fs::rename(world.path("next"), world.path("context/hello")).unwrap();
    said.for_each(|line| drop(line.unwrap()));
    let output = child.wait_with_output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{found}");
    for part in [
        "error: `COPY hello /hello` had another input",
        "Dockerfile:2:1",
        "`/hello`: content (6 bytes), bytes ",
        "moved: `hello` in the context was changed",
    ] {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
    assert_eq!(found.matches("error: ").count(), 1, "{found}");
}

#[test]
fn a_build_that_fails_is_an_error_and_keeps_nothing() {
    if !can_build() {
        return;
    }
    let (world, ended) = check("FROM busybox\nRUN exit 7\n", &["--quiet"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("ended with exit code 7"), "{}", ended.stderr);
    assert!(ended.stderr.contains("after `rebit build`, `rebit debug`"), "{}", ended.stderr);
    assert_ne!(world.run(["debug"]).code, 0);
    let (_, ended) =
        check("FROM busybox\nRUN test \"$(busybox nproc)\" != 1 || test -e /nothing\n", &["--quiet"]);
    if std::thread::available_parallelism().map_or(1, usize::from) > 1 {
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("the first build succeeded, but the second build failed"),
            "{}",
            ended.stderr
        );
    }
}
