//! Options of `rebit build` that change what steps see or what is done again, and `rebit debug`.

use std::fs;

use crate::support::{World, can_build};

fn world(dockerfile: &str) -> World {
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", dockerfile);
    world.write("context/file", "file\n");
    world
}

#[test]
fn limits_and_shared_memory_reach_steps_and_their_keys() {
    if !can_build() {
        return;
    }
    let world = world(
        "FROM busybox
RUN sh -c 'ulimit -n; ulimit -Hn; ulimit -c' > /limits
RUN stat -f -c '%b %S' /dev/shm > /shm
",
    );
    let build = |extra: &[&str]| {
        let ended = world
            .run([&["build", "--progress=plain", "-t", "out", "-o", "files", "context"], extra].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let shm = fs::read_to_string(world.path("files/shm")).unwrap();
        let (blocks, size) = shm.trim().split_once(' ').unwrap();
        let shm: u64 = blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap();
        (fs::read_to_string(world.path("files/limits")).unwrap(), shm, ended.stderr)
    };
    let (_, shm, _) = build(&[]);
    assert_eq!(shm, 64 << 20);
    let limited = ["--ulimit", "nofile=99:111", "--ulimit", "core=0", "--shm-size", "1m"];
    let (limits, shm, _) = build(&limited);
    assert_eq!((limits.as_str(), shm), ("99\n111\n0\n", 1 << 20));
    let (_, _, said) = build(&limited);
    assert!(!said.contains(" DONE "), "{said}");
    let refused = world.run(["build", "--ulimit", "files=1", "context"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("`files` is no resource"), "{}", refused.stderr);
}

#[test]
fn an_unconfined_step_has_to_be_allowed() {
    if !can_build() {
        return;
    }
    let world = world(
        "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status > /caps\nRUN grep CapEff /proc/self/status >> /caps\n",
    );
    let refused = world.run(["build", "context"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow security.insecure allows it"), "{}", refused.stderr);
    world.ok(["build", "--allow", "security.insecure", "-t", "out", "-o", "files", "context"]);
    let caps = fs::read_to_string(world.path("files/caps")).unwrap();
    let caps: Vec<u64> = caps
        .lines()
        .map(|line| u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap())
        .collect();
    let sys_admin = 1 << 21;
    assert!(caps[0] & sys_admin != 0 && caps[1] & sys_admin == 0, "{caps:x?}");
    assert_eq!(world.run(["build", "--allow", "all", "context"]).code, 2);
}

#[test]
fn the_cache_is_left_aside_for_the_stages_that_are_named() {
    if !can_build() {
        return;
    }
    let world = world(
        "FROM busybox AS one
RUN echo one > /one
FROM busybox AS two
RUN echo two > /two
FROM busybox
COPY --from=one /one /
COPY --from=two /two /
",
    );
    let build = |extra: &[&str]| {
        let ended = world.run([&["build", "--progress=plain", "-t", "out", "context"], extra].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        (ended.stdout, ended.stderr)
    };
    let (digest, _) = build(&[]);
    let (again, said) = build(&["--no-cache-filter", "two"]);
    assert_eq!(again, digest);
    assert!(said.matches(" DONE ").count() == 1 && said.contains("RUN echo two"), "{said}");
    let (_, said) = build(&["--no-cache-filter=one,2"]);
    assert_eq!(said.matches(" DONE ").count(), 3, "{said}");
    let unknown = world.run(["build", "--no-cache-filter", "three", "context"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("no stage `three`"), "{}", unknown.stderr);
}

#[test]
fn annotations_are_in_the_manifest() {
    if !can_build() {
        return;
    }
    let world = world("FROM busybox\nCOPY file /\n");
    let plain = world.ok(["build", "-t", "out", "context"]);
    let args = ["build", "--annotation", "z=1", "--annotation", "manifest:a=x=y", "-t", "out", "context"];
    let annotated = world.ok(args);
    assert_ne!(plain, annotated);
    let manifest = world.ok(["inspect", "out", "--raw", "manifest"]);
    assert!(manifest.starts_with(r#"{"annotations":{"a":"x=y","z":"1"},"config""#), "{manifest}");
    assert_eq!(world.run(["build", "--annotation", "index:a=b", "context"]).code, 2);
}

#[test]
fn an_image_for_another_platform_is_built_where_nothing_is_run() {
    if !can_build() {
        return;
    }
    let world = world(
        "ARG TARGETPLATFORM BUILDPLATFORM
FROM --platform=linux/amd64 scratch AS files
COPY file /
FROM scratch
ARG TARGETARCH TARGETVARIANT
COPY --from=files /file /$TARGETARCH$TARGETVARIANT
",
    );
    world.ok(["build", "--platform", "linux/arm/v6", "-t", "out", "-o", "files", "context"]);
    assert_eq!(fs::read_to_string(world.path("files/armv6")).unwrap(), "file\n");
    let config = world.ok(["inspect", "out", "--raw", "config"]);
    for part in [r#""architecture":"arm""#, r#""os":"linux""#, r#""variant":"v6""#] {
        assert!(config.contains(part), "{config}");
    }
    // The base is there for one platform only.
    world.write("context/Dockerfile", "FROM --platform=linux/arm64 busybox\nRUN true\n");
    let wrong = world.run(["build", "context"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("linux/arm64"), "{}", wrong.stderr);
    // A file of another kind of processor says so; of one (FR-V) that no emulator is registered for.
    world.write("context/Dockerfile", "FROM busybox\nCOPY --chmod=755 file /tool\nRUN [\"/tool\"]\n");
    world.write("context/file", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x41\x54");
    let wrong = world.run(["build", "context"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("another kind of processor"), "{}", wrong.stderr);
}

#[test]
fn a_failed_step_can_be_looked_at() {
    if !can_build() {
        return;
    }
    let world = world(
        "FROM busybox AS base
RUN mkdir /made && echo below > /made/below && echo gone > /gone
WORKDIR /work
ENV NAME=value
USER web
RUN --mount=target=/ctx --mount=type=secret,id=key,required --mount=type=tmpfs,target=/t \\
    sh -c 'echo left > /tmp/left; exit 7'
",
    );
    world.write("key", "hush");
    let none = world.run(["debug"]);
    assert!(none.code == 1 && none.stderr.contains("no failed RUN step is kept"), "{}", none.stderr);
    let secret = ["--secret", "id=key,src=key"];
    let failed = world.run([&["build", "context"][..], &secret].concat());
    assert!(failed.code == 1 && failed.stderr.contains("`rebit debug`"), "{}", failed.stderr);
    let look = "id -u; pwd; cat /tmp/left /made/below /ctx/file; echo $NAME; touch /t/x && echo in > /tmp/in";
    let program = ["--", "/bin/sh", "-c", look];
    let seen = world.run([&["debug"][..], &secret, &program].concat());
    assert_eq!(seen.stdout, "33\n/work\nleft\nbelow\nfile\nvalue\n", "{}", seen.stderr);
    assert_eq!(seen.code, 0, "{}", seen.stderr);
    assert!(seen.stderr.contains("exit code 7"), "{}", seen.stderr);
    // What was changed is gone, the program's code is the command's, and without the secret the step cannot be set up.
    let args = [&["debug", "context"][..], &secret, &["--", "/bin/sh", "-c", "test ! -e /tmp/in && exit 9"]];
    assert_eq!(world.run(args.concat()).code, 9);
    let without = world.run(["debug", "--", "/bin/true"]);
    assert!(without.code == 125 && without.stderr.contains("key"), "{}", without.stderr);
    // The step's shell is the default, and standard input is the caller's.
    let mut shell = world.command([&["debug"][..], &secret].concat());
    let mut child =
        shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"cat /tmp/left; exit 3\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"left\n"[..]));
    // A build that succeeds forgets it.
    world.write("context/Dockerfile", "FROM busybox\nRUN true\n");
    world.ok(["build", "context"]);
    assert_eq!(world.run(["debug", "context"]).code, 1);
    world.fsck();
}
