//! The differences of files, grouped by what they are.

use std::collections::BTreeMap;

use rebit_image::diff::{Cause, FileChange, FileState, Finding, Report};

use crate::output::{count, size};

/// Files with the same kind of difference.
pub(super) struct Group<'a> {
    /// What it is, with its causes.
    pub(super) title: String,
    /// The files, the largest first, and the finding that put each into this group.
    pub(super) files: Vec<(&'a FileChange, Option<&'a Finding>)>,
}

/// Groups the paths of a report: those in which the most bytes are concerned first, what could be left aside last.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(bool, String), Group<'_>> = BTreeMap::new();
    let mut add = |ignorable: bool, title: String, file, finding| {
        let group = groups.entry((ignorable, title.clone())).or_insert(Group { title, files: Vec::new() });
        group.files.push((file, finding));
    };
    for file in &report.files {
        match file.state {
            FileState::Removed => add(false, "only in the first".to_owned(), file, None),
            FileState::Added => add(false, "only in the second".to_owned(), file, None),
            FileState::Changed => {}
        }
        let alone = file.findings.iter().all(|finding| finding.what == "size");
        for finding in &file.findings {
            // A size follows from the content; it is said beside it.
            if finding.what != "size" || alone {
                add(finding.ignorable.is_some(), title(finding), file, Some(finding));
            }
        }
    }
    let mut groups: Vec<((bool, String), Group<'_>)> = groups.into_iter().collect();
    for (_, group) in &mut groups {
        group.files.sort_by_key(|(file, _)| std::cmp::Reverse(file.size));
    }
    let bytes =
        |group: &Group<'_>| group.files.iter().fold(0, |sum: u64, (file, _)| sum.saturating_add(file.size));
    groups.sort_by_key(|((ignorable, _), group)| (*ignorable, std::cmp::Reverse(bytes(group))));
    groups.into_iter().map(|(_, group)| group).collect()
}

pub(super) fn title(finding: &Finding) -> String {
    format!("{}{}", finding.what, because(&finding.causes))
}

/// ` (looks like: a, b)`, or nothing.
pub(super) fn because(causes: &[Cause]) -> String {
    if causes.is_empty() {
        return String::new();
    }
    let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
    format!(" (looks like: {})", causes.join(", "))
}

/// A path of a group, with what is known of it in a few words.
pub(super) fn line(file: &FileChange, finding: Option<&Finding>) -> String {
    let Some(finding) = finding else {
        let inside = match file.entries {
            0 => String::new(),
            entries => format!(", {}", count(entries, "entry", "entries")),
        };
        return match file.kind {
            "file" | "directory" => format!("{} ({}, {}{inside})", file.path, file.kind, size(file.size)),
            kind => format!("{} ({kind})", file.path),
        };
    };
    match (&finding.a, &finding.b) {
        (None, None) => format!("{} ({})", finding.place, size(file.size)),
        (a, b) => {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            format!("{}: {} → {}", finding.place, text(a), text(b))
        }
    }
}

/// What the two sides are, what became of how many files, and where that begins: a line each.
pub(super) fn summary(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, side) in [("a", &report.a), ("b", &report.b)] {
        let digest = side.digest.map(|digest| format!("  {digest}")).unwrap_or_default();
        lines.push(format!("{name}: {}{digest}", side.place));
    }
    if report.same {
        lines.push(match (report.semantic, report.ignored.is_empty()) {
            (true, false) => "no difference that counts".to_owned(),
            _ => "no difference".to_owned(),
        });
        return lines;
    }
    if let Some(layer) = &report.first_layer {
        let by = if layer.created_by.is_empty() { String::new() } else { format!(": {}", layer.created_by) };
        lines.push(format!("files begin to differ in layer {}{by}", layer.number));
    }
    let count = |state| report.files.iter().filter(|file| file.state == state).count();
    let [changed, added, removed] = [FileState::Changed, FileState::Added, FileState::Removed].map(count);
    lines.push(format!("files: {changed} changed, {added} only in b, {removed} only in a"));
    if report.more_files > 0 {
        lines.push(format!("and {} more files that differ", report.more_files));
    }
    lines
}

/// What was left aside, a line each.
pub(super) fn ignored(report: &Report) -> Vec<String> {
    report.ignored.iter().map(|(what, count)| format!("{what}: {count}")).collect()
}
