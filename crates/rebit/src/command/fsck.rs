//! `rebit fsck`.

use rebit_store::{Finding, FindingKind, FsckOptions, FsckReport, Store, StoreError};
use serde_json::json;

use crate::environment;
use crate::error::{CommandError, ExitKind, printable};
use crate::flags::{Flags, Fsck};
use crate::output::{self, line, say, size};

pub(crate) fn fsck(flags: &Flags, command: &Fsck) -> Result<(), CommandError> {
    let mut store = if command.rebuild_index {
        rebuild(flags)?
    } else {
        match environment::try_open(flags)? {
            Err(StoreError::CorruptIndex { .. }) if command.repair => rebuild(flags)?,
            opened => opened?,
        }
    };
    let options = FsckOptions { repair: command.repair };
    let mut report = store.fsck(&options, &mut |_| {})?;
    let is_index = |finding: &Finding| finding.kind == FindingKind::Index;
    if command.repair && report.findings.iter().any(is_index) {
        drop(store);
        store = rebuild(flags)?;
        let found = report.findings;
        report = store.fsck(&options, &mut |_| {})?;
        report.findings = [found, report.findings].concat();
    }
    if command.json {
        output::json(&json!({
            "clean": report.is_clean(),
            "packs": report.packs,
            "bytes": report.bytes,
            "objects": report.objects,
            "blobs": report.blobs,
            "findings": report.findings.iter().map(describe).collect::<Vec<_>>(),
            "unindexed_bytes": report.unindexed_bytes,
            "unindexed_images": report.unindexed_refs,
            "stray_files": report.stray_files,
            "forgotten_objects": report.forgotten_objects,
            "dropped_records": report.dropped_records,
        }))?;
    } else {
        report.findings.iter().for_each(|finding| say(format!("damaged: {}", printable(&describe(finding)))));
        if report.forgotten_objects > 0 {
            say(format!("forgot {} damaged objects", report.forgotten_objects));
        }
        if report.dropped_records > 0 {
            say(format!("dropped {} build records that cannot be used", report.dropped_records));
        }
        if report.rewrote_journal {
            say("wrote the journal of image names anew");
        }
        notes(&report);
        line(format!(
            "{} packs, {}, {} objects, {} blobs: {}",
            report.packs,
            size(report.bytes),
            report.objects,
            report.blobs,
            if report.is_clean() {
                "no damage".to_owned()
            } else {
                format!("{} findings", report.findings.len())
            }
        ))?;
    }
    if report.is_clean() {
        return Ok(());
    }
    let error = CommandError::message("the store is damaged").with_exit(ExitKind::NotVerified);
    Err(if command.repair {
        error
    } else {
        error.hint("--repair forgets what is damaged; import or build it again, and `rebit gc` drops the damaged bytes")
    })
}

/// What is no damage, and worth knowing.
fn notes(report: &FsckReport) {
    for path in &report.stray_files {
        say(format!("note: `{}` is no part of the store", printable(&path.display().to_string())));
    }
    for name in &report.unindexed_refs {
        say(format!(
            "note: the index does not know of the last change to image `{}`: a command was killed, or the index is older than the \
             packs; --rebuild-index takes it in",
            printable(name)
        ));
    }
}

/// Makes the index anew from the packs.
fn rebuild(flags: &Flags) -> Result<Store, CommandError> {
    let options = environment::options(flags, false);
    let (store, report) = Store::rebuild(&environment::store_path(flags)?, &options)?;
    say(format!("indexed {} objects and {} images of {} packs", report.objects, report.refs, report.packs));
    report.dangling_refs.iter().for_each(|name| say(format!("lost: image `{name}` is not whole")));
    Ok(store)
}

/// What is damaged, where, and which blobs and images it concerns.
fn describe(finding: &Finding) -> String {
    let mut text = finding.reason.clone();
    if let Some(pack) = &finding.pack {
        text.push_str(&format!(", in `{}`", pack.display()));
    }
    if let Some(offset) = finding.offset {
        text.push_str(&format!(" at {offset}"));
    }
    const SHOWN: usize = 8;
    let list = |items: Vec<String>| match items.len() {
        0..=SHOWN => items.join(", "),
        more => format!("{} and {} more", items[..SHOWN].join(", "), more - SHOWN),
    };
    if !finding.blobs.is_empty() {
        text.push_str(&format!("; blobs {}", list(finding.blobs.iter().map(ToString::to_string).collect())));
    }
    if !finding.objects.is_empty() {
        text.push_str(&format!(
            "; objects {}",
            list(finding.objects.iter().map(ToString::to_string).collect())
        ));
    }
    if !finding.refs.is_empty() {
        text.push_str(&format!("; images {}", list(finding.refs.clone())));
    }
    text
}
