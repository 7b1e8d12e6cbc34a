//! Commands are killed, and disks are full: whatever was acknowledged stays, and nothing is damaged (`docs/crash-safety.md`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{World, can_build, ended, is_root};

/// How many commands are killed; the short form has this many.
const KILLS: &str = "REBIT_TEST_KILLS";
const SHORT: usize = 25;
/// Commands that run at the same time.
const WORKERS: usize = 4;
/// How often everything is checked, in kills.
const EVERY: usize = 25;

/// Numbers that are the same in every run; what they meet is not.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }
}

/// What is known of a name, from the commands that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Is(String),
    IsNot,
    /// A command that would have changed it was killed.
    Unsure,
}

struct Churn {
    world: World,
    dice: Dice,
    known: BTreeMap<String, Known>,
    round: u64,
    ended_well: usize,
}

/// A command under way, and the name that it sets or removes.
struct Job {
    child: Child,
    name: Option<String>,
    sets: bool,
}

impl Churn {
    fn new() -> Self {
        let world = World::new().with_busybox();
        // Commands do their work on disk, so they are told apart by what they leave.
        for number in 0..4 {
            let content = vec![b'a' + number; 300_000 + usize::from(number)];
            world.write(&format!("context/data-{number}"), content);
        }
        Self { world, dice: Dice(1), known: BTreeMap::new(), round: 0, ended_well: 0 }
    }

    /// Starts an import, a build, a removal or a collection.
    fn start(&mut self, worker: usize) -> Job {
        self.round += 1;
        let name = format!("w{worker}-{}", self.dice.below(6));
        let (args, name, sets): (Vec<String>, _, _) = match self.dice.below(10) {
            0..3 => {
                let tar = self.world.path("busybox.tar").display().to_string();
                let args = ["import", "--rootfs", &tar, &format!("store:{name}")];
                (args.map(str::to_owned).to_vec(), Some(name), true)
            }
            3..7 => {
                let round = self.round;
                let file = format!("Dockerfile-{worker}");
                let data = self.dice.below(4);
                let mut text = format!("FROM busybox\nCOPY data-{data} /{round}\n");
                if can_build() {
                    text.push_str(&format!(
                        "RUN --mount=type=cache,target=/c echo {round} > /c/{worker} && cp /c/{worker} /ran\n"
                    ));
                }
                let path = self.world.write(&format!("files/{file}"), text).display().to_string();
                let context = self.world.path("context").display().to_string();
                (
                    ["build", "-q", "-f", &path, "-t", &name, &context].map(str::to_owned).to_vec(),
                    Some(name),
                    true,
                )
            }
            7 => (["rm", &name].map(str::to_owned).to_vec(), Some(name), false),
            8 => (["gc", "--keep-newer", "0", "--checkouts"].map(str::to_owned).to_vec(), None, false),
            _ => (["gc", "--keep-last", "2", "--max-size", "8M"].map(str::to_owned).to_vec(), None, false),
        };
        let mut command = self.world.command(args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Job { child, name, sets }
    }

    /// Notes how a command ended. One that was not killed ends well, or had nothing to remove.
    fn end(&mut self, job: Job, killed: bool) {
        let output = job.child.wait_with_output().unwrap();
        let well = output.status.success();
        let said = String::from_utf8_lossy(&output.stderr);
        let nothing = job.name.is_some() && !job.sets && said.contains("the store has no image");
        assert!(well || killed || nothing, "{said}");
        self.ended_well += usize::from(well);
        let Some(name) = job.name else { return };
        let known = match (well, job.sets) {
            (true, true) => Known::Is(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            (true, false) => Known::IsNot,
            (false, _) if nothing => Known::IsNot,
            _ => Known::Unsure,
        };
        self.known.insert(name, known);
    }

    /// Nothing runs now: every name is what it was acknowledged to be, and every byte is good.
    fn check(&self) {
        let checked = self.world.run(["fsck"]);
        assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
        let images: Vec<serde_json::Value> =
            serde_json::from_str(&self.world.ok(["images", "--json"])).unwrap();
        let found: BTreeMap<&str, &str> = images
            .iter()
            .map(|image| (image["name"].as_str().unwrap(), image["digest"].as_str().unwrap()))
            .collect();
        for (name, known) in &self.known {
            let full = format!("docker.io/library/{name}:latest");
            let digest = found.get(full.as_str()).map(|digest| (*digest).to_owned());
            match known {
                Known::Is(expected) => assert_eq!(digest.as_ref(), Some(expected), "image {name}"),
                Known::IsNot => assert_eq!(digest, None, "image {name}"),
                Known::Unsure => {}
            }
            if digest.is_some() {
                let verified = self.world.run(["verify", name]);
                assert_eq!(verified.code, 0, "{name}: {}", verified.stderr);
            }
        }
    }
}

// S-60
#[test]
fn commands_may_be_killed_at_any_moment() {
    let kills = std::env::var(KILLS).map_or(SHORT, |kills| kills.parse().unwrap());
    let mut churn = Churn::new();
    let (mut killed, mut waited) = (0, 0);
    while killed < kills {
        let mut jobs: Vec<Option<Job>> = (0..WORKERS).map(|worker| Some(churn.start(worker))).collect();
        let until = (killed + EVERY).min(kills);
        while killed < until {
            std::thread::sleep(Duration::from_millis(churn.dice.below(60)));
            let victim = churn.dice.below(WORKERS as u64) as usize;
            for (worker, place) in jobs.iter_mut().enumerate() {
                let Some(mut job) = place.take() else { continue };
                // Only our own child, by its handle.
                let running = job.child.try_wait().unwrap().is_none();
                if running && worker != victim {
                    *place = Some(job);
                    continue;
                }
                if running {
                    job.child.kill().unwrap();
                    killed += 1;
                }
                waited += 1;
                churn.end(job, running);
                *place = Some(churn.start(worker));
            }
        }
        for job in jobs.into_iter().flatten() {
            churn.end(job, false);
        }
        churn.check();
    }
    churn.world.ok(["gc", "--keep-newer", "0", "--checkouts"]);
    churn.check();
    let scratch = churn.world.path("store/scratch");
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "killed commands left scratch behind");
    let line = format!("{killed} commands killed, {} ended well, {waited} in all\n", churn.ended_well);
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    assert!(churn.ended_well > 0);
}

/// A small file system in memory, gone with the value.
struct SmallDisk<'a> {
    path: &'a Path,
}

impl<'a> SmallDisk<'a> {
    fn new(path: &'a Path, kilobytes: u64) -> Self {
        fs::create_dir_all(path).unwrap();
        let disk = Self { path };
        disk.mount(&format!("size={kilobytes}k,mode=0755"));
        disk
    }

    fn grow(&self) {
        self.mount("remount,size=200m");
    }

    fn mount(&self, options: &str) {
        let mut command = std::process::Command::new("mount");
        let made = ended(command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.path));
        assert_eq!(made.code, 0, "{}", made.stderr);
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _gone = std::process::Command::new("umount").arg(self.path).status();
    }
}

// S-7, S-62
#[test]
fn the_disk_may_be_full_at_every_stage() {
    if !is_root() {
        return;
    }
    let world = World::new().with_busybox();
    let tar = world.path("busybox.tar").display().to_string();
    world.write("context/data", vec![7; 100_000]);
    world.write("context/Dockerfile", "FROM busybox\nCOPY data /data\n");
    let tar_size = fs::metadata(&tar).unwrap().len() / 1024;
    let place = world.path("disk");
    let (mut failures, mut successes) = (0, 0);
    // From a disk on which not even an empty store fits to one on which everything does.
    for step in 0..24 {
        let disk = SmallDisk::new(&place, 600 + step * (tar_size + 4_000) / 16);
        let store = place.join("store");
        let run = |args: &[&str]| {
            let mut command = world.command(args);
            ended(command.env("REBIT_STORE", &store))
        };
        let mut acknowledged = Vec::new();
        let commands: [(&[&str], &str); 4] = [
            (&["import", "--rootfs", &tar, "store:busybox"], "busybox"),
            (&["build", "-q", "-t", "built", "context"], "built"),
            (&["gc", "--keep-newer", "0"], ""),
            (&["build", "-q", "-t", "again", "--no-cache", "context"], "again"),
        ];
        for (args, name) in commands {
            // A collection frees the reserve first, so it works on a full disk.
            let reserve = fs::metadata(store.join("reserve")).is_ok_and(|file| file.len() == 1 << 20);
            let done = run(args);
            assert!(done.code == 0 || args[0] != "gc" || !reserve, "step {step}: {}", done.stderr);
            if done.code == 0 {
                successes += 1;
                acknowledged.extend((!name.is_empty()).then_some(name));
                continue;
            }
            failures += 1;
            let full = ["no space is left on the disk", "No space left on device"];
            let missing = ["there is no store", "the store has no image", "is not in the store"];
            let expected = full.iter().chain(&missing).any(|text| done.stderr.contains(text));
            assert!(expected, "{args:?}: {}", done.stderr);
        }
        disk.grow();
        if store.join("store.toml").exists() {
            let checked = run(&["fsck"]);
            assert_eq!(checked.code, 0, "step {step}: {}{}", checked.stdout, checked.stderr);
            for name in acknowledged {
                assert_eq!(run(&["verify", name]).code, 0, "step {step}: {name}");
            }
        }
        // With room, the same store goes on.
        for (args, _) in commands {
            let done = run(args);
            assert_eq!(done.code, 0, "step {step}: {args:?}: {}", done.stderr);
        }
        assert_eq!(run(&["fsck"]).code, 0);
    }
    assert!(failures > 5 && successes > 5, "{failures} failures, {successes} successes");
}
