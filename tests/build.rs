//! Building: what is run, what is not, and what comes out.

use std::fs;

use crate::support::{World, can_build};

const DOCKERFILE: &str = "FROM busybox AS unused
RUN echo unused > /unused && exit 1
FROM busybox AS build
WORKDIR /src
COPY . .
RUN cat a.txt b.txt > /out && echo built
FROM scratch
COPY --from=build /out /out
CMD [\"/out\"]
";

fn world() -> World {
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", DOCKERFILE);
    world.write("context/.dockerignore", "Dockerfile\n.dockerignore\nignored\n");
    world.write("context/a.txt", "a\n");
    world.write("context/b.txt", "b\n");
    world.write("context/ignored", "1\n");
    world
}

/// Builds and returns the digest and what was said.
fn build(world: &World) -> (String, String) {
    let ended = world.run(["build", "--progress=plain", "-t", "out", "context"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    (ended.stdout.trim().to_owned(), ended.stderr)
}

fn ran(said: &str) -> Vec<&str> {
    let done: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" DONE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    said.lines()
        .filter(|line| line.contains('['))
        .filter(|line| done.iter().any(|number| line.split(' ').next() == Some(number)))
        .filter_map(|line| line.split_once("] ").map(|(_, step)| step))
        .collect()
}

#[test]
fn only_what_changed_is_run_again() {
    if !can_build() {
        return;
    }
    let world = world();
    let (first, said) = build(&world);
    assert_eq!(ran(&said).len(), 4, "{said}");
    assert!(!said.contains("unused"), "a stage that is not needed was run: {said}");

    let (again, said) = build(&world);
    assert_eq!((again.as_str(), ran(&said).len()), (first.as_str(), 0), "{said}");
    assert_eq!(said.matches("CACHED").count(), 4, "{said}");

    // Touched, and ignored files changed: nothing is run.
    world.write("context/a.txt", "a\n");
    world.write("context/ignored", "2\n");
    let (touched, said) = build(&world);
    assert_eq!((touched.as_str(), ran(&said).len()), (first.as_str(), 0), "{said}");

    // Changed: what depends on it is run, and nothing before it.
    world.write("context/a.txt", "A\n");
    let (changed, said) = build(&world);
    assert_ne!(changed, first);
    assert_eq!(
        ran(&said),
        ["COPY . .", "RUN cat a.txt b.txt > /out && echo built", "COPY --from=build /out /out"],
        "{said}"
    );

    // Changed without effect on the output: the step is run, and what follows it is known.
    world.write("context/a.txt", "A\nb\n");
    world.write("context/b.txt", "");
    let (same, said) = build(&world);
    assert_eq!(same, changed, "{said}");
    assert_eq!(ran(&said).len(), 2, "early cutoff did not happen: {said}");
    world.fsck();
}

#[test]
fn the_result_holds_what_was_copied_and_nothing_else() {
    if !can_build() {
        return;
    }
    let world = world();
    world.ok(["build", "-q", "-o", "type=local,dest=files", "context"]);
    let names: Vec<_> = fs::read_dir(world.path("files")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["out"]);
    assert_eq!(fs::read_to_string(world.path("files/out")).unwrap(), "a\nb\n");
}

#[test]
fn a_process_sees_a_fixed_world_and_leaves_no_trace_of_it() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    let script = "FROM busybox
RUN hostname > /seen && umask >> /seen && pwd >> /seen && id -u >> /seen && env | sort >> /seen && ls /proc/1/cmdline >> /seen
RUN true
USER web
WORKDIR /made
RUN id > /tmp/web && pwd >> /tmp/web
";
    world.write("context/Dockerfile", script);
    world.ok(["build", "-q", "-o", "files", "context"]);
    let seen = fs::read_to_string(world.path("files/seen")).unwrap();
    let expected = "rebit\n0022\n/\n0\nHOME=/root\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nSHLVL=1\nSOURCE_DATE_EPOCH=315532800\n/proc/1/cmdline\n";
    assert_eq!(seen, expected);
    let web = fs::read_to_string(world.path("files/tmp/web")).unwrap();
    assert_eq!(web, "uid=33(web) gid=34(web)\n/made\n");
    for stub in ["proc", "sys", "dev", "etc/hosts", "etc/resolv.conf"] {
        assert!(!world.path("files").join(stub).exists(), "`{stub}` is in the image");
    }
}

#[test]
fn copies_follow_the_rules_of_the_reference() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    for file in ["d/x", "d/sub/y", "one", "two.txt", "three.txt"] {
        world.write(&format!("context/{file}"), file);
    }
    std::os::unix::fs::symlink("d", world.path("context/link")).unwrap();
    let dockerfile = "FROM busybox
RUN mkdir -p /exists/sub && ln -s /exists /alias && echo old > /exists/x
COPY d /exists
COPY one /alias/renamed
COPY *.txt /texts/
COPY link /linked
COPY --chown=web:34 --chmod=0600 one /owned
COPY --chown=7 d /numbers
COPY <<inline /inline
text
inline
ADD one /added/
";
    world.write("context/Dockerfile", dockerfile);
    world.ok(["build", "-q", "-t", "copies", "context"]);
    let shell = |script: &str| world.ok(["run", "copies", "/bin/sh", "-c", script]);
    assert_eq!(shell("cd /exists && cat x sub/y renamed"), "d/xd/sub/yone");
    assert_eq!(shell("ls /texts /linked"), "/linked:\nsub\nx\n\n/texts:\nthree.txt\ntwo.txt\n");
    assert_eq!(shell("stat -c '%a %u %g' /owned /numbers/sub/y /numbers"), "600 33 34\n644 7 7\n755 7 7\n");
    assert_eq!(shell("cat /inline /added/one"), "text\none");
}

#[test]
fn archives_are_unpacked_by_add_and_not_by_copy() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write("in/a/b", "content");
    let tar = std::process::Command::new("tar")
        .args(["-czf", "context.tgz", "--owner=5", "--group=6", "-C", "in", "a"])
        .current_dir(world.dir.path())
        .status()
        .unwrap();
    assert!(tar.success());
    fs::create_dir(world.path("context")).unwrap();
    fs::rename(world.path("context.tgz"), world.path("context/a.tgz")).unwrap();
    world.write("context/Dockerfile", "FROM busybox\nADD a.tgz /added\nCOPY a.tgz /copied\n");
    world.ok(["build", "-q", "-t", "archives", "context"]);
    let shown = world.ok([
        "run",
        "archives",
        "/bin/sh",
        "-c",
        "cat /added/a/b; stat -c ' %u %g %F' /added/a/b /copied",
    ]);
    assert_eq!(shown, "content 5 6 regular file\n 0 0 regular file\n");
}

#[test]
fn removals_and_replacements_reach_the_image() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    let dockerfile = "FROM busybox
RUN mkdir -p /d/e /f && echo 1 > /d/e/x && echo 2 > /d/y && echo 3 > /f/z && ln /f/z /f/hard
RUN rm -r /d && mkdir /d && echo 4 > /d/new && rm /f/z && rm -r /tmp && ln -s /d /tmp
RUN ls -R /d /f && cat /tmp/new
";
    world.write("context/Dockerfile", dockerfile);
    world.ok(["build", "-q", "-t", "removed", "-o", "type=oci,dest=out.tar", "context"]);
    world.ok(["verify", "oci-archive:out.tar"]);
    // In another store the trees come from the layers alone.
    world.ok(["--store", "other", "import", "oci-archive:out.tar", "store:removed"]);
    for store in ["store", "other"] {
        let shown = world.ok([
            "--store",
            store,
            "run",
            "removed",
            "/bin/sh",
            "-c",
            "ls -R /d /f; cat /tmp/new /f/hard",
        ]);
        assert_eq!(shown, "/d:\nnew\n\n/f:\nhard\n4\n3\n", "{store}");
    }
}

#[test]
fn an_image_without_a_name_is_found_by_its_digest() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.write("context/Dockerfile", "FROM busybox\nCMD [\"/bin/echo\", \"unnamed\"]\n");
    let digest = world.ok(["build", "-q", "context"]);
    assert_eq!(world.ok(["run", digest.trim()]), "unnamed\n");
    world.ok(["tag", digest.trim(), "named"]);
    assert_eq!(world.ok(["run", "named"]), "unnamed\n");
    world.ok(["rm", "named"]);
    world.ok(["gc", "--keep", "0s"]);
    assert_eq!(world.run(["run", digest.trim()]).code, 1, "gc kept an image that nobody named");
}

#[test]
fn the_exit_code_of_a_program_is_passed_on() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    let code = |args: &[&str]| world.run([&["run", "busybox"], args].concat()).code;
    assert_eq!(code(&["/bin/sh", "-c", "exit 42"]), 42);
    assert_eq!([code(&["/bin/none"]), code(&["/etc/passwd"])], [127, 126]);
}

#[test]
fn an_archive_goes_to_standard_output() {
    if !can_build() {
        return;
    }
    let world = World::new();
    world.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let output = world.command(["build", "-q", "-o", "type=oci,dest=-", "context"]).output().unwrap();
    assert!(output.status.success());
    world.write("out.tar", &output.stdout);
    world.ok(["verify", "oci-archive:out.tar"]);
    assert!(!world.path("-").exists());
}

#[test]
fn a_step_that_is_executed_says_why() {
    if !can_build() {
        return;
    }
    let world = world();
    build(&world);
    world.write("context/a.txt", "changed\n");
    let (_, said) = build(&world);
    assert!(said.contains("because content of `a.txt` changed"), "{said}");
    assert!(said.contains("because the file system that the steps before it leave is another one"), "{said}");
    world.write("context/Dockerfile", DOCKERFILE.replace("echo built", "echo rebuilt"));
    build(&world);
    let why = world.ok(["why", "context"]);
    assert!(why.contains("COPY . .: known") && why.contains("argument changed from"), "{why}");
    assert!(why.contains("echo rebuilt"), "{why}");
    let steps: serde_json::Value = serde_json::from_str(&world.ok(["why", "--json", "context"])).unwrap();
    assert_eq!(steps.as_array().unwrap().len(), 4, "{steps}");
    assert_eq!(world.run(["why", "none"]).code, 1);
}

#[test]
fn two_builds_of_the_same_do_the_work_once() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    // A cache mount is what both executions would leave a trace in.
    world.write(
        "context/Dockerfile",
        "FROM busybox\nRUN --mount=type=cache,target=/c echo run >> /c/log && sleep 1 && cp /c/log /log\n",
    );
    let spawn =
        || world.command(["build", "-q", "context"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let builds = [spawn(), spawn(), spawn()];
    let outputs = builds.map(|build| build.wait_with_output().unwrap());
    let digests: Vec<_> =
        outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).collect();
    assert!(
        outputs.iter().all(|output| output.status.success())
            && digests.iter().all(|digest| *digest == digests[0])
    );
    assert_eq!(world.ok(["run", digests[0].trim(), "/bin/cat", "/log"]), "run\n");
    world.fsck();
}

#[test]
fn independent_stages_are_built_at_the_same_time() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    // Each stage waits for a sign of the other, which only comes when both run.
    let stage = |own: &str, other: &str| {
        format!(
            "FROM busybox AS {own}\nRUN --mount=type=cache,target=/c,id=signs touch /c/{own} && \
             for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /c/{other} ] && exit 0; sleep 1; done; exit 1\nRUN echo {own} > /{own}\n"
        )
    };
    let dockerfile = format!(
        "{}{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        stage("one", "two"),
        stage("two", "one")
    );
    world.write("context/Dockerfile", dockerfile);
    let parallel = world.ok(["build", "-q", "--jobs", "2", "context"]);
    let again = world.ok(["build", "-q", "--jobs", "1", "--no-cache", "context"]);
    assert_eq!(parallel, again, "the digest depends on the number of jobs");
    world.fsck();
}
