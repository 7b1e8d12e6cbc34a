//! The root file system and what is mounted in it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rebit_sandbox::{Exit, Lower, Mount, RootFs, RunSpec, Runner, SandboxError, Step, probe};

use super::Case;
use crate::root::{World, args, exists, output, try_run};
use crate::tree;

pub(super) const CASES: &[Case] = &[
    ("writes_go_to_the_upper_directory", writes_go_to_the_upper_directory),
    ("nothing_reaches_the_upper_directory_by_itself", nothing_reaches_the_upper_directory_by_itself),
    ("stub_in_the_way_of_a_whiteout", stub_in_the_way_of_a_whiteout),
    ("empty_root", empty_root),
    ("many_lowers", many_lowers),
    ("too_many_lowers", too_many_lowers),
    ("missing_lower_is_named", missing_lower_is_named),
    ("bind_tmpfs_and_file_mounts", bind_tmpfs_and_file_mounts),
    ("layers_are_mounted_together", layers_are_mounted_together),
    ("symlinked_targets_stay_inside", symlinked_targets_stay_inside),
    ("directory_root", directory_root),
    ("work_directory_is_left_empty", work_directory_is_left_empty),
    ("data_only_layers", data_only_layers),
    ("file_in_the_place_of_a_directory", file_in_the_place_of_a_directory),
];

fn writes_go_to_the_upper_directory() {
    let world = World::new();
    output(&world.spec("echo upper > /etc/issue; mkdir /new; echo x > /new/file; rm /bin/true"));
    assert_eq!(fs::read_to_string(world.path("lower/etc/issue")).unwrap(), "lower\n");
    assert_eq!(fs::read_to_string(world.path("upper/etc/issue")).unwrap(), "upper\n");
    assert_eq!(fs::read_to_string(world.path("upper/new/file")).unwrap(), "x\n");
    assert!(exists(&world.path("lower/bin/true")));
    let whiteout = world.path("upper/bin/true").symlink_metadata().unwrap();
    assert_eq!((whiteout.mode() & 0o170_000, whiteout.rdev()), (0o020_000, 0));
    // A second run on the same upper directory sees what the first did.
    assert_eq!(output(&world.spec("cat /etc/issue; test -e /bin/true || echo gone")), "upper\ngone\n");
}

fn nothing_reaches_the_upper_directory_by_itself() {
    let world = World::new();
    let mut spec = world.spec("true");
    let file = |target: &str| Mount::File {
        target: target.into(),
        contents: b"x".to_vec(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        readonly: false,
    };
    spec.mounts = vec![
        file("/etc/resolv.conf"),
        file("/deep/down/file"),
        Mount::Tmpfs { target: "/run/secrets".into(), size: Some(1 << 20), mode: 0o700 },
        Mount::Bind { source: world.path("lower"), target: "/mnt/../bound".into(), readonly: true },
    ];
    let before = tree(&world.lower());
    output(&spec);
    assert_eq!(tree(&world.upper()), Vec::<PathBuf>::new());
    assert_eq!(tree(&world.lower()), before);
}

fn stub_in_the_way_of_a_whiteout() {
    let world = World::new();
    fs::write(world.path("lower/etc/resolv.conf"), "old").unwrap();
    output(&world.spec("rm /etc/resolv.conf"));
    fs::rename(world.path("upper"), world.path("middle")).unwrap();
    fs::create_dir(world.path("upper")).unwrap();
    let mut spec = world.spec("cat /etc/resolv.conf");
    let RootFs::Overlay { lowers, .. } = &mut spec.root else { unreachable!() };
    lowers.insert(0, world.path("middle").into());
    let mut plain = spec.clone();
    spec.mounts = vec![Mount::File {
        target: "/etc/resolv.conf".into(),
        contents: b"new\n".to_vec(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        readonly: true,
    }];
    assert_eq!(output(&spec), "new\n");
    assert!(!exists(&world.path("upper/etc/resolv.conf")));
    // The whiteout is in force again.
    plain.args = args(["/bin/test", "-e", "/etc/resolv.conf"]);
    assert_eq!(try_run(&plain).unwrap().exit, Exit::Code(1));
}

fn empty_root() {
    let world = World::new();
    let mut spec = world.spec("");
    spec.root =
        RootFs::Overlay { lowers: vec![], data: vec![], upper: world.upper(), work: world.path("work") };
    spec.args = args(["/bin/busybox", "ls", "/"]);
    spec.mounts =
        vec![Mount::Bind { source: world.path("lower/bin"), target: "/bin".into(), readonly: true }];
    assert_eq!(output(&spec), "bin\ndev\nproc\nsys\n");
    assert_eq!(tree(&world.upper()), Vec::<PathBuf>::new());
}

fn layers_are_mounted_together() {
    let world = World::new();
    for (layer, file, text) in [
        ("below", "one", "1\n"),
        ("below", "two", "2\n"),
        ("above", "two", "22\n"),
        ("above", "three", "3\n"),
    ] {
        fs::create_dir_all(world.path(layer)).unwrap();
        fs::write(world.path(layer).join(file), text).unwrap();
    }
    let layers =
        |names: &[&str]| -> Vec<Lower> { names.iter().map(|name| Lower::from(world.path(name))).collect() };
    let check = |names: &[&str], file: Option<&str>, script: &str, expected: &str| {
        let mut spec = world.spec(script);
        let file = file.map(PathBuf::from);
        spec.mounts = vec![Mount::Layers { lowers: layers(names), file, target: "/at".into() }];
        assert_eq!(output(&spec), expected, "{names:?}");
    };
    check(&["above", "below"], None, "ls /at; cat /at/two", "one\nthree\ntwo\n22\n");
    check(&["below"], None, "ls /at; cat /at/two", "one\ntwo\n2\n");
    check(&["above", "below"], Some("one"), "cat /at", "1\n");
    check(
        &["above", "below"],
        None,
        "echo x 2>/dev/null >/at/new || ls /at/new 2>/dev/null || echo no",
        "no\n",
    );
}

fn with_lowers(world: &World, count: usize) -> RunSpec {
    let mut lowers: Vec<PathBuf> = (0..count).map(|number| world.path(&format!("layer-{number}"))).collect();
    for (number, lower) in lowers.iter().enumerate() {
        fs::create_dir(lower).unwrap();
        fs::write(lower.join(format!("file-{number}")), "").unwrap();
        fs::write(lower.join("top"), number.to_string()).unwrap();
    }
    lowers.push(world.lower());
    let lowers = lowers.into_iter().map(Lower::from).collect();
    let mut spec = world.spec("cat /top; echo; ls / | grep -c file-");
    spec.root = RootFs::Overlay { lowers, data: vec![], upper: world.upper(), work: world.path("work") };
    spec
}

fn many_lowers() {
    for count in [0, 99, 498] {
        let world = World::new();
        if count == 0 {
            assert_eq!(output(&world.spec("cat /etc/issue")), "lower\n");
        } else {
            assert_eq!(output(&with_lowers(&world, count)), format!("0\n{count}\n"));
        }
    }
}

fn too_many_lowers() {
    let world = World::new();
    let outcome = try_run(&with_lowers(&world, 499));
    assert!(matches!(outcome, Err(SandboxError::InvalidSpec { .. })), "{outcome:?}");
}

fn missing_lower_is_named() {
    let world = World::new();
    let mut spec = world.spec("true");
    let missing = world.path("missing");
    let RootFs::Overlay { lowers, .. } = &mut spec.root else { unreachable!() };
    lowers.push(missing.clone().into());
    match try_run(&spec) {
        Err(SandboxError::Setup { path, source, .. }) => {
            assert_eq!((path, source.kind()), (Some(missing), std::io::ErrorKind::NotFound));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tree(&world.path("work")), Vec::<PathBuf>::new());
}

fn bind_tmpfs_and_file_mounts() {
    let world = World::new();
    fs::create_dir(world.path("cache")).unwrap();
    fs::write(world.path("one"), "one\n").unwrap();
    let script = "echo kept > /cache/file; cat /one; echo x 2>/dev/null > /one || echo readonly; stat -c '%a %s' /etc/secret; \
                  cat /etc/secret; stat -c %a /scratch; echo x > /scratch/x; dd if=/dev/zero of=/scratch/y bs=1M count=2 2>/dev/null || echo full";
    let mut spec = world.spec(script);
    let bind = |source: &str, target: &str, readonly| Mount::Bind {
        source: world.path(source),
        target: target.into(),
        readonly,
    };
    spec.mounts = vec![
        bind("cache", "/cache", false),
        bind("one", "/one", true),
        Mount::Tmpfs { target: "/scratch".into(), size: Some(1 << 20), mode: 0o1750 },
        Mount::File {
            target: "/etc/secret".into(),
            contents: b"key\n".to_vec(),
            mode: 0o400,
            uid: 0,
            gid: 0,
            readonly: true,
        },
    ];
    assert_eq!(output(&spec), "one\nreadonly\n400 4\nkey\n1750\nfull\n");
    assert_eq!(fs::read_to_string(world.path("cache/file")).unwrap(), "kept\n");
    assert_eq!(tree(&world.upper()), Vec::<PathBuf>::new());
}

fn symlinked_targets_stay_inside() {
    let check = |link: &str, prepared: Option<&str>, real: &str| {
        let world = World::new();
        symlink(link, world.path("lower/etc/resolv.conf")).unwrap();
        if let Some(path) = prepared {
            fs::create_dir_all(world.path("lower").join(path).parent().unwrap()).unwrap();
            fs::write(world.path("lower").join(path), "old\n").unwrap();
        }
        let mut spec = world.spec(&format!("cat {real}; cat /etc/resolv.conf; readlink /etc/resolv.conf"));
        spec.mounts = vec![Mount::File {
            target: "/etc/resolv.conf".into(),
            contents: b"inside\n".to_vec(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            readonly: true,
        }];
        assert_eq!(output(&spec), format!("inside\ninside\n{link}\n"), "{link}");
        assert_eq!(tree(&world.upper()), tree_of_directories(&world.upper()), "{link}: a stub was left");
    };
    check("/../../etc/x", Some("etc/x"), "/etc/x");
    check("/../../etc/x", None, "/etc/x");
    check("../run/resolve/stub.conf", Some("run/resolve/stub.conf"), "/run/resolve/stub.conf");
    check("../run/resolve/stub.conf", None, "/run/resolve/stub.conf");
    check("../../../../../../etc/passwd-of-host", None, "/etc/passwd-of-host");
    assert!(!exists(Path::new("/etc/passwd-of-host")));
    let world = World::new();
    symlink("loop", world.path("lower/etc/loop")).unwrap();
    let mut spec = world.spec("true");
    spec.mounts = vec![Mount::Tmpfs { target: "/etc/loop/x".into(), size: None, mode: 0o755 }];
    assert!(matches!(try_run(&spec), Err(SandboxError::Setup { step: Step::MountPoint, .. })));
}

/// Copied-up directories are no content: only those that lower directories have may be there.
fn tree_of_directories(upper: &Path) -> Vec<PathBuf> {
    tree(upper).into_iter().filter(|path| path == Path::new("etc")).collect()
}

fn directory_root() {
    let world = World::new();
    fs::create_dir(world.path("lower/made")).unwrap();
    let before = tree(&world.lower());
    let mut spec = world.spec("echo x > /made/file && echo written || echo refused; ls / | wc -l");
    spec.root = RootFs::Directory { path: world.lower(), readonly: true };
    assert_eq!(output(&spec), "refused\n6\n");
    assert_eq!(tree(&world.lower()), before);
    spec.root = RootFs::Directory { path: world.lower(), readonly: false };
    assert_eq!(output(&spec), "written\n6\n");
    assert!(exists(&world.path("lower/made/file")));
    assert!(!exists(&world.path("lower/proc")));
}

fn work_directory_is_left_empty() {
    let world = World::new();
    output(&world.spec("echo x > /etc/issue; rm -r /bin; true"));
    assert_eq!(tree(&world.path("work")), Vec::<PathBuf>::new());
    // So an ordinary removal by the caller is enough.
    let status = Command::new("/bin/ls").arg(world.path("work")).output().unwrap();
    assert!(status.stdout.is_empty());
}

fn data_only_layers() {
    if !probe(&Runner::this_executable()).unwrap().overlay_data_only.available {
        return eprintln!("skipped: needs data-only layers in the kernel: data_only_layers");
    }
    let world = World::new();
    fs::create_dir(world.path("objects")).unwrap();
    fs::write(world.path("objects/ab"), "content\n").unwrap();
    let file = world.path("lower/etc/big");
    fs::File::create(&file).unwrap().set_len(8).unwrap();
    for (name, value) in [("user.overlay.metacopy", &b""[..]), ("user.overlay.redirect", b"/ab")] {
        if let Err(error) = rustix_setxattr(&file, name, value) {
            return eprintln!("skipped: needs extended attributes on {}: {error}", file.display());
        }
    }
    let mut spec = world.spec("cat /etc/big; echo more >> /etc/big; cat /etc/big");
    let RootFs::Overlay { data, .. } = &mut spec.root else { unreachable!() };
    data.push(world.path("objects"));
    assert_eq!(output(&spec), "content\ncontent\nmore\n");
    assert_eq!(fs::read_to_string(world.path("objects/ab")).unwrap(), "content\n");
    assert_eq!(tree(&world.upper()), ["etc", "etc/big"].map(PathBuf::from));
    assert_eq!(fs::read_to_string(world.path("upper/etc/big")).unwrap(), "content\nmore\n");
}

fn rustix_setxattr(path: &Path, name: &str, value: &[u8]) -> std::io::Result<()> {
    Ok(rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())?)
}

fn file_in_the_place_of_a_directory() {
    let world = World::new();
    fs::write(world.path("lower/proc"), "").unwrap();
    let outcome = try_run(&world.spec("true"));
    assert!(matches!(outcome, Err(SandboxError::Setup { step: Step::Proc, .. })), "{outcome:?}");
}
