//! Running what does not depend on each other at the same time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What is going on.
struct Progress<E> {
    waiting: Vec<usize>,
    running: usize,
    done: Vec<bool>,
    errors: Vec<(usize, E)>,
}

/// Does `work` for each item of `needs`, at most `jobs` at a time, and an item only after those it needs.
///
/// `needs` lists for each item the earlier ones. After an error nothing more is begun; what is running comes to its end, and the error of the
/// first item in order is returned.
pub(crate) fn run<E: Send>(
    needs: &[Vec<usize>],
    jobs: usize,
    work: &(dyn Fn(usize) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let jobs = jobs.clamp(1, needs.len().max(1));
    if jobs == 1 {
        return (0..needs.len()).try_for_each(work);
    }
    let progress = Mutex::new(Progress {
        waiting: (0..needs.len()).collect(),
        running: 0,
        done: vec![false; needs.len()],
        errors: Vec::new(),
    });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(item) = next(needs, &progress, &changed) {
                    let result = work(item);
                    let mut progress = lock(&progress);
                    progress.running -= 1;
                    match result {
                        Ok(()) => progress.done[item] = true,
                        Err(error) => progress.errors.push((item, error)),
                    }
                    changed.notify_all();
                }
            });
        }
    });
    let mut errors = progress.into_inner().unwrap_or_else(PoisonError::into_inner).errors;
    errors.sort_by_key(|(item, _)| *item);
    errors.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for an item that can be begun; `None` when there will be none.
fn next<E>(needs: &[Vec<usize>], progress: &Mutex<Progress<E>>, changed: &Condvar) -> Option<usize> {
    let mut guard = lock(progress);
    loop {
        if !guard.errors.is_empty() || guard.waiting.is_empty() {
            return None;
        }
        let done = &guard.done;
        let ready = |item: &usize| needs[*item].iter().all(|need| done.get(*need).copied().unwrap_or(true));
        if let Some(place) = guard.waiting.iter().position(ready) {
            guard.running += 1;
            return Some(guard.waiting.remove(place));
        }
        if guard.running == 0 {
            // Nothing runs and nothing can: what is left needs itself, which a plan rules out.
            return None;
        }
        guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn items_come_after_what_they_need() {
        let needs = [vec![], vec![0], vec![0], vec![1, 2], vec![], vec![3, 4]];
        for jobs in 1..=6 {
            let order = Mutex::new(Vec::new());
            run::<()>(&needs, jobs, &|item| {
                for need in &needs[item] {
                    assert!(lock(&order).contains(need), "{item} before {need}");
                }
                lock(&order).push(item);
                Ok(())
            })
            .unwrap();
            assert_eq!(order.into_inner().unwrap().len(), needs.len());
        }
    }

    #[test]
    fn independent_items_run_together() {
        let together = std::sync::Barrier::new(3);
        run::<()>(&[vec![], vec![], vec![]], 3, &|_| {
            together.wait();
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn an_error_begins_nothing_more_and_the_first_in_order_is_told() {
        let begun = AtomicUsize::new(0);
        let needs = [vec![], vec![], vec![0], vec![1]];
        let error = run(&needs, 2, &|item| {
            begun.fetch_add(1, Ordering::SeqCst);
            Err::<(), usize>(item)
        });
        assert!(matches!(error, Err(0 | 1)), "{error:?}");
        assert!(begun.load(Ordering::SeqCst) <= 2);
        assert_eq!(run::<usize>(&[], 4, &|_| Ok(())), Ok(()));
    }
}
