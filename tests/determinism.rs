//! The same digest under everything that differs between two machines.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::{Ended, REBIT, World, can_build, ended, has, skip};

const DOCKERFILE: &str = "FROM busybox AS build
WORKDIR /src
COPY . .
RUN ls -l > /dev/null && cat */* > all && mkdir -p /made/z /made/a && for i in 9 1 5 3; do echo $i > /made/a/$i; done && ln all /made/hard && ln -s all soft && mkfifo /made/fifo && chown 33:34 /made/a/1
FROM scratch
COPY --from=build /made /made
COPY --from=build --chown=1:2 /src /src
LABEL x=y
";

fn context(world: &World, umask: u32) {
    for (name, content) in [("b/one", "1"), ("a/two", "2"), ("a/three", "3")] {
        let path = world.write(&format!("context/{name}"), content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666 & !umask)).unwrap();
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777 & !umask)).unwrap();
    }
    let tool = world.write("context/b/tool", "#!");
    fs::set_permissions(tool, fs::Permissions::from_mode(0o777 & !umask)).unwrap();
    world.write("context/Dockerfile", DOCKERFILE);
}

fn digest(ended: &Ended) -> String {
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.trim().to_owned()
}

/// The digest of this input for layer format 1.
const GOLDEN: &str = "sha256:6d44c967aabc752211c8e9f6b9aeb3f7c7415cfc9c1db98673487458506aedcd";

#[test]
fn one_digest_under_every_perturbation() {
    if !can_build() {
        return;
    }
    // The base holds the machine's own busybox, so only what lies on top of `scratch` has a golden digest.
    let mut digests = Vec::new();
    // Name, umask, variables, and a command to run it by.
    type Variant = (&'static str, u32, &'static [(&'static str, &'static str)], &'static [&'static str]);
    let variants: [Variant; 6] = [
        ("plain", 0o022, &[], &[]),
        ("umask 002", 0o002, &[("LANG", "de_DE.UTF-8"), ("LC_ALL", "tr_TR.UTF-8")], &[]),
        (
            "umask 000, time zone",
            0o000,
            &[("TZ", "Pacific/Kiritimati"), ("USER", "someone"), ("HOSTNAME", "h")],
            &[],
        ),
        ("one processor", 0o022, &[("RAYON_NUM_THREADS", "1")], &["taskset", "-c", "0"]),
        ("two processors", 0o022, &[("RAYON_NUM_THREADS", "2")], &[]),
        (
            "host name",
            0o022,
            &[("TMPDIR", "/var/tmp")],
            &["unshare", "--uts", "sh", "-c", "hostname elsewhere; exec \"$@\"", "sh"],
        ),
    ];
    for (name, umask, variables, prefix) in variants {
        let world = World::new().with_busybox();
        context(&world, umask);
        let mut command = world.command(["build", "-q", "context"]);
        if let Some((program, rest)) = prefix.split_first() {
            let mut wrapped = Command::new(program);
            wrapped.args(rest).arg(REBIT).args(["build", "-q", "context"]).current_dir(world.dir.path());
            wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command = wrapped;
        }
        digests.push((name, digest(&ended(command.envs(variables.iter().copied())))));
        world.fsck();
    }
    for (name, digest) in &digests {
        assert_eq!(digest, GOLDEN, "{name}");
    }
}

#[test]
fn rootless_gives_the_digest_that_root_gives() {
    if !can_build() || !has("newuidmap") || !has("setpriv") {
        return;
    }
    let Some((uid, gid)) = user("rebit-test") else {
        skip("needs the user rebit-test with subordinate ids");
        return;
    };
    let world = World::new().with_busybox();
    context(&world, 0o022);
    let home = world.path("home");
    fs::create_dir(&home).unwrap();
    fs::rename(world.path("context"), home.join("context")).unwrap();
    fs::copy(world.path("busybox.tar"), home.join("busybox.tar")).unwrap();
    let program = home.join("rebit");
    fs::copy(REBIT, &program).unwrap();
    let owned = ended(Command::new("chown").args(["-R", &format!("{uid}:{gid}")]).arg(&home));
    assert_eq!(owned.code, 0, "{}", owned.stderr);
    let rootless = |args: &[&str]| {
        let ids = [format!("--reuid={uid}"), format!("--regid={gid}")];
        let mut command = Command::new("setpriv");
        command.args(ids).arg("--clear-groups").arg("--").arg(&program).args(args).current_dir(&home);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &home);
        ended(&mut command)
    };
    digest(&rootless(&["import", "--rootfs", "busybox.tar", "store:busybox"]));
    assert_eq!(digest(&rootless(&["build", "-q", "context"])), GOLDEN);
    assert_eq!(
        rootless(&["run", "busybox", "/bin/sh", "-c", "id -u; chown 33:34 /tmp && stat -c %u /tmp"]).stdout,
        "0\n33\n"
    );
    assert_eq!(rootless(&["fsck"]).code, 0);
    let freed = rootless(&["gc", "--keep", "0s", "--checkouts"]);
    assert_eq!(freed.code, 0, "{}", freed.stderr);
}

/// The ids of a user of this machine who has subordinate ids.
pub(crate) fn user(name: &str) -> Option<(u32, u32)> {
    let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
    ranges.lines().find(|line| line.starts_with(&format!("{name}:")))?;
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
