//! The verdict on a rebuild, for a terminal.

use rebit_image::diff::{FileState, Finding};
use rebit_image::rebuild::{FileVerdict, LayerVerdict, Moved, Rebuild, StepName, Verdict};

use crate::error::printable;
use crate::output::count;

/// Most files, and most fields, that are named.
const MOST: usize = 20;
/// Lines that are shown of what differs in a file.
const LINES: usize = 12;

/// A verdict in words.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "identical blob",
        Verdict::IdenticalTar => "identical tar, other encoder",
        Verdict::IdenticalTree => "identical tree, other metadata",
        Verdict::Different => "different content",
    }
}

/// The report; the verdict comes last.
pub(super) fn text(report: &Rebuild) -> String {
    let mut out = vec![format!("given:   {}", report.given), format!("rebuilt: {}", report.rebuilt)];
    out.extend(report.layers.iter().map(layer));
    if !report.documents.is_empty() {
        out.push("metadata:".to_owned());
        out.extend(report.documents.iter().take(MOST).map(|finding| format!("  {}", field(finding))));
        out.extend(more(report.documents.len(), 0, "field", "fields"));
    }
    if !report.files.is_empty() {
        out.push("files:".to_owned());
        report.files.iter().take(MOST).for_each(|found| file(found, &mut out));
        out.extend(more(report.files.len(), report.more_files, "file", "files"));
    }
    if !report.moved.is_empty() {
        out.push("by its provenance:".to_owned());
        out.extend(report.moved.iter().map(|moved| format!("  {}", self::moved(moved))));
    }
    out.push(format!("verdict: {}", verdict(report.verdict)));
    // Whatever stands in a name or a file, a line stays one.
    let line = |text: &String| format!("{}\n", printable(text).replace('\n', "\\n"));
    out.iter().map(line).collect()
}

fn more(found: usize, further: u64, one: &str, many: &str) -> Option<String> {
    let left = found.saturating_sub(MOST) as u64 + further;
    (left > 0).then(|| format!("  and {} more", count(left, one, many)))
}

fn layer(layer: &LayerVerdict) -> String {
    let by = if layer.created_by.is_empty() { String::new() } else { format!(": {}", layer.created_by) };
    let detail = match layer.verdict {
        Verdict::IdenticalTar => match &layer.encoder {
            Some(encoder) => format!(": {encoder}"),
            None => ", and none that is known".to_owned(),
        },
        Verdict::IdenticalTree => format!(": {}", layer.metadata.join(", ")),
        Verdict::Different if layer.given.is_none() => ", only in the rebuilt image".to_owned(),
        Verdict::Different if layer.rebuilt.is_none() => ", only in the given image".to_owned(),
        Verdict::Identical | Verdict::Different => String::new(),
    };
    format!("layer {}: {}{detail}{}", layer.number, verdict(layer.verdict), crate::output::cut(&by, 100))
}

fn field(finding: &Finding) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    match (&finding.a, &finding.b) {
        (None, None) => format!("{}: {}", finding.place, finding.what),
        (a, b) => format!("{}: {} → {}", finding.place, value(a), value(b)),
    }
}

fn file(found: &FileVerdict, out: &mut Vec<String>) {
    let state = match found.change.state {
        FileState::Removed => "only in the given image",
        FileState::Added => "only in the rebuilt image",
        FileState::Changed => "not the same",
    };
    out.push(format!("  {}: {state}", found.change.path));
    let mut steps = found.steps.iter().rev();
    out.extend(steps.next().map(|made| format!("    made by {}", step(made))));
    out.extend(steps.map(|way| format!("    by way of {}", step(way))));
    for finding in &found.change.findings {
        let detail = match (&finding.a, &finding.b) {
            (None, None) => finding.what.clone(),
            (a, b) => {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
                format!("{}: {} → {}", finding.what, value(a), value(b))
            }
        };
        out.push(format!("    {detail}"));
        out.extend(finding.detail.iter().take(LINES).map(|line| format!("      {line}")));
    }
}

fn step(step: &StepName) -> String {
    let stage = step.stage.as_ref().map(|stage| format!("[{stage}] ")).unwrap_or_default();
    format!("{stage}{}", step.instruction)
}

fn moved(moved: &Moved) -> String {
    match moved {
        Moved::Input { name, given, rebuilt } => format!("{name} was {given} and is {rebuilt}"),
        Moved::Instruction { step: now, given } => format!("{} was `{given}`", step(now)),
        Moved::Read { step: now, from } => format!("{} read something else of {from}", step(now)),
        Moved::Result { step: now, network } => {
            let network = if *network { "; it could reach a network" } else { "" };
            format!("{} gave something else from the same{network}", step(now))
        }
    }
}
