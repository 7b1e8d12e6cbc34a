//! Files in which a step left the date: they are the same twice on one day, and may differ on the next.
//!
//! The clock of a process cannot be set apart from the machine's, so what a step does on another day is not tried but looked for.

use std::collections::BTreeSet;
use std::io::Read as _;

use rebit_build::Images as _;
use rebit_build::graph::{Base, Op};
use rebit_build::progress::StepId;
use rebit_build::time::civil;
use rebit_layer::{Change, Compare, Kind, Metadata, Node, Tree, TreePath, diff};
use rebit_oci::object::ObjectSource as _;
use rebit_oci::{ObjectId, TreeId};

use super::builds::{Bench, Ran};
use super::fixing;
use super::judge::Judged;
use crate::error::{CommandError, printable};

/// Larger files are not searched.
const MAX_FILE: u64 = 1 << 20;
/// Most bytes that are searched of what one step wrote.
const MAX_STEP: u64 = 128 << 20;
const DAY: i64 = 86_400;

/// A step that left the date.
#[derive(Debug)]
pub(super) struct Dated {
    pub(super) id: StepId,
    pub(super) files: Vec<DatedFile>,
}

/// A file that holds the date.
#[derive(Debug)]
pub(super) struct DatedFile {
    pub(super) path: String,
    /// The date, as it is written there.
    pub(super) text: String,
    /// Fixers that are for it.
    pub(super) fixers: Vec<&'static str>,
}

/// Searches what `RUN` steps of `ran` wrote for the days from `start` to `end`, in seconds since 1970; files that are known to differ are left aside.
pub(super) fn dated(
    bench: &Bench<'_>,
    ran: &Ran,
    judged: &[Judged],
    start: i64,
    end: i64,
) -> Result<Vec<Dated>, CommandError> {
    let days: Vec<Day> = (start.div_euclid(DAY)..=end.div_euclid(DAY)).map(Day::new).collect();
    let mut found = Vec::new();
    for (id, after) in &ran.trees {
        let is_run = bench.step(*id).is_some_and(|step| matches!(step.op, Op::Run(_)));
        let before = before(bench, ran, *id);
        if !is_run || before == Some(*after) {
            continue;
        }
        let differs = judged.iter().filter(|step| step.id == *id).flat_map(|step| &step.differences);
        let known: BTreeSet<&str> = differs.map(|(difference, _)| difference.path.as_str()).collect();
        let files = files(bench, before.as_ref(), after, &days, &known)?;
        if !files.is_empty() {
            found.push(Dated { id: *id, files });
        }
    }
    Ok(found)
}

/// The tree that a step starts from; `None` for none.
fn before(bench: &Bench<'_>, ran: &Ran, id: StepId) -> Option<TreeId> {
    if let Some(step) = id.step.checked_sub(1) {
        return ran.trees.get(&StepId { step, ..id }).copied();
    }
    match &bench.graph.stages.get(id.stage)?.base {
        Base::Scratch => None,
        Base::Image { manifest, .. } => bench.bases.image(manifest)?.tree().ok()?,
        Base::Context(name) => ran.contexts.get(&Some(name.clone())).copied(),
        Base::Stage(number) => {
            let stage = bench.graph.stages.iter().position(|stage| stage.index == *number)?;
            // What the stage ends with is what a step after its last one would start from.
            before(bench, ran, StepId { stage, step: bench.graph.stages.get(stage)?.steps.len() })
        }
    }
}

fn files(
    bench: &Bench<'_>,
    before: Option<&TreeId>,
    after: &TreeId,
    days: &[Day],
    known: &BTreeSet<&str>,
) -> Result<Vec<DatedFile>, CommandError> {
    let before = match before {
        Some(tree) => Tree::load(tree, bench.session)?,
        None => Tree::with_root(Metadata::directory(bench.graph.epoch)),
    };
    let changes = diff(&before, &Tree::load(after, bench.session)?, Compare::IgnoreMtime);
    let (mut found, mut searched) = (Vec::new(), 0_u64);
    for (path, change) in changes.iter() {
        let Change::Upsert(Node { kind: Kind::File { object, size, .. }, .. }) = change else { continue };
        let shown = printable(&path.to_string());
        if known.contains(shown.as_str()) || *size > MAX_FILE || searched.saturating_add(*size) > MAX_STEP {
            continue;
        }
        searched += size;
        let bytes = read(bench, object)?;
        let old = match before.get(path).map(|node| &node.kind) {
            Some(Kind::File { object, size, .. }) if *size <= MAX_FILE => read(bench, object)?,
            _ => Vec::new(),
        };
        // What was there before the step is not its own.
        let new = |day: &Day| day.in_file(path, &bytes, &old).filter(|text| !stands_alone(&old, text));
        if let Some(text) = days.iter().find_map(new) {
            let fixers = fixing::changing(bench, path, &bytes);
            found.push(DatedFile { path: shown, text, fixers });
        }
    }
    Ok(found)
}

fn read(bench: &Bench<'_>, object: &ObjectId) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = bench.session.open(object)?.read_to_end(&mut bytes);
    read.map_err(|error| CommandError::message(format!("cannot read a file of the build: {error}")))?;
    Ok(bytes)
}

/// A day as programs write it.
struct Day {
    /// Days since 1970-01-01.
    number: String,
    /// The year, which most forms have.
    year: String,
    forms: Vec<String>,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Day {
    fn new(number: i64) -> Self {
        let (year, month, day) = civil(number);
        let long = MONTHS.get(usize::from(month) - 1).copied().unwrap_or_default();
        let short = long.get(..3).unwrap_or_default();
        let two = year.rem_euclid(100);
        let forms = vec![
            format!("{year:04}-{month:02}-{day:02}"),
            format!("{year:04}/{month:02}/{day:02}"),
            format!("{year:04}{month:02}{day:02}"),
            format!("{day:02}.{month:02}.{year:04}"),
            format!("{day:02}/{month:02}/{year:04}"),
            format!("{month:02}/{day:02}/{year:04}"),
            format!("{day} {short} {year:04}"),
            format!("{day:02} {short} {year:04}"),
            format!("{day:02}-{short}-{year:04}"),
            format!("{day} {long} {year:04}"),
            // The preprocessor's __DATE__.
            format!("{short} {day:>2} {year:04}"),
            format!("{short} {day}, {year:04}"),
            format!("{long} {day}, {year:04}"),
            // `date +%D`
            format!("{month:02}/{day:02}/{two:02}"),
        ];
        Self { number: number.to_string(), year: format!("{year:04}"), forms }
    }

    /// The day as it stands in a file, if it does; of `old`, which was there before, only lines of shadow(5) matter.
    fn in_file(&self, path: &TreePath, bytes: &[u8], old: &[u8]) -> Option<String> {
        if matches!(path.as_bytes(), b"etc/shadow" | b"etc/shadow-") {
            let lines = |bytes| <[u8]>::split(bytes, |byte| *byte == b'\n');
            let day = |line: &[u8]| line.split(|byte| *byte == b':').nth(2) == Some(self.number.as_bytes());
            let found = lines(bytes).any(|line| day(line) && !lines(old).any(|old| old == line));
            return found.then(|| format!("day {}", self.number));
        }
        let with_year = contains(bytes, &self.year);
        let forms = self.forms.iter().filter(|form| with_year || !form.contains(&self.year));
        forms.into_iter().find(|form| stands_alone(bytes, form)).cloned()
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Whether `text` is in `bytes` and no digit goes on with it.
fn stands_alone(bytes: &[u8], text: &str) -> bool {
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let mut found = bytes.windows(text.len()).enumerate().filter(|(_, part)| *part == text.as_bytes());
    found.any(|(at, _)| !digit(at.checked_sub(1)) && !digit(Some(at + text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_found_as_programs_write_it() {
        let day = Day::new(20_781); // 2026-11-24
        let check = |path: &str, text: &str, expected: Option<&str>| {
            let found = day.in_file(&TreePath::parse(path).unwrap(), text.as_bytes(), b"b:!:20781\n");
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("a", "built 2026-11-24\n", Some("2026-11-24"));
        check("a", "2026-11-24T01:02:03Z", Some("2026-11-24"));
        check("a", "v20261124-1", Some("20261124"));
        check("a", "9320261124", None);
        check("a", "202611241", None);
        check("a", "\0Nov 24 2026\0", Some("Nov 24 2026"));
        check("a", "Tue, 24 Nov 2026 10:00", Some("24 Nov 2026"));
        check("a", "11/24/26", Some("11/24/26"));
        check("a", "2026-11-23 and 2027-11-24", None);
        check("a", "20781", None);
        check("etc/shadow", "r:*:19000:0\nw:!:20781::::::\n", Some("day 20781"));
        check("etc/shadow", "b:!:20781\n", None);
        check("etc/shadow", "r:*:19000:20781\n", None);
        // A day of one digit, as the preprocessor writes it.
        let early = Day::new(20_758);
        assert_eq!(
            early.in_file(&TreePath::parse("a").unwrap(), b"Nov  1 2026", b"").as_deref(),
            Some("Nov  1 2026")
        );
    }
}
