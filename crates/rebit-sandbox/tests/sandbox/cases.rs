//! The cases. Each makes its own root file system.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rebit_sandbox::{
    Exit, Mount, Network, Privilege, Resource, ResourceLimit, RootFs, RunSpec, Runner, SandboxError,
    Security, Step, StopFlag, Stream, current_privilege, probe, run,
};

use crate::root::{World, args, exists, output, shell, try_run};
use crate::tree;

type Case = (&'static str, fn());

pub(crate) const ALL: &[Case] = &[
    ("exit_codes", exit_codes),
    ("death_by_signal", death_by_signal),
    ("streams_output_as_it_comes", streams_output_as_it_comes),
    ("large_output_arrives_whole", large_output_arrives_whole),
    ("environment_is_exactly_the_given_one", environment_is_exactly_the_given_one),
    ("fixed_world", fixed_world),
    ("program_is_found_by_path", program_is_found_by_path),
    ("missing_program_and_directory", missing_program_and_directory),
    ("users_and_groups", users_and_groups),
    ("writes_go_to_the_upper_directory", writes_go_to_the_upper_directory),
    ("nothing_reaches_the_upper_directory_by_itself", nothing_reaches_the_upper_directory_by_itself),
    ("stub_in_the_way_of_a_whiteout", stub_in_the_way_of_a_whiteout),
    ("empty_root", empty_root),
    ("network_none", network_none),
    ("network_host", network_host),
    ("stop_kills_everything", stop_kills_everything),
    ("host_mounts_are_untouched", host_mounts_are_untouched),
    ("devices", devices),
    ("device_nodes_are_useless", device_nodes_are_useless),
    ("masked_paths", masked_paths),
    ("denied_calls", denied_calls),
    ("capabilities", capabilities),
    ("insecure", insecure),
    ("many_lowers", many_lowers),
    ("too_many_lowers", too_many_lowers),
    ("missing_lower_is_named", missing_lower_is_named),
    ("bind_tmpfs_and_file_mounts", bind_tmpfs_and_file_mounts),
    ("symlinked_targets_stay_inside", symlinked_targets_stay_inside),
    ("directory_root", directory_root),
    ("limits", limits),
    ("only_three_descriptors", only_three_descriptors),
    ("runs_in_parallel", runs_in_parallel),
    ("work_directory_is_left_empty", work_directory_is_left_empty),
    ("data_only_layers", data_only_layers),
    ("probe_agrees_with_itself", probe_agrees_with_itself),
    ("death_of_the_caller_kills_everything", death_of_the_caller_kills_everything),
    ("panic_of_the_callback_kills_everything", panic_of_the_callback_kills_everything),
    ("file_in_the_place_of_a_directory", file_in_the_place_of_a_directory),
];

fn mapped_ids() -> u64 {
    match current_privilege().unwrap() {
        Privilege::UserNamespace { mapped_ids } => mapped_ids,
        _ => u64::MAX,
    }
}

fn is_real_root() -> bool {
    current_privilege().unwrap() == Privilege::Root
}

fn exit_codes() {
    for code in [0, 1, 42, 125, 127, 255] {
        let outcome = try_run(&World::new().spec(&format!("exit {code}"))).unwrap();
        assert_eq!(outcome.exit, Exit::Code(code));
    }
}

fn death_by_signal() {
    let world = World::new();
    // Recursion without end: a fault is the only deadly signal that PID 1 can get from inside.
    let mut spec = world.spec("f() { f; }; f");
    spec.limits = vec![ResourceLimit { resource: Resource::Stack, soft: Some(1 << 20), hard: Some(1 << 20) }];
    assert_eq!(try_run(&spec).unwrap().exit, Exit::Signal(11));
}

fn streams_output_as_it_comes() {
    let world = World::new();
    fs::create_dir(world.path("shared")).unwrap();
    let mut spec =
        world.spec("echo one; echo two >&2; until [ -e /shared/go ]; do sleep 0.01; done; echo three");
    spec.mounts =
        vec![Mount::Bind { source: world.path("shared"), target: "/shared".into(), readonly: true }];
    let mut seen: Vec<(Stream, String)> = Vec::new();
    let go = world.path("shared/go");
    // The command goes on only after its first two lines have arrived here.
    let mut record = |stream, bytes: &[u8]| {
        seen.push((stream, String::from_utf8(bytes.to_vec()).unwrap()));
        if seen.len() == 2 {
            fs::write(&go, "").unwrap();
        }
    };
    let exit = run(&spec, &Runner::this_executable(), &mut record, &StopFlag::new()).unwrap();
    assert!(exit.is_success());
    seen[..2].sort();
    let expected = [(Stream::Stdout, "one\n"), (Stream::Stderr, "two\n"), (Stream::Stdout, "three\n")];
    assert_eq!(seen, expected.map(|(stream, text)| (stream, text.to_owned())));
}

fn large_output_arrives_whole() {
    let text = shell("seq 1 200000");
    assert_eq!(text.lines().count(), 200_000);
    assert!(text.ends_with("\n200000\n"));
}

fn environment_is_exactly_the_given_one() {
    let world = World::new();
    let mut spec = RunSpec::new(world.overlay(), ["/bin/env"]);
    spec.env = vec![("B".into(), "2 two".into()), ("A".into(), "".into())];
    assert_eq!(output(&spec), "B=2 two\nA=\n");
    spec.env.clear();
    assert_eq!(output(&spec), "");
}

fn fixed_world() {
    let check = |script: &str, expected: &str| assert_eq!(shell(script).trim_end(), expected, "{script}");
    check("hostname", "rebit");
    check("umask", "0022");
    check("pwd", "/");
    check("echo $$", "1");
    check("cat /proc/sys/kernel/domainname", "(none)");
    check("cat /proc/self/personality", "00040000");
    check("grep -c . /proc/self/cgroup >/dev/null; readlink /proc/self/root", "/");
    check("readlink /proc/self/fd/0", "/dev/null");
    check(
        "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status | grep -v '0000000000000000' | grep -v SigCgt; true",
        "",
    );
    let world = World::new();
    fs::create_dir(world.path("lower/here")).unwrap();
    let mut spec = world.spec("hostname; umask; pwd; touch file; stat -c %a file");
    (spec.hostname, spec.umask, spec.cwd) = ("other".to_owned(), 0o077, PathBuf::from("/here"));
    assert_eq!(output(&spec), "other\n0077\n/here\n600\n");
}

fn program_is_found_by_path() {
    let world = World::new();
    let mut spec = world.spec("");
    spec.args = args(["echo", "found"]);
    spec.env = vec![("PATH".into(), "/nowhere:/etc/issue:/bin".into())];
    assert_eq!(output(&spec), "found\n");
    spec.env.clear();
    assert_eq!(output(&spec), "found\n");
}

fn missing_program_and_directory() {
    let world = World::new();
    let mut spec = world.spec("");
    for (program, kind) in [
        ("/bin/nothing", std::io::ErrorKind::NotFound),
        ("nothing", std::io::ErrorKind::NotFound),
        ("/etc/issue", std::io::ErrorKind::PermissionDenied),
    ] {
        spec.args = args([program]);
        match try_run(&spec) {
            Err(SandboxError::Exec { program: named, source }) => {
                assert_eq!((named.to_str(), source.kind()), (Some(program), kind))
            }
            other => panic!("{other:?}"),
        }
    }
    let mut spec = world.spec("true");
    spec.cwd = "/missing".into();
    match try_run(&spec) {
        Err(SandboxError::Setup { step: Step::WorkingDirectory, path, source, .. }) => {
            assert_eq!((path, source.kind()), (Some("/missing".into()), std::io::ErrorKind::NotFound));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tree(&world.upper()), Vec::<PathBuf>::new());
    for bad in [&[][..], &["a\0b"][..], &[""][..]] {
        spec.args = bad.iter().map(Into::into).collect();
        assert!(matches!(try_run(&spec), Err(SandboxError::InvalidSpec { .. })));
    }
}

fn users_and_groups() {
    if mapped_ids() < 2000 {
        return eprintln!("skipped: needs several mapped ids: users_and_groups");
    }
    let world = World::new();
    let mut spec =
        world.spec("id -u; id -g; id -G; echo out > /dev/stdout; touch /x 2>/dev/null || echo refused");
    (spec.uid, spec.gid, spec.groups) = (1000, 1001, vec![10, 20]);
    let printed = output(&spec);
    assert_eq!(printed, "1000\n1001\n1001 10 20\nout\nrefused\n");
    let owned = output(&world.spec("touch /file; chown 7:8 /file; stat -c %u:%g /file"));
    assert_eq!(owned, "7:8\n");
}

fn writes_go_to_the_upper_directory() {
    let world = World::new();
    output(&world.spec("echo upper > /etc/issue; mkdir /new; echo x > /new/file; rm /bin/true"));
    assert_eq!(fs::read_to_string(world.path("lower/etc/issue")).unwrap(), "lower\n");
    assert_eq!(fs::read_to_string(world.path("upper/etc/issue")).unwrap(), "upper\n");
    assert_eq!(fs::read_to_string(world.path("upper/new/file")).unwrap(), "x\n");
    assert!(exists(&world.path("lower/bin/true")));
    let whiteout = world.path("upper/bin/true").symlink_metadata().unwrap();
    assert_eq!((whiteout.mode() & libc_file_type(), whiteout.rdev()), (0o020000, 0));
    // A second run on the same upper directory sees what the first did.
    assert_eq!(output(&world.spec("cat /etc/issue; test -e /bin/true || echo gone")), "upper\ngone\n");
}

fn libc_file_type() -> u32 {
    0o170000
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
    lowers.insert(0, world.path("middle"));
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

fn network_none() {
    assert_eq!(shell("ls /sys/class/net").trim(), "lo");
    let text = shell("ip addr show");
    assert!(text.contains("LOOPBACK,UP") && text.contains("127.0.0.1/8"), "{text}");
}

fn network_host() {
    let world = World::new();
    let mut spec = world.spec(
        "readlink /proc/self/ns/net; test -d /sys && echo ok; touch /sys/x 2>/dev/null || echo readonly",
    );
    spec.network = Network::Host;
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(output(&spec), format!("{}\nok\nreadonly\n", own.display()));
}

fn stop_kills_everything() {
    let world = World::new();
    let name = format!("rebit-stop-{}", std::process::id());
    let script = format!(
        "trap '' TERM INT HUP; (trap '' TERM INT HUP; exec -a {name} sleep 1000 || sleep 1000) & echo ready; wait; sleep 1000"
    );
    let spec = world.spec(&script);
    let stop = StopFlag::new();
    let mut on_output = |_, _: &[u8]| stop.stop();
    match run(&spec, &Runner::this_executable(), &mut on_output, &stop) {
        Err(SandboxError::Stopped) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(inhabitants(&world), 0, "a process still has the sandbox's root mounted");
    assert_eq!(tree(&world.path("work")), Vec::<PathBuf>::new());
    match run(&spec, &Runner::this_executable(), &mut |_, _| {}, &stop) {
        Err(SandboxError::Stopped) => {}
        other => panic!("{other:?}"),
    }
}

fn host_mounts_are_untouched() {
    let read = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = read();
    shell("true");
    assert_eq!(read(), before);
}

fn devices() {
    let listing = shell(
        "cd /dev; for name in null zero full random urandom tty; do stat -c '%n %a %t:%T %F' $name; done",
    );
    let expected = "null 666 1:3 character special file\nzero 666 1:5 character special file\nfull 666 1:7 character special file\n\
                    random 666 1:8 character special file\nurandom 666 1:9 character special file\ntty 666 5:0 character special file\n";
    assert_eq!(listing, expected);
    let names =
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert_eq!(shell("ls /dev"), names);
    assert_eq!(
        shell("head -c 3 /dev/zero | wc -c; echo gone > /dev/null; readlink /dev/ptmx; stat -c %a /dev/shm"),
        "3\npts/ptmx\n1777\n"
    );
    assert_eq!(shell("echo text > /dev/stdout"), "text\n");
}

fn device_nodes_are_useless() {
    let script = "mknod /node c 1 3 2>/dev/null && echo made; mknod /dev/node c 1 3 2>/dev/null && echo made; \
                  echo x 2>/dev/null > /node; test -c /node && (cat /node 2>/dev/null || echo closed); \
                  test -c /dev/node && (cat /dev/node 2>/dev/null || echo closed); true";
    let expected = if is_real_root() { "made\nmade\nclosed\nclosed\n" } else { "" };
    assert_eq!(shell(script), expected);
}

fn masked_paths() {
    assert_eq!(
        shell("cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | wc -c").trim(),
        "0"
    );
    let listing = "ls -A /sys/firmware /proc/scsi /sys/fs/cgroup 2>/dev/null | grep -v : | grep .; true";
    assert_eq!(shell(listing), "");
}

fn denied_calls() {
    let check = |script: &str| {
        let outcome = try_run(&World::new().spec(script)).unwrap();
        assert_ne!(outcome.exit, Exit::Code(0), "{script}: {outcome:?}");
        let refused = ["not permitted", "Read-only file system", "denied"]
            .iter()
            .any(|text| outcome.stderr.contains(text));
        assert!(refused, "{script}: {outcome:?}");
    };
    check("mount -t tmpfs none /etc");
    check("umount /proc");
    check("unshare -U true");
    check("unshare -m true");
    check("echo 1 > /proc/sys/kernel/panic");
    check("mkdir /sys/kernel/x");
}

fn capabilities() {
    let sets = shell("grep Cap /proc/self/status");
    let default = "00000000a80425fb";
    let expected = format!(
        "CapInh:\t0000000000000000\nCapPrm:\t{default}\nCapEff:\t{default}\nCapBnd:\t{default}\nCapAmb:\t0000000000000000\n"
    );
    assert_eq!(sets, expected);
    assert_eq!(shell("grep -E 'NoNewPrivs|Seccomp:' /proc/self/status"), "NoNewPrivs:\t0\nSeccomp:\t2\n");
    if mapped_ids() > 1000 {
        let world = World::new();
        let mut spec = world.spec("grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status");
        spec.uid = 1000;
        let zero = "0000000000000000";
        assert_eq!(output(&spec), format!("CapPrm:\t{zero}\nCapEff:\t{zero}\nCapBnd:\t{default}\n"));
    }
}

fn insecure() {
    let world = World::new();
    let mut spec = world.spec("mount -t tmpfs none /etc && ls /etc | wc -l; grep Seccomp: /proc/self/status");
    spec.security = Security::Insecure;
    assert_eq!(output(&spec), "0\nSeccomp:\t0\n");
}

fn with_lowers(world: &World, count: usize) -> RunSpec {
    let mut lowers: Vec<PathBuf> = (0..count).map(|number| world.path(&format!("layer-{number}"))).collect();
    for (number, lower) in lowers.iter().enumerate() {
        fs::create_dir(lower).unwrap();
        fs::write(lower.join(format!("file-{number}")), "").unwrap();
        fs::write(lower.join("top"), number.to_string()).unwrap();
    }
    lowers.push(world.lower());
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
    lowers.push(missing.clone());
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

fn limits() {
    let world = World::new();
    let mut spec = world.spec("ulimit -n; ulimit -c");
    let limit = |resource, value| ResourceLimit { resource, soft: Some(value), hard: Some(value) };
    spec.limits = vec![limit(Resource::OpenFiles, 77), limit(Resource::Core, 0)];
    assert_eq!(output(&spec), "77\n0\n");
}

fn only_three_descriptors() {
    // `ls` itself opens the directory.
    assert_eq!(shell("exec ls /proc/self/fd"), "0\n1\n2\n3\n");
}

fn runs_in_parallel() {
    let threads: Vec<_> = (0..8)
        .map(|number| {
            thread::spawn(move || {
                for round in 0..4 {
                    assert_eq!(shell(&format!("echo {number} {round}")), format!("{number} {round}\n"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
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

fn probe_agrees_with_itself() {
    let probe = probe(&Runner::this_executable()).unwrap();
    assert_eq!(probe.privilege, current_privilege().unwrap());
    assert_eq!(probe.nested, !is_real_root());
    assert_eq!(probe.euid, 0);
    // These sandboxes run, so their parts must have been found.
    for (name, finding) in [
        ("overlay", &probe.overlay),
        ("proc", &probe.fresh_proc),
        ("openat2", &probe.openat2),
        ("seccomp", &probe.seccomp),
    ] {
        assert!(finding.available, "{name}: {}", finding.detail);
    }
    let text = serde_json::to_string(&probe).unwrap();
    assert_eq!(serde_json::from_str::<rebit_sandbox::Probe>(&text).unwrap(), probe);
}

/// Processes that have the sandbox of this world mounted.
fn inhabitants(world: &World) -> usize {
    let name = world.directory.path().file_name().unwrap().to_str().unwrap().to_owned();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|process| {
            fs::read_to_string(process.path().join("mountinfo")).is_ok_and(|text| text.contains(&name))
        })
        .count()
}

fn death_of_the_caller_kills_everything() {
    let world = World::new();
    let spec =
        world.spec("trap '' TERM INT HUP; (trap '' TERM INT HUP; sleep 1000) & echo ready; wait; sleep 1000");
    fs::write(world.path("spec"), serde_json::to_vec(&spec).unwrap()).unwrap();
    let mut caller = Command::new("/proc/self/exe")
        .args([crate::CALLER.as_ref(), world.path("spec").as_os_str()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(caller.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"ready\n");
    assert!(inhabitants(&world) >= 1);
    caller.kill().unwrap();
    caller.wait().unwrap();
    // The work directory is emptied by the runner after the last process is dead.
    while fs::read_dir(world.path("work")).unwrap().next().is_some() {
        thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(inhabitants(&world), 0);
}

fn panic_of_the_callback_kills_everything() {
    let world = World::new();
    let spec = world.spec("echo ready; sleep 1000");
    let panicked = std::panic::catch_unwind(|| {
        run(
            &spec,
            &Runner::this_executable(),
            &mut |_, _| std::panic::resume_unwind(Box::new(())),
            &StopFlag::new(),
        )
    });
    assert!(panicked.is_err());
    assert_eq!(inhabitants(&world), 0);
    assert_eq!(tree(&world.path("work")), Vec::<PathBuf>::new());
}

fn file_in_the_place_of_a_directory() {
    let world = World::new();
    fs::write(world.path("lower/proc"), "").unwrap();
    let outcome = try_run(&world.spec("true"));
    assert!(matches!(outcome, Err(SandboxError::Setup { step: Step::Proc, .. })), "{outcome:?}");
}
