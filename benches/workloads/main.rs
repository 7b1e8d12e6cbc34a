//! Large inputs, cold, unchanged and with one file changed, beside the peers that are installed.
//!
//! `REBIT_BENCH_ROOTFS=debian.tar cargo bench -p rebit --bench workloads -- [w1] [w2] [w2b] [w3] [w4]` needs root, GNU time
//! and a tar of a root file system with a shell and `cp`; docker's peer is a daemon of its own (`dockerd` has to be installed).
//! Inputs come from what the machine has: `/usr` and the Rust toolchain. Each figure is of one run, as such a run takes long;
//! a peer that is not installed is named as missing.
//!
//! | | input | what is built |
//! |---|---|---|
//! | W1 | the calculator's sources without its compiler | `COPY`, `RUN sha256sum` |
//! | W2 | 21,700 files, about 800 MB | `COPY tree /src`, `RUN cp -a /src /out`, scratch, `COPY --from` |
//! | W2b | the same | the same without the `RUN` |
//! | W3 | ten versions of an application on one base | imports of images with gzip layers |
//! | W4 | one file of 2 GB | `COPY` |

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints its figures"
)]

mod inputs;
mod measure;
mod peers;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use measure::{Figures, run};
use peers::Builder;

const REBIT: &str = env!("CARGO_BIN_EXE_rebit");

fn main() {
    let rootfs = std::env::var_os("REBIT_BENCH_ROOTFS").map(PathBuf::from).filter(|path| path.is_file());
    let Some(rootfs) = rootfs.and_then(|path| path.canonicalize().ok()) else {
        println!("skipped: REBIT_BENCH_ROOTFS does not name a tar of a root file system");
        return;
    };
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|word| word.eq_ignore_ascii_case(name));
    let dir = tempfile::Builder::new().prefix("rebit-bench-").tempdir().unwrap();
    let builds = [
        ("W1", inputs::small as fn(&Path)),
        ("W2", inputs::tree),
        ("W2b", inputs::tree),
        ("W4", inputs::one),
    ];
    for (name, make) in builds.into_iter().filter(|(name, _)| wanted(name)) {
        // Nothing is removed before the end: ext4 is slow to make files where many were removed a moment ago.
        let dir = dir.path().join(name);
        let context = dir.join("context");
        fs::create_dir_all(&context).unwrap();
        make(&context);
        fs::write(context.join("Dockerfile"), inputs::dockerfile(name)).unwrap();
        println!("\n{name}: {}", inputs::describe(&context));
        build(name, &dir, &context, &rootfs);
    }
    if wanted("W3") {
        versions::compare(dir.path(), &rootfs);
    }
}

/// The states of a build, by each builder in turn.
fn build(name: &str, dir: &Path, context: &Path, rootfs: &Path) {
    measure::header("builder");
    let mut ours: Vec<Figures> = Vec::new();
    let mut beside = None;
    for builder in peers::installed(name, dir, rootfs) {
        let figures = states(builder.as_ref(), context);
        if ours.is_empty() {
            ours.clone_from(&figures);
            beside = Some(peers::beside(dir, context, rootfs));
        }
        for ((state, figures), ours) in
            ["cold", "nothing changed", "one file changed"].iter().zip(&figures).zip(&ours)
        {
            measure::line(builder.name(), state, figures, ours);
        }
        if let Some(beside) = beside.take() {
            measure::line(builder.name(), "image beside it", &beside, &beside);
        }
    }
}

fn states(builder: &dyn Builder, context: &Path) -> Vec<Figures> {
    let mut figures = Vec::new();
    inputs::change(context);
    for state in 0..3 {
        if state == 1 {
            // A file that was written a moment ago is read again until its time stamp can be relied on.
            std::thread::sleep(std::time::Duration::from_millis(2100));
            for mut command in builder.build(context) {
                run(&mut command);
            }
        }
        if state == 2 {
            inputs::change(context);
        }
        let before = builder.stored();
        let mut sum = Figures::default();
        for mut command in builder.build(context) {
            sum.add(&run(&mut command));
        }
        sum.growth = builder.stored().saturating_sub(before);
        figures.push(sum);
    }
    figures
}

/// A command of the program on a store below `dir`.
fn rebit(dir: &Path, store: &str, args: &[&str]) -> Command {
    let mut command = Command::new(REBIT);
    command.args(args).env("REBIT_STORE", dir.join(store)).current_dir(dir);
    command
}
