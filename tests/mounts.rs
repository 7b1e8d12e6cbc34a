//! `RUN --mount`: what steps see and what never reaches an image, a key or the store.

use std::fs;

use crate::support::{World, can_build};

fn world(dockerfile: &str) -> World {
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", dockerfile);
    world.write("context/.dockerignore", "Dockerfile\n");
    world.write("context/data/file", "data\n");
    world.write("context/other", "other\n");
    world
}

fn build(world: &World, extra: &[&str]) -> (String, String) {
    let ended =
        world.run([&["build", "--progress=plain", "-t", "out", "-o", "files", "context"], extra].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    (ended.stdout.trim().to_owned(), ended.stderr)
}

#[test]
fn bound_trees_are_seen_and_what_is_written_to_them_is_gone() {
    if !can_build() {
        return;
    }
    let world = world(
        "FROM busybox AS tool
RUN mkdir /tool && echo tool > /tool/x
FROM busybox
RUN --mount=target=/ctx --mount=from=tool,source=/tool,target=/t --mount=source=other,target=/one \\
    cat /ctx/data/file /t/x /one > /seen && ! touch /ctx/new 2> /dev/null
RUN --mount=target=/ctx,rw touch /ctx/new && ls /ctx > /listed
RUN --mount=target=/ctx ls /ctx >> /listed
",
    );
    let (_, said) = build(&world, &[]);
    assert_eq!(fs::read_to_string(world.path("files/seen")).unwrap(), "data\ntool\nother\n", "{said}");
    assert_eq!(fs::read_to_string(world.path("files/listed")).unwrap(), "data\nnew\nother\ndata\nother\n");
    for place in ["ctx", "t", "one"] {
        assert!(!world.path("files").join(place).exists(), "the place of a mount is in the image");
    }
    assert!(!world.path("context/new").exists(), "a step wrote into the context itself");
    let (_, said) = build(&world, &[]);
    assert!(!said.contains(" DONE "), "{said}");
    // Only what is mounted counts: the last two steps mount all of the context.
    world.write("context/data/file", "changed\n");
    let (_, said) = build(&world, &[]);
    assert!(said.contains("RUN mkdir /tool") && said.matches(" DONE ").count() == 3, "{said}");
    world.fsck();
}

#[test]
fn caches_stay_and_are_no_part_of_the_image() {
    if !can_build() {
        return;
    }
    let world = world(
        "FROM busybox
ARG ROUND
RUN --mount=type=cache,target=/cache,id=my-cache,mode=0750,uid=33 echo $ROUND >> /cache/log && stat -c '%a %u' /cache > /mode && cp /cache/log /log
RUN --mount=type=cache,target=/scratch,sharing=private ls /scratch > /private && touch /scratch/x
",
    );
    for round in 1..=3 {
        build(&world, &["--build-arg", &format!("ROUND={round}")]);
    }
    assert_eq!(fs::read_to_string(world.path("files/log")).unwrap(), "1\n2\n3\n");
    assert_eq!(fs::read_to_string(world.path("files/mode")).unwrap(), "750 33\n");
    assert!(!world.path("files/cache").exists());
    let caches: serde_json::Value = serde_json::from_str(&world.ok(["cache", "ls", "--json"])).unwrap();
    let names: Vec<_> =
        caches.as_array().unwrap().iter().map(|cache| cache["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["/scratch", "my-cache"]);
    world.ok(["cache", "rm", "my-cache"]);
    build(&world, &["--build-arg", "ROUND=4"]);
    assert_eq!(fs::read_to_string(world.path("files/log")).unwrap(), "4\n");
    assert_eq!(world.run(["cache", "rm", "none"]).code, 1);
    world.ok(["cache", "rm", "--all"]);
    world.fsck();
}

///
#[test]
fn secrets_reach_the_process_and_nothing_that_is_kept() {
    if !can_build() {
        return;
    }
    const SECRET: &str = "correct-horse-battery-staple";
    let world = world(
        "FROM busybox
RUN --mount=type=secret,id=key --mount=type=secret,id=key,env=KEY --mount=type=secret,id=key,target=/etc/key,mode=0444 \\
    stat -c '%a %u' /run/secrets/key > /mode && [ \"$KEY\" = \"$(cat /etc/key)\" ] && sha256sum < /etc/key > /sum
RUN --mount=type=secret,id=absent [ ! -e /run ] && ! printenv KEY
",
    );
    let key = world.write("key", SECRET);
    let (digest, _) = build(&world, &["--secret", &format!("id=key,src={}", key.display())]);
    assert_eq!(fs::read_to_string(world.path("files/mode")).unwrap(), "400 0\n");
    assert!(!world.path("files/etc/key").exists() && !world.path("files/run/secrets").exists());
    let mut found = Vec::new();
    search(&world.path("store"), SECRET.as_bytes(), &mut found);
    search(&world.path("files"), SECRET.as_bytes(), &mut found);
    assert!(found.is_empty(), "the secret is in {found:?}");
    // Another content of the secret is no reason to run the step again.
    let other = world.write("other-key", "another");
    let (again, said) = build(&world, &["--secret", &format!("id=key,src={}", other.display())]);
    assert_eq!((again, said.contains(" DONE ")), (digest, false), "{said}");
    // One that is needed and was not given is named.
    world.write("context/Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=key,required true\n");
    let ended = world.run(["build", "context"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("the secret `key` was not given") && ended.stderr.contains("Dockerfile:2:1"),
        "{}",
        ended.stderr
    );
}

fn search(directory: &std::path::Path, needle: &[u8], found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            search(&path, needle, found);
        } else if kind.is_file()
            && fs::read(&path).unwrap().windows(needle.len()).any(|bytes| bytes == needle)
        {
            found.push(path);
        }
    }
}

#[test]
fn memory_and_agents_are_mounted() {
    if !can_build() {
        return;
    }
    let world = world(
        "FROM busybox
RUN --mount=type=tmpfs,target=/memory,size=1048576 echo x > /memory/x && ! head -c 3000000 /dev/zero > /memory/big 2> /dev/null && ls /memory > /listed
RUN --mount=type=ssh [ -S \"$SSH_AUTH_SOCK\" ] && echo \"$SSH_AUTH_SOCK\" > /agent
RUN --mount=type=ssh stat -c '%a %u %g' $SSH_AUTH_SOCK > /modes
RUN --mount=type=ssh,target=/s,mode=0640,uid=33,gid=34 stat -c '%a %u %g' /s >> /modes
",
    );
    let socket = world.path("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    build(&world, &["--ssh", &format!("default={}", socket.display())]);
    assert_eq!(fs::read_to_string(world.path("files/listed")).unwrap(), "big\nx\n");
    assert!(fs::read_to_string(world.path("files/agent")).unwrap().starts_with("/run/buildkit/ssh_agent."));
    assert_eq!(fs::read_to_string(world.path("files/modes")).unwrap(), "600 0 0\n640 33 34\n");
    assert!(!world.path("files/memory").exists());
    world.fsck();
}
