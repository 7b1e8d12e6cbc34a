//! What differs between two machines, one thing at a time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::case::{Base, Case};
use super::cell::{Cell, Skipped};
use crate::support::repository::git;
use crate::support::{REBIT, ended, has};

type Built = Result<String, Skipped>;

/// Something that is not the same on another machine.
pub(super) struct Axis {
    pub(super) name: &'static str,
    /// Whether large Dockerfiles are built under it too, in the store that has their base images.
    pub(super) large: bool,
    /// Whether the program is emulated, which can start no process in namespaces.
    pub(super) emulated: bool,
    pub(super) is_for: fn(&Case) -> bool,
    pub(super) build: fn(&mut Cell<'_>) -> Built,
}

fn axis(name: &'static str, build: fn(&mut Cell<'_>) -> Built) -> Axis {
    Axis { name, large: false, emulated: false, is_for: |_| true, build }
}

fn large(name: &'static str, build: fn(&mut Cell<'_>) -> Built) -> Axis {
    Axis { large: true, ..axis(name, build) }
}

fn emulated(name: &'static str, build: fn(&mut Cell<'_>) -> Built) -> Axis {
    Axis { emulated: true, ..axis(name, build) }
}

/// Every axis.
pub(super) fn axes() -> Vec<Axis> {
    let groups = [clocks(), callers(), contexts(), stores(), machines(), caches(), outputs(), drivers()];
    groups.into_iter().flatten().collect()
}

fn clocks() -> Vec<Axis> {
    vec![
        axis("clock: 1979", |cell| wrapped(cell, &["faketime", "1979-01-01 00:00:00"])),
        axis("clock: 2040", |cell| wrapped(cell, &["faketime", "2040-07-08 09:10:11"])),
        Axis {
            is_for: |case| case.base == Base::Debian,
            ..large("clock of RUN: 40 days later", |cell| {
                needs("faketime")?;
                cell.arg("--build-arg=SHIFT=+40d");
                cell.build()
            })
        },
        large("clock, zone, locale, umask, host, one CPU", everything),
    ]
}

fn callers() -> Vec<Axis> {
    vec![
        axis("time zone", |cell| with(cell, &[("TZ", "Pacific/Kiritimati")])),
        axis("locale", |cell| {
            with(cell, &[("LANG", "de_DE.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("LANGUAGE", "tr")])
        }),
        axis("user, home, environment", |cell| {
            let home = cell.path("another home");
            fs::create_dir(&home).unwrap();
            let home = home.display().to_string();
            with(
                cell,
                &[
                    ("USER", "someone"),
                    ("LOGNAME", "x"),
                    ("HOME", &home),
                    ("TMPDIR", "/var/tmp"),
                    ("CI", "true"),
                ],
            )
        }),
        axis("host name", |cell| {
            shell(cell, "unshare --uts sh -c 'hostname elsewhere; exec \"$@\"' sh \"$@\"")
        }),
        axis("umask 002", |cell| shell(cell, "umask 002; exec \"$@\"")),
        axis("umask 077", |cell| shell(cell, "umask 077; exec \"$@\"")),
        axis("rootless", rootless),
    ]
}

fn contexts() -> Vec<Axis> {
    vec![
        axis("context: checked out under umask 002", |cell| {
            group_writes(cell);
            cell.build()
        }),
        axis("context: under umask 077, modes by the x bit", |cell| {
            each_file(&cell.path("context"), &|path, mode| chmod(path, mode & 0o700));
            cell.arg("--context-modes=executable");
            cell.build()
        }),
        axis("context: of 1971", |cell| {
            touch(cell, "@40000000");
            cell.build()
        }),
        axis("context: of 2037", |cell| {
            touch(cell, "@2120000000");
            cell.build()
        }),
        axis("context: hard links", |cell| {
            accepted(
                Command::new("cp").args(["-al", "context", "linked"]).current_dir(cell.world.dir.path()),
            );
            cell.context = "linked".to_owned();
            cell.build()
        }),
        axis("context: tar", |cell| {
            tar(cell, &["--owner=1234", "--group=99", "--mtime=@5", "-cf", "context.tar"]);
            cell.context = "context.tar".to_owned();
            cell.build()
        }),
        axis("context: compressed tar on standard input", |cell| {
            tar(cell, &["--format=posix", "-czf", "context.tgz"]);
            let input = fs::File::open(cell.path("context.tgz")).unwrap();
            cell.context = "-".to_owned();
            cell.import_bases();
            Ok(cell.digest(&ended(cell.build_command(&["-q"]).stdin(Stdio::from(input)))))
        }),
        axis("context: git", repository),
    ]
}

fn stores() -> Vec<Axis> {
    vec![
        axis("paths: long, with spaces", |cell| {
            let long = cell.path(&format!("a directory/{}/with spaces", "long ".repeat(40).trim()));
            fs::create_dir_all(long.parent().unwrap()).unwrap();
            fs::rename(cell.path("context"), &long).unwrap();
            cell.context = long.display().to_string();
            cell.own_store(cell.path(&format!("st ore/{}", "deep/".repeat(20))));
            cell.build()
        }),
        axis("store: ext4", |cell| on(cell, "ext4")),
        axis("store: xfs", |cell| on(cell, "xfs")),
        axis("store: btrfs", |cell| on(cell, "btrfs")),
        axis("store: tmpfs", |cell| on(cell, "tmpfs")),
    ]
}

fn machines() -> Vec<Axis> {
    vec![
        axis("one CPU", |cell| wrapped(cell, &["taskset", "-c", "0"])),
        axis("threads: 1, jobs: 1", |cell| {
            cell.arg("--jobs=1");
            with(cell, &[("RAYON_NUM_THREADS", "1")])
        }),
        axis("threads: 7, jobs: 8", |cell| {
            cell.arg("--jobs=8");
            with(cell, &[("RAYON_NUM_THREADS", "7")])
        }),
        emulated("CPU without SSE4.2 (qemu64)", |cell| on_cpu(cell, "qemu64")),
        emulated("CPU with SSE4.2 (Nehalem)", |cell| on_cpu(cell, "Nehalem")),
        emulated("CPU with AVX2 (Haswell)", |cell| on_cpu(cell, "Haswell")),
        emulated("CPU with all that is emulated (max)", |cell| on_cpu(cell, "max")),
        large("release build", |cell| {
            let program = std::env::var_os("REBIT_RELEASE").map(PathBuf::from);
            cell.program =
                program.ok_or_else(|| Skipped("needs REBIT_RELEASE, a release build".to_owned()))?;
            cell.build()
        }),
    ]
}

fn caches() -> Vec<Axis> {
    vec![
        axis("known steps", |cell| {
            cell.build()?;
            Ok(cell.build_again())
        }),
        axis("known steps, then collected", |cell| {
            cell.build()?;
            cell.ok(&["rm", "cell"]);
            cell.ok(&["gc", "--keep", "0s", "--checkouts"]);
            Ok(cell.build_again())
        }),
        Axis {
            is_for: |case| case.base == Base::Small && !case.is_copies_only,
            ..axis("base: from a root file system", |cell| {
                let tar = cell.lab.world.path("busybox.tar").display().to_string();
                cell.ok(&["import", "--rootfs", &tar, "store:busybox"]);
                Ok(cell.build_again())
            })
        },
        axis("four at once", four),
        axis("interrupted, then again", |cell| cell.interrupted("-INT")),
        axis("killed, then again", |cell| cell.interrupted("-KILL")),
    ]
}

fn outputs() -> Vec<Axis> {
    vec![
        axis("output: oci archive", |cell| written(cell, "type=oci,dest=out", "oci-archive:out")),
        axis("output: oci layout", |cell| written(cell, "type=oci,tar=false,dest=out", "oci:out")),
        axis("output: docker archive", |cell| written(cell, "type=docker,dest=out", "docker-archive:out")),
    ]
}

/// A row for each driver for root file systems: the plain build has the one that fits best.
fn drivers() -> Vec<Axis> {
    vec![
        large("snapshotter: overlayfs", |cell| with(cell, &[("REBIT_SNAPSHOTTER", "overlayfs")])),
        axis("snapshotter: erofs", |cell| with(cell, &[("REBIT_SNAPSHOTTER", "erofs")])),
    ]
}

fn with(cell: &mut Cell<'_>, variables: &[(&str, &str)]) -> Built {
    variables.iter().for_each(|(name, value)| cell.set(name, value));
    cell.build()
}

fn wrapped(cell: &mut Cell<'_>, prefix: &[&str]) -> Built {
    needs(prefix[0])?;
    cell.wrap(prefix);
    cell.build()
}

/// Has a script run the program, which is its arguments.
fn shell(cell: &mut Cell<'_>, script: &str) -> Built {
    wrapped(cell, &["sh", "-c", script, "sh"])
}

fn needs(program: &str) -> Result<(), Skipped> {
    if has(program) { Ok(()) } else { Err(Skipped(format!("needs {program}"))) }
}

fn accepted(command: &mut Command) {
    let ended = ended(command);
    assert_eq!(ended.code, 0, "{command:?}: {}", ended.stderr);
}

/// All that needs no store of its own, at once.
fn everything(cell: &mut Cell<'_>) -> Built {
    needs("faketime")?;
    group_writes(cell);
    touch(cell, "@40000000");
    cell.arg("--jobs=1");
    cell.set("RAYON_NUM_THREADS", "3");
    for (name, value) in [("TZ", "Asia/Kolkata"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "x")] {
        cell.set(name, value);
    }
    let inner = "hostname other; umask 002; exec taskset -c 0 faketime \"2040-02-03 04:05:06\" \"$@\"";
    shell(cell, &format!("exec unshare --uts sh -c '{inner}' sh \"$@\""))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn group_writes(cell: &Cell<'_>) {
    each_file(&cell.path("context"), &|path, mode| chmod(path, mode | ((mode & 0o200) >> 3)));
}

/// Calls `change` with each file and directory and its mode.
fn each_file(directory: &Path, change: &dyn Fn(&Path, u32)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            each_file(&path, change);
        } else if !metadata.is_symlink() {
            change(&path, metadata.permissions().mode() & 0o7777);
        }
    }
    change(directory, fs::metadata(directory).unwrap().permissions().mode() & 0o7777);
}

pub(super) fn touch(cell: &Cell<'_>, time: &str) {
    let context = cell.path("context");
    accepted(Command::new("find").arg(context).args(["-exec", "touch", "-h", "-d", time, "{}", "+"]));
}

fn tar(cell: &Cell<'_>, args: &[&str]) {
    let mut command = Command::new("tar");
    accepted(command.args(args).args(["-C", "context", "."]).current_dir(cell.world.dir.path()));
}

fn repository(cell: &mut Cell<'_>) -> Built {
    needs("git")?;
    let name = format!("{}.git", cell.case.name);
    let path = cell.lab.world.path(&format!("git/{name}"));
    cell.case.context(&path);
    git(&path, &["init", "-q", "-b", "main"]);
    git(&path, &["add", "-A"]);
    git(&path, &["commit", "-q", "-m", "message"]);
    cell.context = cell.lab.repositories().url(&format!("{name}/.git"));
    cell.build()
}

fn on(cell: &mut Cell<'_>, kind: &str) -> Built {
    let place = cell.lab.on(kind).ok_or_else(|| Skipped(format!("needs {kind}")))?;
    // The name of the world is its own among those of all cells.
    let name = cell.world.dir.path().file_name().unwrap().to_string_lossy().into_owned();
    let directory = place.join(name);
    cell.removed(&directory);
    cell.own_store(directory);
    cell.build()
}

fn on_cpu(cell: &mut Cell<'_>, model: &str) -> Built {
    // The emulator has no openat2(2), with which directories are read.
    tar(cell, &["-cf", "context.tar"]);
    cell.context = "context.tar".to_owned();
    wrapped(cell, &["qemu-x86_64-static", "-cpu", model])
}

fn rootless(cell: &mut Cell<'_>) -> Built {
    needs("newuidmap")?;
    needs("setpriv")?;
    let ids = crate::determinism::user("rebit-test");
    let (uid, gid) =
        ids.ok_or_else(|| Skipped("needs the user rebit-test with subordinate ids".to_owned()))?;
    cell.program = cell.path("rebit");
    fs::copy(REBIT, &cell.program).unwrap();
    accepted(Command::new("chown").args(["-R", &format!("{uid}:{gid}")]).arg(cell.world.dir.path()));
    let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
    cell.wrap(&["setpriv", &uid, &gid, "--clear-groups", "--"]);
    cell.build()
}

fn four(cell: &mut Cell<'_>) -> Built {
    cell.import_bases();
    let start = || cell.build_command(&["-q"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    let mut digests: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        })
        .collect();
    digests.dedup();
    Ok(digests.join(" and "))
}

/// Builds to an output, and takes the image from there into another store.
fn written(cell: &mut Cell<'_>, output: &str, place: &str) -> Built {
    cell.import_bases();
    cell.digest(&ended(&mut cell.build_command(&["-q", "-o", output])));
    cell.own_store(cell.path("second"));
    Ok(cell.digest(&cell.ok(&["import", place, "store:cell"])))
}
