//! `rebit fsck`.

use rebit_store::{Finding, FsckOptions, Store};
use serde_json::json;

use crate::environment;
use crate::error::{CommandError, ExitKind, printable};
use crate::flags::{Flags, Fsck};
use crate::output::{self, line, say, size};

pub(crate) fn fsck(flags: &Flags, command: &Fsck) -> Result<(), CommandError> {
    let store = if command.rebuild_index {
        let options = environment::store_options(flags, false);
        let (store, report) = Store::rebuild(&environment::store_path(flags)?, &options)?;
        say(format!(
            "indexed {} objects and {} images of {} packs",
            report.objects, report.refs, report.packs
        ));
        report.dangling_refs.iter().for_each(|name| say(format!("lost: image `{name}` is not whole")));
        store
    } else {
        environment::open_store(flags)?
    };
    let report = store.fsck(&FsckOptions { repair: command.repair }, &mut |_| {})?;
    if command.json {
        output::json(&json!({
            "clean": report.is_clean(),
            "packs": report.packs,
            "bytes": report.bytes,
            "objects": report.objects,
            "blobs": report.blobs,
            "findings": report.findings.iter().map(describe).collect::<Vec<_>>(),
        }))?;
    } else {
        report.findings.iter().for_each(|finding| say(format!("damaged: {}", printable(&describe(finding)))));
        if report.forgotten_objects > 0 {
            say(format!("forgot {} damaged objects", report.forgotten_objects));
        }
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
