//! `rebit gc`.

use std::time::{Duration, SystemTime};

use rebit_store::{GcPolicy, Store};
use serde_json::json;

use super::UNNAMED;
use crate::environment;
use crate::error::CommandError;
use crate::flags::{Flags, Gc};
use crate::output::{self, line, say, size};

pub(crate) fn gc(flags: &Flags, command: &Gc) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    // Ages are kept in seconds: to keep nothing is to keep what is newer than tomorrow.
    let cutoff = match command.keep {
        Duration::ZERO => environment::now().checked_add(Duration::from_secs(86_400)),
        keep => environment::now().checked_sub(keep),
    };
    if !command.dry_run {
        drop_unnamed(&store, cutoff)?;
    }
    if !command.dry_run {
        let unused_since = if command.recipes { None } else { cutoff };
        let compacted = rebit_image::compact(&store.session()?, unused_since)?;
        if compacted.recipes > 0 {
            say(format!(
                "{} layer blobs ({}) are made from their files from now on",
                compacted.recipes,
                size(compacted.bytes)
            ));
        }
    }
    let policy = GcPolicy { keep_records_newer: cutoff, max_bytes: None, checkouts: command.checkouts };
    let plan = store.prepare_gc(&policy)?;
    if command.dry_run {
        if command.json {
            return output::json(&json!({
                "objects": plan.unreachable_objects,
                "bytes": plan.unreachable_bytes,
                "records": plan.dropped_records,
                "checkouts": plan.checkouts,
            }));
        }
        return line(format!(
            "would remove {} objects ({}), {} build records, {} checkouts",
            plan.unreachable_objects,
            size(plan.unreachable_bytes),
            plan.dropped_records,
            plan.checkouts
        ));
    }
    let report = store.execute_gc(plan)?;
    report.problems.iter().for_each(|problem| say(format!("warning: {problem}")));
    if command.json {
        return output::json(&json!({
            "objects": report.dropped_objects,
            "deferred_objects": report.deferred_objects,
            "records": report.dropped_records,
            "checkouts": report.evicted_checkouts,
            "freed_bytes": report.freed_bytes,
        }));
    }
    if report.deferred_objects > 0 {
        say(format!("{} objects wait for running commands to end", report.deferred_objects));
    }
    let freed = u64::try_from(report.freed_bytes).unwrap_or(0);
    line(format!(
        "removed {} objects, {} build records, {} checkouts; freed {}",
        report.dropped_objects,
        report.dropped_records,
        report.evicted_checkouts,
        size(freed)
    ))
}

/// Images that were built without a name are kept as long as build results are.
fn drop_unnamed(store: &Store, cutoff: Option<SystemTime>) -> Result<(), CommandError> {
    for image in store.refs()? {
        if image.name.starts_with(UNNAMED) && cutoff.is_some_and(|cutoff| image.updated < cutoff) {
            store.delete_ref(&image.name)?;
        }
    }
    Ok(())
}
