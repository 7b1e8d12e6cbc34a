//! The example of the README, from Debian's packages to a verified image of one file.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{World, debian, ended, has, is_root};

#[test]
fn the_example_becomes_an_image_of_one_file() {
    let world = example();
    if !is_root() || !debian::locks(&world, "calculator/rebit.toml") {
        return;
    }
    let build = |extra: &[&str]| {
        let mut args = vec!["build", "--progress=plain", "-t", "calculator", "calculator"];
        args.extend(extra);
        let ended = world.run(args);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        (ended.stdout.trim().to_owned(), ended.stderr)
    };
    let (first, _) = build(&[]);
    assert_eq!(world.ok(["run", "calculator", "2 * (3 + 4)", "1/8"]), "14\n0.125\n");
    let (again, said) = build(&[]);
    assert_eq!((again.as_str(), said.matches("CACHED").count()), (first.as_str(), 4), "{said}");

    // A changed source: the packages stay installed, the compiler runs.
    let source = world.path("calculator/calculator.go");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("division by zero", "a division by zero")).unwrap();
    let (changed, said) = build(&[]);
    assert_ne!(changed, first);
    assert_eq!(said.matches("CACHED").count(), 1, "{said}");
    fs::write(&source, text).unwrap();
    let (back, said) = build(&[]);
    assert_eq!((back.as_str(), said.matches("CACHED").count()), (first.as_str(), 4), "{said}");

    let images: serde_json::Value = serde_json::from_str(&world.ok(["images", "--json"])).unwrap();
    let calculator = images
        .as_array()
        .unwrap()
        .iter()
        .find(|image| image["name"].as_str().unwrap().contains("calculator"))
        .unwrap();
    assert!(calculator["size"].as_u64().unwrap() < 3_000_000, "{calculator}");
    world.ok(["export", "store:calculator", "oci-archive:calc.tar"]);
    assert_eq!(world.ok(["verify", "oci-archive:calc.tar", "--digest", &first]).trim(), first);
    unpack_with_umoci(&world);
    other_bases(&world);
    world.fsck();
}

/// The same program on other bases: each has what it is for, and nothing of the stage is built again.
fn other_bases(world: &World) {
    for (base, shell) in [("distroless/static", false), ("busybox", true), ("debian:bookworm", true)] {
        let arg = format!("BASE={base}");
        let args = ["build", "--progress=plain", "-t", "other", "--build-arg", &arg, "calculator"];
        let built = world.run(args);
        assert_eq!((built.code, built.stderr.matches("CACHED").count()), (0, 3), "{base}: {}", built.stderr);
        assert_eq!(world.ok(["run", "other", "6*7"]), "42\n", "{base}");
        let asked = world.run(["run", "--entrypoint", "/bin/sh", "other", "-c", "ls / && /app 1+1"]);
        assert_eq!(asked.code == 0 && asked.stdout.ends_with("2\n"), shell, "{base}: {}", asked.stderr);
    }
    // What the rest of the recipe file says: no time is left behind in the stage.
    let stage = world.run(["build", "--progress=plain", "-t", "stage", "--target", "build", "calculator"]);
    assert_eq!((stage.code, stage.stderr.matches("CACHED").count()), (0, 3), "{}", stage.stderr);
    let left = "find /root/.cache /var/log/apt /var/lib/apt/lists /var/cache/ldconfig -type f";
    assert_eq!(world.ok(["run", "stage"].into_iter().chain(left.split(' '))), "");
}

#[test]
fn the_example_has_nothing_that_a_check_finds() {
    let world = example();
    for base in ["scratch", "distroless/static", "busybox", "debian:bookworm"] {
        let arg = format!("BASE={base}");
        let checked = world.run(["build", "--check", "--build-arg", &arg, "calculator"]);
        assert_eq!(checked.code, 0, "{base}: {}{}", checked.stdout, checked.stderr);
    }
}

/// A world with the example in it.
fn example() -> World {
    let world = World::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/calculator");
    copy(&example, &world.path("calculator"));
    world
}

fn unpack_with_umoci(world: &World) {
    if !has("umoci") {
        return;
    }
    world.ok(["export", "store:calculator", "oci:layout:latest"]);
    let unpacked = ended(
        Command::new("umoci")
            .args(["unpack", "--image", "layout:latest", "bundle"])
            .current_dir(world.dir.path()),
    );
    assert_eq!(unpacked.code, 0, "{}", unpacked.stderr);
    let names: Vec<_> =
        fs::read_dir(world.path("bundle/rootfs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["app"]);
    let answer = ended(Command::new(world.path("bundle/rootfs/app")).arg("6*7"));
    assert_eq!(answer.stdout, "42\n");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
