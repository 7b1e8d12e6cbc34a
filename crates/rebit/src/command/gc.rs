//! `rebit gc`.

use rebit_store::GcPolicy;
use serde_json::json;

use crate::environment;
use crate::error::CommandError;
use crate::flags::{Flags, Gc};
use crate::output::{self, line, say, size};

pub(crate) fn gc(flags: &Flags, command: &Gc) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    let policy = GcPolicy {
        keep_records_newer: environment::now().checked_sub(command.keep),
        max_bytes: None,
        checkouts: command.checkouts,
    };
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
