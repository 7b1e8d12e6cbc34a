//! `rebit gc`, and what happens by itself at the end of a build.

use std::time::{Duration, SystemTime};

use rebit_image::ImageError;
use rebit_store::{GcPlan, GcPolicy, GcReport, Ref, Store};
use serde_json::json;

use super::UNNAMED;
use crate::error::{CommandError, is_full};
use crate::flags::{Flags, Gc};
use crate::output::{self, line, say, size};
use crate::settings::GcSettings;
use crate::{environment, settings};

pub(crate) fn gc(flags: &Flags, command: &Gc) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    let policy = GcPolicy {
        keep_records_newer: Some(cutoff(command.keep_newer)),
        keep_last: command.keep_last,
        max_bytes: None,
        max_total: command.max_size,
        checkouts: command.checkouts,
        dense: command.recipes.is_some(),
        drop_refs: Vec::new(),
    };
    if command.dry_run {
        let policy = GcPolicy { drop_refs: unnamed(&store, &policy)?, ..policy };
        return would(&store.prepare_gc(&policy)?, command.json);
    }
    if let Some(unused) = command.recipes {
        compact(&store, (unused != Duration::ZERO).then(|| cutoff(unused)))?;
    }
    let report = collect(&store, policy)?;
    report.problems.iter().for_each(|problem| say(format!("warning: {problem}")));
    did(&report, command)
}

/// Lets recipes take the place of layer blobs that nobody used. On a full disk that has to wait for the collection.
fn compact(store: &Store, unused_since: Option<SystemTime>) -> Result<(), CommandError> {
    let done = store.session().map_err(ImageError::from);
    match done.and_then(|session| rebit_image::compact(&session, unused_since)) {
        Ok(done) if done.recipes > 0 => say(format!(
            "{} layer blobs ({}) are made from their files from now on",
            done.recipes,
            size(done.bytes)
        )),
        Ok(_) => {}
        Err(error) if is_full(&error) => {
            say("warning: there is no room to look for recipes of layers; `rebit gc` again may find some");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Ages are kept in seconds: to keep nothing is to keep what is newer than tomorrow.
fn cutoff(keep: Duration) -> SystemTime {
    let now = environment::now();
    let time = match keep {
        Duration::ZERO => now.checked_add(Duration::from_secs(86_400)),
        keep => now.checked_sub(keep),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The images without a name that the policy does not keep, the oldest first.
fn unnamed(store: &Store, policy: &GcPolicy) -> Result<Vec<Ref>, CommandError> {
    let mut images = store.refs()?;
    images.retain(|image| image.name.starts_with(UNNAMED));
    images.sort_by_key(|image| image.updated);
    images.truncate(images.len().saturating_sub(policy.keep_last as usize));
    images.retain(|image| policy.keep_records_newer.is_some_and(|cutoff| image.updated < cutoff));
    Ok(images)
}

/// Collects; images without a name go too while the store is too large, the oldest first.
fn collect(store: &Store, policy: GcPolicy) -> Result<GcReport, CommandError> {
    let execute = |policy: &GcPolicy| store.execute_gc(store.prepare_gc(policy)?);
    let mut policy = GcPolicy { drop_refs: unnamed(store, &policy)?, ..policy };
    let mut all = execute(&policy)?;
    while policy.max_total.is_some_and(|max| all.total_bytes > max) {
        let any_age = GcPolicy { keep_records_newer: Some(cutoff(Duration::ZERO)), ..policy.clone() };
        let mut left = unnamed(store, &any_age)?;
        left.truncate(left.len().div_ceil(2));
        if left.is_empty() {
            break;
        }
        policy.drop_refs = left;
        let next = execute(&policy)?;
        all = GcReport {
            dropped_objects: all.dropped_objects + next.dropped_objects,
            dropped_records: all.dropped_records + next.dropped_records,
            dropped_refs: all.dropped_refs + next.dropped_refs,
            evicted_checkouts: all.evicted_checkouts + next.evicted_checkouts,
            removed_caches: all.removed_caches + next.removed_caches,
            freed_bytes: all.freed_bytes + next.freed_bytes,
            problems: [all.problems, next.problems.clone()].concat(),
            ..next
        };
    }
    Ok(all)
}

fn would(plan: &GcPlan, json: bool) -> Result<(), CommandError> {
    let bytes = plan.unreachable_bytes + plan.checkout_bytes + plan.cache_bytes;
    if json {
        return output::json(&json!({
            "objects": plan.unreachable_objects,
            "object_bytes": plan.unreachable_bytes,
            "records": plan.dropped_records,
            "unnamed_images": plan.dropped_refs,
            "checkouts": plan.checkouts,
            "checkout_bytes": plan.checkout_bytes,
            "caches": plan.caches,
            "cache_bytes": plan.cache_bytes,
            "bytes": bytes,
        }));
    }
    line(format!(
        "would remove {} objects ({}), {} build records, {} unnamed images, {} checkouts ({}), {} caches ({}): {} in all",
        plan.unreachable_objects,
        size(plan.unreachable_bytes),
        plan.dropped_records,
        plan.dropped_refs,
        plan.checkouts,
        size(plan.checkout_bytes),
        plan.caches,
        size(plan.cache_bytes),
        size(bytes),
    ))
}

fn did(report: &GcReport, command: &Gc) -> Result<(), CommandError> {
    let fits = command.max_size.is_none_or(|max| report.total_bytes <= max);
    if command.json {
        return output::json(&json!({
            "objects": report.dropped_objects,
            "deferred_objects": report.deferred_objects,
            "records": report.dropped_records,
            "unnamed_images": report.dropped_refs,
            "checkouts": report.evicted_checkouts,
            "caches": report.removed_caches,
            "freed_bytes": report.freed_bytes,
            "total_bytes": report.total_bytes,
            "fits": fits,
        }));
    }
    if report.deferred_objects > 0 {
        say(format!("{} objects wait for running commands to end", report.deferred_objects));
    }
    if !fits {
        say(format!(
            "the store still takes {}: the rest belongs to named images or is in use",
            size(report.total_bytes)
        ));
    }
    line(format!(
        "removed {} objects, {} build records, {} unnamed images, {} checkouts, {} caches; freed {}",
        report.dropped_objects,
        report.dropped_records,
        report.dropped_refs,
        report.evicted_checkouts,
        report.removed_caches,
        size(u64::try_from(report.freed_bytes).unwrap_or(0))
    ))
}

/// Collects at the end of a build if the store's settings say so. A build never fails because of it: what goes wrong is a warning.
pub(crate) fn automatic(flags: &Flags, quiet: bool) {
    match try_automatic(flags) {
        Ok(Some(report)) if !quiet => {
            let freed = size(u64::try_from(report.freed_bytes).unwrap_or(0));
            say(format!("collected as `{}` of the store says: freed {freed}", settings::FILE));
        }
        Ok(_) => {}
        Err(error) => say(format!("warning: nothing was collected\n{}", error.text)),
    }
}

fn try_automatic(flags: &Flags) -> Result<Option<GcReport>, CommandError> {
    let Some(GcSettings { max_size, keep_newer, keep_last }) =
        settings::read(&environment::store_path(flags)?)?
    else {
        return Ok(None);
    };
    let store = environment::open_store(flags)?;
    let too_large = match max_size {
        Some(max) => store.file_usage()?.total() > max,
        None => false,
    };
    let cutoff = keep_newer.map(cutoff);
    // What the last builds used is not for long the oldest: then there is nothing to do every time.
    let policy =
        GcPolicy { keep_records_newer: cutoff, keep_last, max_total: max_size, ..GcPolicy::default() };
    let too_old = match cutoff {
        Some(cutoff) if store.oldest_record()?.is_some_and(|oldest| oldest < cutoff) => {
            let plan = store.prepare_gc(&GcPolicy { max_total: None, ..policy.clone() })?;
            plan.dropped_records > 0
        }
        _ => false,
    };
    if too_large || too_old { collect(&store, policy).map(Some) } else { Ok(None) }
}
