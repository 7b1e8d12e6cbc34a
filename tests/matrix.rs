//! The same Dockerfiles under everything that differs between two machines: each cell of the table is a digest, compared with the plain build's.
//!
//! Small Dockerfiles are built under every axis; those that need Debian under those that need no store of their own. `REBIT_MATRIX=full` is
//! every Dockerfile under every axis, `small` what needs no Debian, `docker` what BuildKit makes of those, and any other text the
//! Dockerfile of that name or the axes whose names hold it. `REBIT_DEBIAN_TAR` names a root file system to start from, `REBIT_RELEASE` a release build of the program.

mod axis;
mod case;
mod cell;
mod docker;
mod lab;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::{can_build, skip};
use axis::{Axis, axes};
use case::{Case, cases};
use cell::{Cell, Skipped};
use lab::Lab;

/// Cells that are built at the same time.
const WORKERS: usize = 3;

/// How a cell went.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The digest of the plain build.
    Same,
    /// Another one; what differs.
    Different(String),
    /// It was not tried, for a reason that this machine has.
    Skipped(String),
    /// It is no part of this table.
    Left,
}

#[test]
fn every_cell_has_the_digest_of_the_plain_build() {
    if !can_build() {
        return;
    }
    let chosen = std::env::var("REBIT_MATRIX").unwrap_or_default();
    if chosen == "docker" {
        let (lab, cases) = (Lab::new(&[]), cases());
        let table = docker::table(&lab, &cases.iter().collect::<Vec<_>>());
        return say(&table.unwrap_or_default());
    }
    let start = Instant::now();
    let (axes, cases) = (axes(), cases());
    let needed = |case: &&Case| axes.iter().any(|axis| wanted(axis, case, &chosen));
    let bases: Vec<_> = cases.iter().filter(needed).map(|case| case.base).collect();
    let lab = Lab::new(&bases);
    let cases: Vec<&Case> = cases.iter().filter(|case| needed(case) && lab.has(case)).collect();
    let plain: Vec<String> = cases.iter().map(|case| plain(&lab, case)).collect();
    let mut jobs = Vec::new();
    for (row, axis) in axes.iter().enumerate() {
        for (column, case) in cases.iter().enumerate() {
            if wanted(axis, case, &chosen) {
                jobs.push((row, column));
            }
        }
    }
    let outcomes = Mutex::new(vec![vec![Outcome::Left; cases.len()]; axes.len()]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((row, column)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = try_cell(&lab, &axes[*row], cases[*column], &plain[*column]);
                    outcomes.lock().unwrap()[*row][*column] = outcome;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let (table, wrong) = table(&axes, &cases, &outcomes);
    skip_nothing_silently(&axes, &outcomes);
    say(&format!("{table}\n{:.0} s\n", start.elapsed().as_secs_f64()));
    assert!(wrong.is_empty(), "{wrong}");
}

/// The digest that all others are compared with.
fn plain(lab: &Lab, case: &Case) -> String {
    match Cell::new(lab, case, case.is_large()).build() {
        Ok(digest) => digest,
        Err(Skipped(reason)) => panic!("{}: {reason}", case.name),
    }
}

fn wanted(axis: &Axis, case: &Case, chosen: &str) -> bool {
    let all = chosen == "full";
    let small = chosen == "small" && !case.is_large();
    let named = small || chosen.is_empty() || all || axis.name.contains(chosen) || case.name == chosen;
    let fits = (!axis.emulated || case.is_copies_only) && (axis.large || all || !case.is_large());
    named && fits && (axis.is_for)(case)
}

fn try_cell(lab: &Lab, axis: &Axis, case: &Case, plain: &str) -> Outcome {
    let mut cell = Cell::new(lab, case, axis.large && case.is_large());
    // A build that fails is a cell that differs, and the others go on.
    let built = catch_unwind(AssertUnwindSafe(|| (axis.build)(&mut cell)));
    let Ok(built) = built else { return Outcome::Different("the build failed; see above".to_owned()) };
    match built {
        Err(Skipped(reason)) => Outcome::Skipped(reason),
        Ok(digest) if digest == plain => Outcome::Same,
        Ok(digest) => {
            let why = cell.compare(plain, &digest);
            Outcome::Different(format!("{digest} instead of {plain}\n{why}"))
        }
    }
}

fn table(axes: &[Axis], cases: &[&Case], outcomes: &[Vec<Outcome>]) -> (String, String) {
    let (mut text, mut wrong) = (String::from("\n"), String::new());
    let width = axes.iter().map(|axis| axis.name.len()).max().unwrap_or(0);
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    let _ = writeln!(text, "{:width$}  {}", "", names.join(" "));
    let (mut same, mut all) = (0, 0);
    for (axis, row) in axes.iter().zip(outcomes) {
        if row.iter().all(|outcome| *outcome == Outcome::Left) {
            continue;
        }
        let _ = write!(text, "{:width$} ", axis.name);
        for (case, outcome) in cases.iter().zip(row) {
            let mark = match outcome {
                Outcome::Same => "=",
                Outcome::Different(why) => {
                    let _ = writeln!(wrong, "{} / {}: {why}", axis.name, case.name);
                    "DIFF"
                }
                Outcome::Skipped(_) => "skip",
                Outcome::Left => ".",
            };
            same += usize::from(*outcome == Outcome::Same);
            all += usize::from(matches!(outcome, Outcome::Same | Outcome::Different(_)));
            let _ = write!(text, " {mark:<0$}", case.name.len());
        }
        text.push('\n');
    }
    let _ = write!(text, "{same} of {all} cells have the digest of the plain build");
    (text, wrong)
}

fn skip_nothing_silently(axes: &[Axis], outcomes: &[Vec<Outcome>]) {
    for (axis, row) in axes.iter().zip(outcomes) {
        let reason = row.iter().find_map(|outcome| match outcome {
            Outcome::Skipped(reason) => Some(reason),
            _ => None,
        });
        if let Some(reason) = reason {
            skip(&format!("matrix: {}: {reason}", axis.name));
        }
    }
}

/// Says something where the test runner does not hide it.
fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}
