//! Making the store fit: what can be made anew goes until everything under the root takes at most so much.

use crate::store::Inner;
use crate::{CacheInfo, CachePrune, DiskUsage, GcPlan, GcPolicy, GcReport, Store, StoreError, quota};

/// How often a collection is run with less and less room for records.
const ROUNDS: u32 = 6;

/// By how much the store is too large.
fn excess(inner: &Inner, max: u64) -> Result<u64, StoreError> {
    Ok(quota::files(inner)?.total().saturating_sub(max))
}

/// What would have to go, as far as it can be told without doing it.
pub(super) fn plan(
    store: &Store,
    mut plan: GcPlan,
    usage: &DiskUsage,
    max: u64,
) -> Result<GcPlan, StoreError> {
    let freed = |plan: &GcPlan| plan.unreachable_bytes + plan.checkout_bytes;
    let excess = |plan: &GcPlan| usage.total().saturating_sub(freed(plan)).saturating_sub(max);
    if excess(&plan) > 0 && !plan.policy.checkouts {
        let policy = GcPolicy { checkouts: true, ..plan.policy };
        plan = store.plan(&policy, usage.checkouts)?;
    }
    if excess(&plan) > 0 {
        let room = plan.kept_bytes.saturating_sub(excess(&plan));
        let policy = GcPolicy { max_bytes: Some(room), ..plan.policy };
        plan = store.plan(&policy, usage.checkouts)?;
    }
    let left = excess(&plan);
    if left > 0 {
        let caches = store.prune_caches(&prune(usage.caches.saturating_sub(left), true))?.removed;
        plan.caches = caches.len() as u64;
        plan.cache_bytes = caches.iter().map(|cache| cache.bytes).sum();
    }
    Ok(plan)
}

fn prune(max_bytes: u64, dry_run: bool) -> CachePrune {
    CachePrune { older_than: None, max_bytes: Some(max_bytes), dry_run }
}

/// Collects again and again, with less room each time.
pub(super) fn execute(
    store: &Store,
    policy: &GcPolicy,
    max: u64,
    report: &mut GcReport,
) -> Result<(), StoreError> {
    let inner = &store.inner;
    // The reserve comes back at the end.
    let max = max.saturating_sub(crate::reserve::LENGTH as u64);
    let mut policy = policy.clone();
    if excess(inner, max)? > 0 && !policy.checkouts {
        policy.checkouts = true;
        store.sweep(&policy, report)?;
    }
    for _ in 0..ROUNDS {
        let too_much = excess(inner, max)?;
        let kept = store.plan(&policy, 0)?.kept_bytes;
        if too_much == 0 || policy.max_bytes == Some(0) {
            break;
        }
        policy.max_bytes = Some(kept.saturating_sub(too_much));
        store.sweep(&policy, report)?;
    }
    let too_much = excess(inner, max)?;
    if too_much > 0 {
        let caches = quota::files(inner)?.caches;
        let pruned = store.prune_caches(&prune(caches.saturating_sub(too_much), false))?;
        report.removed_caches += pruned.removed.len() as u64;
        let in_use = |cache: &CacheInfo| format!("cache `{}` is in use", cache.name);
        report.problems.extend(pruned.in_use.iter().map(in_use));
    }
    Ok(())
}
