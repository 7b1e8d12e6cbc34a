//! The axes that Docker's BuildKit has too, for the side by side: by hand, `REBIT_MATRIX=docker`.
//!
//! Nothing is asserted of another builder. Of a build two things are compared with the plain one: the image, and its layers alone.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::axis::{group_writes, touch};
use super::case::Case;
use super::cell::Cell;
use super::lab::Lab;
use crate::differential::daemon::Daemon;
use crate::support::{ended, skip};

/// Changes the context of a build.
type Change = fn(&mut Cell<'_>);

/// What differs, and whether the daemon is another one.
const AXES: [(&str, bool, Change); 7] = [
    ("plain, again", false, |_| {}),
    ("another daemon", true, |_| {}),
    ("context: of 1971", false, |cell| touch(cell, "@40000000")),
    ("context: of 2037", false, |cell| touch(cell, "@2120000000")),
    ("context: checked out under umask 002", false, |cell| group_writes(cell)),
    ("context: hard links", false, |cell| {
        let copied =
            ended(Command::new("cp").args(["-al", "context", "linked"]).current_dir(cell.world.dir.path()));
        assert_eq!(copied.code, 0, "{}", copied.stderr);
        cell.context = cell.path("linked").display().to_string();
    }),
    ("paths: long, with spaces", false, |cell| {
        let long = cell.path("a directory/with spaces");
        fs::create_dir_all(long.parent().unwrap()).unwrap();
        fs::rename(cell.path("context"), &long).unwrap();
        cell.context = long.display().to_string();
    }),
];

/// An image's digest, and the digests of its layers.
type Image = (String, String);

/// The table, or `None` where there is no daemon.
pub(super) fn table(lab: &Lab, cases: &[&Case]) -> Option<String> {
    let daemons = [start(lab, "first")?, start(lab, "second")?];
    let small: Vec<&&Case> = cases.iter().filter(|case| !case.is_large()).collect();
    let plain: Vec<Option<Image>> = small.iter().map(|case| build(lab, case, &daemons[0], &|_| {})).collect();
    let mut text = String::from(
        "\nBuildKit: = the same image, layers: only its layers are the same, DIFF: not even those\n",
    );
    let names: Vec<&str> = small.iter().map(|case| case.name).collect();
    let _ = writeln!(text, "{:38} {}", "", names.join(" "));
    let (mut images, mut layers, mut all) = (0, 0, 0);
    for (name, other, change) in AXES {
        let _ = write!(text, "{name:38}");
        for (case, plain) in small.iter().zip(&plain) {
            let built = build(lab, case, &daemons[usize::from(other)], &change);
            let (Some(plain), Some(built)) = (plain, built) else {
                let _ = write!(text, " {:<1$}", "skip", case.name.len());
                continue;
            };
            let (image, layer) = (plain.0 == built.0, plain.1 == built.1);
            (images, layers, all) = (images + usize::from(image), layers + usize::from(layer), all + 1);
            let mark = if image {
                "="
            } else if layer {
                "layers"
            } else {
                "DIFF"
            };
            let _ = write!(text, " {mark:<0$}", case.name.len());
        }
        text.push('\n');
    }
    let _ =
        writeln!(text, "{images} of {all} images and the layers of {layers} are those of the plain build");
    Some(text)
}

fn start(lab: &Lab, name: &str) -> Option<Daemon> {
    let daemon = Daemon::start(&lab.world.path(&format!("docker-{name}")))?;
    let _place = lab.archive("busybox");
    let loaded = daemon.run(["load", "-q", "-i", &lab.world.path("busybox.image").to_string_lossy()]);
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    Some(daemon)
}

/// Builds without what is known; `None` when this builder does not know an instruction.
fn build(lab: &Lab, case: &Case, daemon: &Daemon, change: &dyn Fn(&mut Cell<'_>)) -> Option<Image> {
    let mut cell = Cell::new(lab, case, false);
    let text = fs::read_to_string(cell.path("context/Dockerfile")).unwrap();
    // The frontend of the daemon itself: there is no registry to fetch another one from.
    fs::write(cell.path("context/Dockerfile"), text.replace("# syntax=", "# no syntax=")).unwrap();
    change(&mut cell);
    let built = daemon.run(["build", "-q", "--no-cache", "--network=host", &cell.context]);
    if built.code != 0 {
        skip(&format!("{}: {}", case.name, built.stderr.lines().last().unwrap_or_default()));
    }
    let image = built.stdout.trim().to_owned();
    let layers = daemon.run(["image", "inspect", "-f", "{{json .RootFS.Layers}}", &image]);
    (built.code == 0 && layers.code == 0).then_some((image, layers.stdout))
}
