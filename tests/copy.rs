//! The flags of `COPY` and `ADD`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::support::{World, can_build, ended};

fn world(files: &[&str]) -> World {
    let world = World::new().with_busybox();
    for file in files {
        world.write(&format!("context/{file}"), file);
    }
    world
}

/// Builds `dockerfile` and returns what was said.
fn build(world: &World, dockerfile: &str) -> String {
    world.write("Dockerfile", dockerfile);
    let built = world.run(["build", "--progress=plain", "-f", "Dockerfile", "-t", "out", "context"]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    built.stderr
}

/// What a script says in the image that was built.
fn shell(world: &World, script: &str) -> String {
    world.ok(["run", "out", "/bin/sh", "-c", script])
}

#[test]
fn exclusions_leave_out_what_they_match() {
    if !can_build() {
        return;
    }
    let world = world(&[
        "home.txt",
        "homes.md",
        "src/a.rs",
        "src/a.o",
        "src/sub/b.o",
        "src/target/x",
        "src/target/keep",
    ]);
    let dockerfile = "FROM busybox
COPY --exclude=*.txt home* /mydir/
COPY --exclude=*.o --exclude=target --exclude=!target/keep src /src
ADD --exclude=**/*.o --exclude=target src /added
";
    build(&world, dockerfile);
    assert_eq!(shell(&world, "ls /mydir"), "homes.md\n");
    let listed = "/added:\na.rs\nsub\n\n/added/sub:\n\n/src:\na.rs\nsub\ntarget\n\n/src/sub:\nb.o\n\n/src/target:\nkeep\n";
    assert_eq!(shell(&world, "ls -R /added /src"), listed);

    // What is left out may change.
    world.write("context/src/target/x", "changed");
    world.write("context/home.txt", "changed");
    let said = build(&world, dockerfile);
    assert_eq!(said.matches("CACHED").count(), 3, "{said}");
    // What is not, may not; and neither may the patterns.
    world.write("context/src/target/keep", "changed");
    let said = build(&world, dockerfile);
    assert_eq!(shell(&world, "cat /src/target/keep"), "changed");
    assert_eq!(said.matches("CACHED").count(), 1, "{said}");
    let said = build(&world, &dockerfile.replace("--exclude=!target/keep ", ""));
    assert_eq!(shell(&world, "ls /src"), "a.rs\nsub\n");
    assert_eq!(said.matches("CACHED").count(), 1, "{said}");
    world.fsck();
}

#[test]
fn parents_are_kept_from_where_the_path_says() {
    if !can_build() {
        return;
    }
    let world = world(&[
        "x/a.txt",
        "y/a.txt",
        "deep/one/Cargo.toml",
        "deep/two/three/Cargo.toml",
        "deep/two/src/lib.rs",
    ]);
    fs::set_permissions(world.path("context/y"), fs::Permissions::from_mode(0o711)).unwrap();
    let dockerfile = "FROM busybox AS base
RUN mkdir -p /opt/a/b && echo base > /opt/a/b/c && chown -R 3:4 /opt/a && chmod 700 /opt/a/b
FROM busybox
COPY ./x/a.txt ./y/a.txt /flat/
COPY --parents ./x/a.txt ./y/a.txt /parents/
COPY --parents **/Cargo.toml /manifests/
COPY --parents deep/./two/src /pivot/
COPY --from=base --parents /opt/./a/b/c /
WORKDIR /w
COPY --parents --exclude=**/lib.rs deep/two .
";
    build(&world, dockerfile);
    assert_eq!(shell(&world, "cd /flat && cat *"), "y/a.txt");
    assert_eq!(
        shell(&world, "cd /parents && cat x/a.txt y/a.txt && stat -c ' %a' . y"),
        "x/a.txty/a.txt 755\n 711\n"
    );
    let listed = "/manifests/deep:\none\ntwo\n\n/manifests/deep/one:\nCargo.toml\n\n/manifests/deep/two:\nthree\n\n/manifests/deep/two/three:\nCargo.toml\n";
    assert_eq!(shell(&world, "ls -R /manifests/deep"), listed);
    assert_eq!(shell(&world, "cat /pivot/two/src/lib.rs"), "deep/two/src/lib.rs");
    assert_eq!(
        shell(&world, "cat /a/b/c && stat -c '%a %u %g' /a /a/b /a/b/c"),
        "base\n755 3 4\n700 3 4\n644 3 4\n"
    );
    assert_eq!(
        shell(&world, "cd /w/deep/two && ls -R"),
        ".:\nsrc\nthree\n\n./src:\n\n./three:\nCargo.toml\n"
    );

    world.write("Dockerfile", "FROM busybox\nCOPY --parents x/none /parents/\n");
    let failed = world.run(["build", "-f", "Dockerfile", "context"]);
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("`x/none` does not exist in the build context"), "{}", failed.stderr);
    world.fsck();
}

#[test]
fn linked_copies_are_layers_on_their_own() {
    if !can_build() {
        return;
    }
    let world = world(&["one", "d/x", "d/s/y"]);
    let dockerfile = "FROM busybox
RUN mkdir -p /there/e /file && ln -s /there /alias && echo old > /there/s && echo z > /file/z && chmod 700 /there && chown 3:4 /there
COPY --link one /alias/one
COPY --link d /there
COPY --link one /file
COPY --link --chown=7:8 one /made/owned
COPY --link=false one /there/e
RUN cat /alias/one /there/e/one /there/x /there/s/y
";
    let flat = dockerfile.replace("RUN cat /alias/one /there/e/one /there/x /there/s/y\n", "");
    build(&world, dockerfile);
    assert_eq!(shell(&world, "cat /alias/one /there/e/one /file /there/x /there/s/y"), "oneoneoned/xd/s/y");
    assert_eq!(shell(&world, "stat -c '%F %a %u %g' /alias"), "directory 755 0 0\n");
    assert_eq!(shell(&world, "stat -c '%a %u %g' /there"), "755 0 0\n");
    assert_eq!(shell(&world, "stat -c '%a %u %g' /made /made/owned"), "755 7 8\n644 7 8\n");
    world.fsck();

    // The layers say the same as the trees.
    build(&world, &flat);
    world.ok(["export", "store:out", "oci-archive:out.tar"]);
    world.ok(["--store", "other", "import", "oci-archive:out.tar", "store:out"]);
    let listed = "cd / && ls -lR alias there file made";
    let there = world.ok(["--store", "other", "run", "out", "/bin/sh", "-c", listed]);
    assert_eq!(there, shell(&world, listed));

    world.write("Dockerfile", "FROM busybox\nCOPY --link --chown=web one /one\n");
    let failed = world.run(["build", "-f", "Dockerfile", "context"]);
    assert_ne!(failed.code, 0);
    assert!(failed.stderr.contains("`web` is not an owner for --link"), "{}", failed.stderr);
}

#[test]
fn archives_have_an_owner_when_one_is_named() {
    if !can_build() {
        return;
    }
    let world = world(&["in/a/f", "in/b/g"]);
    symlink("f", world.path("context/in/a/l")).unwrap();
    for (name, flag) in [("a", "-cf"), ("b", "-czf")] {
        let mut tar = Command::new("tar");
        tar.args(["--owner=5", "--group=6", "--mode=u=rwX,go=", flag])
            .arg(world.path(&format!("context/{name}.t")));
        let made = ended(tar.args(["-C", "in", name]).current_dir(world.path("context")));
        assert_eq!(made.code, 0, "{}", made.stderr);
    }
    let dockerfile = "FROM busybox
ADD a.t b.t /both/
ADD --chown=web:34 --chmod=0777 *.t /owned/
ADD --unpack=false a.t b.t /packed/
ADD --unpack=true a.t /root/
";
    build(&world, dockerfile);
    assert_eq!(
        shell(&world, "cd /both && stat -c '%a %u %g %n' . a a/f b/g"),
        "755 0 0 .\n700 5 6 a\n600 5 6 a/f\n600 5 6 b/g\n"
    );
    assert_eq!(
        shell(&world, "cd /owned && stat -c '%a %u %g %n' . a a/f a/l b/g"),
        "755 33 34 .\n700 33 34 a\n600 33 34 a/f\n777 33 34 a/l\n600 33 34 b/g\n"
    );
    assert_eq!(shell(&world, "ls /packed; ls -d /root/a; stat -c %a /root"), "a.t\nb.t\n/root/a\n700\n");

    world.write("Dockerfile", "FROM busybox\nADD --checksum=sha256:00 a.t /x\n");
    let failed = world.run(["build", "-f", "Dockerfile", "context"]);
    assert_ne!(failed.code, 0);
    assert!(
        failed.stderr.contains("`a.t` is not a remote source, which --checksum needs"),
        "{}",
        failed.stderr
    );
    world.fsck();
}
