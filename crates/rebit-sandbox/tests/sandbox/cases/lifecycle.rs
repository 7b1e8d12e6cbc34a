//! Ends of all kinds, and what is left after them: nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;

use rebit_sandbox::{Runner, SandboxError, StopFlag, run};

use super::Case;
use crate::root::{World, shell};
use crate::tree;

pub(super) const CASES: &[Case] = &[
    ("stop_kills_everything", stop_kills_everything),
    ("host_mounts_are_untouched", host_mounts_are_untouched),
    ("runs_in_parallel", runs_in_parallel),
    ("death_of_the_caller_kills_everything", death_of_the_caller_kills_everything),
    ("panic_of_the_callback_kills_everything", panic_of_the_callback_kills_everything),
];

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

/// Processes of this world's sandboxes, known by a variable in their environment.
fn inhabitants(world: &World) -> usize {
    let marker = world.marker();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let environments = processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    environments
        .filter(|text| text.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes()))
        .count()
}

/// A process that does not outlive a failing test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn death_of_the_caller_kills_everything() {
    let world = World::new();
    let spec =
        world.spec("trap '' TERM INT HUP; (trap '' TERM INT HUP; sleep 1000) & echo ready; wait; sleep 1000");
    fs::write(world.path("spec"), serde_json::to_vec(&spec).unwrap()).unwrap();
    let caller = Command::new("/proc/self/exe")
        .args([crate::CALLER.as_ref(), world.path("spec").as_os_str()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut caller = Killed(caller);
    let mut line = [0; 6];
    std::io::Read::read_exact(caller.0.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"ready\n");
    assert!(inhabitants(&world) >= 1);
    drop(caller);
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
