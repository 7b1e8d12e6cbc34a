//! What the process may not see or do, and what it may.

use std::fs;

use rebit_sandbox::{Exit, Network, Runner, Security, current_privilege, probe};

use super::{Case, is_real_root, mapped_ids};
use crate::root::{World, output, shell, try_run};

pub(super) const CASES: &[Case] = &[
    ("network_none", network_none),
    ("network_host", network_host),
    ("devices", devices),
    ("device_nodes_are_useless", device_nodes_are_useless),
    ("masked_paths", masked_paths),
    ("denied_calls", denied_calls),
    ("capabilities", capabilities),
    ("insecure", insecure),
    ("probe_agrees_with_itself", probe_agrees_with_itself),
];

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
