//! Exit, output, environment, users, limits.

use std::fs;
use std::path::PathBuf;

use rebit_sandbox::{
    Exit, Mount, Resource, ResourceLimit, RunSpec, Runner, SandboxError, Step, StopFlag, Stream, run,
};

use super::{Case, mapped_ids};
use crate::root::{World, args, output, shell, try_run};
use crate::tree;

pub(super) const CASES: &[Case] = &[
    ("exit_codes", exit_codes),
    ("death_by_signal", death_by_signal),
    ("streams_output_as_it_comes", streams_output_as_it_comes),
    ("large_output_arrives_whole", large_output_arrives_whole),
    ("environment_is_exactly_the_given_one", environment_is_exactly_the_given_one),
    ("fixed_world", fixed_world),
    ("program_is_found_by_path", program_is_found_by_path),
    ("missing_program_and_directory", missing_program_and_directory),
    ("users_and_groups", users_and_groups),
    ("limits", limits),
    ("only_three_descriptors", only_three_descriptors),
];

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
