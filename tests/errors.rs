//! What goes wrong is said once, with its place, and leaves the store usable.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{World, assert_nothing_mounted, can_build};

/// Builds a Dockerfile that must fail with `code`, and returns what was said.
fn fails(world: &World, dockerfile: &str, code: i32) -> String {
    world.write("context/Dockerfile", dockerfile);
    let ended = world.run(["build", "--progress=plain", "context"]);
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "an error says nothing on standard output");
    ended.stderr
}

#[test]
fn errors_in_a_dockerfile_show_their_place() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write("context/.dockerignore", "hidden\n");
    world.write("context/hidden", "");
    let check = |dockerfile: &str, parts: &[&str]| {
        let said = fails(&world, dockerfile, 1);
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in\n{said}");
        }
        let errors = said.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "one error is said once:\n{said}");
    };
    check("FROM busybox\nRUNN true\n", &["unknown-instruction", "Dockerfile:2:1", "RUN"]);
    check("FROM busybox\nCOPY none /x\n", &["`none` does not exist in the build context", "Dockerfile:2:1"]);
    check("FROM busybox\nCOPY hidden /x\n", &["`hidden` does not exist", ".dockerignore"]);
    world.write("context/requirements.txt", "");
    check("FROM busybox\nCOPY requirments.txt /x\n", &["hint: did you mean `requirements.txt`?"]);
    check("FROM busybox\nCOPY ./hiden /x\n", &["`./hiden` does not exist"]);
    check(
        "FROM busybox AS builder\nFROM busybox\nCOPY --from=bulder /etc/passwd /\n",
        &["`bulder:latest` is not available", "hint: did you mean the stage `builder`?"],
    );
    let secret = "FROM busybox\nRUN --mount=type=secret,id=token,required true\n";
    check(secret, &["the secret `token` was not given", "--secret id=token,src=FILE"]);
    check("FROM busybox\nRUN true\nRUN echo said; exit 7\n", &["exit code 7", "Dockerfile:3:1", "said"]);
    check("FROM busybox\nRUN [\"/none\"]\n", &["/none", "Dockerfile:2:1"]);
    check("FROM nothing:1\n", &["base image `nothing:1` is not available", "Dockerfile:1:6", "rebit import"]);
    check(
        "FROM busybox\nRUN --security=insecure true\n",
        &["RUN --security=insecure is not allowed", "Dockerfile:2:5", "--allow security.insecure"],
    );
    check("FROM busybox\nRUN echo > /tmp/.wh.x\n", &["`/tmp/.wh.x` cannot be in an image", "Dockerfile:2:1"]);
    check("FROM busybox\nUSER nobody\nRUN true\n", &["no user `nobody`", "Dockerfile:3:1"]);
    world.fsck();
    assert_nothing_mounted(world.dir.path());
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    let world = World::new();
    for args in [
        &["build"][..],
        &["none"],
        &["build", "--none", "."],
        &["build", "-t", "UPPER", "."],
        &["images", "--store"],
        &["import", "x:y", "oci:z"],
    ] {
        let ended = world.run(args);
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("error"), "{}", ended.stderr);
    }
    // A store that is only read is not made: a wrong path is noticed.
    let ended = world.run(["images"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("there is no store") && !world.path("store").exists(), "{}", ended.stderr);
    world.write("context/Dockerfile", "FROM scratch\nLABEL a=b\n");
    world.ok(["build", "-q", "context"]);
    let ended = world.run(["inspect", "none"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("there is no image `none`"), "{}", ended.stderr);
}

#[test]
fn a_full_store_refuses_and_stays_whole() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", "FROM busybox\nRUN head -c 30000000 /dev/urandom > /big\n");
    let ended = world.run(["--store-limit", "16M", "build", "context"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("is full") && ended.stderr.contains("rebit gc"), "{}", ended.stderr);
    world.fsck();
    world.ok(["gc", "--keep", "0s", "--checkouts"]);
    assert_eq!(world.ok(["run", "busybox", "/bin/echo", "alive"]), "alive\n");
}

#[test]
fn a_full_disk_refuses_and_stays_whole() {
    if !can_build() {
        return;
    }
    let world = World::new();
    fs::create_dir(world.path("small")).unwrap();
    // In a mount namespace of its own, so that nothing can stay mounted.
    let script = format!(
        "mount -t tmpfs -o size=24m none small && {rebit} import --rootfs busybox.tar store:busybox && \
         {rebit} build context; code=$?; {rebit} fsck && {rebit} run busybox /bin/echo alive; exit $code",
        rebit = crate::support::REBIT
    );
    let maker = World::new().with_busybox();
    fs::copy(maker.path("busybox.tar"), world.path("busybox.tar")).unwrap();
    world.write("context/Dockerfile", "FROM busybox\nRUN head -c 60000000 /dev/urandom > /big\n");
    let ended = crate::support::ended(
        std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .current_dir(world.dir.path())
            .env("REBIT_STORE", world.path("small/store")),
    );
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("no damage") && ended.stdout.ends_with("alive\n"),
        "{}\n{}",
        ended.stdout,
        ended.stderr
    );
}

#[test]
fn a_stopped_build_leaves_nothing_behind() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write(
        "context/Dockerfile",
        "FROM busybox\nRUN (trap '' INT TERM; sleep 1234) & echo started; sleep 1234\n",
    );
    let mut child =
        world.command(["build", "--progress=plain", "context"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.by_ref().any(|line| line.unwrap().contains(" started")), "the step did not start");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() > Duration::from_secs(20) => panic!("the build does not stop"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert_eq!(status.code(), Some(130));
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
    assert!(!processes().contains("sleep\x001234"), "a child of the step is still there");
    assert_nothing_mounted(world.dir.path());
    assert_eq!(fs::read_dir(world.path("store/scratch")).map_or(0, Iterator::count), 0);
    world.fsck();
}

/// The command lines of all processes.
fn processes() -> String {
    let mut all = String::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        all.push_str(&fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default());
        all.push('\n');
    }
    all
}

#[test]
fn a_damaged_store_names_what_is_damaged_and_can_be_mended() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    let pack = fs::read_dir(world.path("store/packs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&pack, &bytes).unwrap();
    let ended = world.run(["fsck"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("damaged: ") && ended.stderr.contains(&*pack.to_string_lossy()),
        "{}",
        ended.stderr
    );
    // Whatever needs the damaged bytes says so and does not hand them out.
    let uses: [&[&str]; 2] = [&["verify", "store:busybox"], &["run", "busybox", "/bin/echo", "alive"]];
    let failed = uses.iter().map(|args| world.run(*args)).filter(|ended| ended.code != 0).count();
    assert!(failed > 0, "damage was not noticed");
    // What is damaged is forgotten, imported again, and then nothing needs the damaged bytes any more.
    world.run(["fsck", "--repair"]);
    let world = world.with_busybox_again();
    world.ok(["gc"]);
    world.fsck();
    assert_eq!(world.ok(["run", "busybox", "/bin/echo", "alive"]), "alive\n");
}

impl World {
    fn with_busybox_again(self) -> Self {
        self.ok(["import", "--rootfs", "busybox.tar", "store:busybox"]);
        self
    }
}
