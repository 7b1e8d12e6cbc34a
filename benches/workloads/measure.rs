//! What a command costs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What commands cost, together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of all processors; not what a daemon used.
    pub(crate) cpu: f64,
    /// Kilobytes of the largest process.
    pub(crate) peak: u64,
    /// Bytes given to the disk.
    pub(crate) written: u64,
    /// Bytes that the builder keeps more than before.
    pub(crate) growth: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.peak = self.peak.max(other.peak);
        self.written += other.written;
    }
}

/// Runs a command to its end under GNU time; one that fails is shown and ends the benchmark.
pub(crate) fn run(command: &mut Command) -> Figures {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut timed = Command::new("/usr/bin/time");
    timed
        .args(["-f", "%e %U %S %M %O", "-o"])
        .arg(file.path())
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        timed.current_dir(dir);
    }
    let output = timed.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(file.path()).unwrap();
    let numbers: Vec<f64> =
        text.lines().last().unwrap().split(' ').map(|word| word.parse().unwrap()).collect();
    Figures {
        wall: numbers[0],
        cpu: numbers[1] + numbers[2],
        peak: numbers[3] as u64,
        written: numbers[4] as u64 * 512,
        growth: 0,
    }
}

pub(crate) fn header(what: &str) {
    println!(
        "{what:<22}{:<18}{:>9}{:>8}{:>9}{:>9}{:>11}{:>11}",
        "", "wall", "ratio", "CPU", "peak", "written", "growth"
    );
}

/// One line; the ratio is ours to theirs, so small is good.
pub(crate) fn line(who: &str, state: &str, figures: &Figures, ours: &Figures) {
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    println!(
        "{who:<22}{state:<18}{:>7.2} s{:>8.3}{:>7.2} s{:>6} MB{:>11}{:>11}",
        figures.wall,
        ours.wall / figures.wall,
        figures.cpu,
        figures.peak / 1000,
        mb(figures.written),
        mb(figures.growth),
    );
}

/// Bytes of a directory as `du` counts them.
pub(crate) fn size_of(path: &Path, leave_out: &[&str]) -> u64 {
    let mut command = Command::new("du");
    command.args(["-s", "--block-size=1"]);
    command.args(leave_out.iter().map(|name| format!("--exclude={name}")));
    let output = command.arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
