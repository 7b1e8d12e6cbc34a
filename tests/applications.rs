//! Applications of the shapes that people write: they build, they run, twice the same, and as BuildKit builds them.
//!
//! The sources are in `tests/applications`; what they are built with is one image of Debian packages. `REBIT_APPLICATION=NAME` chooses one,
//! and then it is compared whatever that takes: to load the image with the tools into a daemon takes longer than all else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::differential::daemon::Daemon;
use crate::differential::image::{self, Listing};
use crate::support::{Ended, World, debian};

/// The images that the applications start from.
const BASES: [&str; 3] = ["debian:bookworm", "runtime:latest", "tools:latest"];

struct Application {
    name: &'static str,
    /// The directory below `tests/applications`.
    context: &'static str,
    args: &'static [&'static str],
    run: &'static [&'static str],
    says: &'static str,
    compared: Compared,
}

/// When an application is built by BuildKit too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// It needs no image but Debian's.
    Always,
    /// It needs the image with the tools.
    WhenChosen,
    /// The other builder does not know every instruction that is used.
    Never,
}

const APPLICATIONS: [Application; 9] = [
    Application {
        name: "go",
        context: "go",
        args: &["--build-arg", "VERSION=1.2"],
        run: &["-name", "you"],
        says: "Hello, you (666b7816, 1.2)\n",
        compared: Compared::WhenChosen,
    },
    Application {
        name: "rust",
        context: "rust",
        args: &[],
        run: &[],
        says: "one 3\nthree 5\n",
        compared: Compared::WhenChosen,
    },
    Application {
        name: "node",
        context: "node",
        args: &[],
        run: &["2 days"],
        says: "2 days is 172800000 ms (production)\n",
        compared: Compared::WhenChosen,
    },
    Application {
        name: "python",
        context: "python",
        args: &["--build-arg", "APP_MODE=test"],
        run: &[],
        says: "bücher.example xn--bcher-kva.example 1.16.0 test\n",
        compared: Compared::WhenChosen,
    },
    Application {
        name: "c",
        context: "c",
        args: &[],
        run: &["90"],
        says: "primes 1.2: 97\n",
        compared: Compared::WhenChosen,
    },
    Application {
        name: "api",
        context: "services",
        args: &["--target", "api", "--build-arg", "SERVICE=api"],
        run: &[],
        says: "api ping live on 8080 as 999\n",
        compared: Compared::Always,
    },
    Application {
        name: "worker",
        context: "services",
        args: &["--target", "worker", "--build-arg", "SERVICE=worker"],
        run: &[],
        says: "worker in /opt/shop live\n",
        compared: Compared::Always,
    },
    Application {
        name: "all",
        context: "services",
        args: &["--target", "all", "--build-arg", "SERVICE=all"],
        run: &[],
        says: "all.sh\n",
        compared: Compared::Always,
    },
    Application {
        name: "site",
        context: "services",
        args: &[
            "--file={}/services/site.Dockerfile",
            "--build-context=assets={}/services-assets",
            "--build-context=api=store:app-api",
        ],
        run: &[],
        says: "",
        compared: Compared::Never,
    },
];

/// What may differ in any application, and why.
const KNOWN: [(&str, &str); 3] = [
    ("/etc/shadow", "holds the day on which a user was added, which here is the epoch's"),
    ("/wheels", "the old BuildKit leaves the place of a mount"),
    ("config.WorkingDir", "an image from scratch has none, which means `/`"),
];

#[test]
fn applications_build_and_run_and_are_what_buildkit_makes_of_them() {
    let world = World::new();
    if !debian::import(&world) {
        return;
    }
    let chosen = std::env::var("REBIT_APPLICATION").ok();
    let applications: Vec<&Application> = APPLICATIONS
        .iter()
        .filter(|application| chosen.as_ref().is_none_or(|name| application.name == name))
        .collect();
    tools(&world);
    let mut digests = Vec::new();
    for application in &applications {
        digests.push(build(&world, application));
        if !application.says.is_empty() {
            let tag = format!("app-{}", application.name);
            let run = ["run", &tag].into_iter().chain(application.run.iter().copied());
            assert_eq!(world.ok(run), application.says, "{}", application.name);
        }
    }
    let wanted = |application: &&&Application| match application.compared {
        Compared::Always => true,
        Compared::WhenChosen => chosen.is_some(),
        Compared::Never => false,
    };
    compare(&world, &applications.iter().filter(wanted).copied().collect::<Vec<_>>());

    // Once more, where nothing of them is known.
    let again = World::new();
    for image in BASES {
        again.ok(["import", &archive(&world, image), &format!("store:{image}")]);
    }
    for (application, first) in applications.iter().zip(digests) {
        assert_eq!(build(&again, application), first, "{} is not the same again", application.name);
    }
    again.fsck();
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/applications").canonicalize().unwrap()
}

/// Builds the images that the applications are built with, and exports them.
fn tools(world: &World) {
    let context = sources().join("tools").display().to_string();
    for target in ["runtime", "tools"] {
        world.ok(["build", "-q", "--compression=none", "--target", target, "-t", target, &context]);
    }
    for image in BASES {
        world.ok(["export", &format!("store:{image}"), &archive(world, image)]);
    }
}

fn archive(world: &World, image: &str) -> String {
    format!("docker-archive:{}:{image}", world.path(&format!("{}.tar", image.replace(':', "-"))).display())
}

fn build(world: &World, application: &Application) -> String {
    let ended = world.run(arguments(application, &["--compression=none"], application.context));
    assert_eq!(ended.code, 0, "{}: {}", application.name, ended.stderr);
    ended.stdout.trim().to_owned()
}

/// The arguments of either builder.
fn arguments(application: &Application, more: &[&str], context: &str) -> Vec<String> {
    let sources = sources();
    let tag = format!("app-{}", application.name);
    let mut args: Vec<String> =
        ["build", "-q", "--network=host", "-t", &tag].map(str::to_owned).into_iter().collect();
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    args.extend(secrets());
    args.extend(application.args.iter().map(|arg| arg.replace("{}", &sources.display().to_string())));
    args.push(sources.join(context).display().to_string());
    args
}

/// How this machine's own tools reach their registries, where it says so.
fn secrets() -> Vec<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let places = [
        ("ca", debian::certificates().map(Path::to_owned).unwrap_or_default()),
        ("npmrc", home.join(".npmrc")),
        ("pip", PathBuf::from("/etc/pip.conf")),
        ("cargo", home.join(".cargo/config.toml")),
    ];
    let there = places.iter().filter(|(_, path)| path.is_file());
    there.map(|(id, path)| format!("--secret=id={id},src={}", path.display())).collect()
}

/// Builds the applications with BuildKit too and compares the images.
fn compare(world: &World, applications: &[&Application]) {
    if applications.is_empty() {
        return;
    }
    let Some(daemon) = Daemon::start(&world.path("docker")) else { return };
    let accepted = |ended: Ended| assert_eq!(ended.code, 0, "{}", ended.stderr);
    let tools = applications.iter().any(|application| application.compared == Compared::WhenChosen);
    for image in BASES.iter().take(if tools { BASES.len() } else { 1 }) {
        let archive = world.path(&format!("{}.tar", image.replace(':', "-")));
        accepted(daemon.run(["load", "-q", "-i", &archive.to_string_lossy()]));
    }
    let mut wrong = String::new();
    for application in applications {
        let dockerfile = world.path("Dockerfile");
        let text = fs::read_to_string(sources().join(application.context).join("Dockerfile")).unwrap();
        // The frontend of the daemon itself: there is no registry to fetch another one from.
        fs::write(&dockerfile, text.replace("# syntax=", "# no syntax=")).unwrap();
        let file = format!("--file={}", dockerfile.display());
        let args = arguments(application, &[&file], application.context);
        let built = daemon.run(args.iter().map(String::as_str));
        assert_eq!(built.code, 0, "{}: {}", application.name, built.stderr);

        let archive = world.path("image.tar");
        let (name, file) = (format!("app-{}", application.name), archive.display().to_string());
        accepted(daemon.run(["save", &name, "-o", &file]));
        let theirs = image::list(&archive);
        world.ok(["export", &format!("store:{name}"), &format!("docker-archive:{file}")]);
        differences(application.name, &theirs, &image::list(&archive), &mut wrong);
    }
    assert!(wrong.is_empty(), "unexplained differences:\n{wrong}");
}

fn differences(name: &str, theirs: &Listing, ours: &Listing, wrong: &mut String) {
    let nothing = "nothing".to_owned();
    for key in theirs.keys().chain(ours.keys().filter(|key| !theirs.contains_key(*key))) {
        let (their, our) = (theirs.get(key).unwrap_or(&nothing), ours.get(key).unwrap_or(&nothing));
        let known = KNOWN.iter().any(|(known, _)| key == known);
        if their != our && !known {
            wrong.push_str(&format!("{name}: {key}: docker {their} | rebit {our}\n"));
        }
    }
}
