//! Checkouts and scratch directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

// S-70
#[test]
fn scratch_goes_with_its_value_its_session_or_a_collection() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let scratch = session.scratch_dir("upper").unwrap();
    fs::write(scratch.path().join("file"), "x").unwrap();
    let path = scratch.path().to_owned();
    assert!(path.starts_with(fixture.root.path().join("scratch")));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
    collect(&fixture.store);
    assert!(path.join("file").exists(), "a collection took the scratch of a live session");
    drop(scratch);
    assert!(!path.exists());
    for label in ["", "a/b", "..", &"x".repeat(65)] {
        assert!(session.scratch_dir(label).is_err(), "`{label}` was taken");
    }
    let left = session.scratch_dir("left").unwrap();
    let left = left.release();
    fs::write(left.join("file"), "x").unwrap();
    drop(session);
    assert!(left.exists());
    assert_eq!(collect(&fixture.store).removed_scratch, 1);
    assert!(!left.exists());
}

// S-72, S-73
#[test]
fn a_checkout_is_shared_held_and_evicted() {
    let fixture = Fixture::new();
    let session = fixture.session();
    assert!(session.checkout("key").unwrap().is_none());
    let make = |content: &str| {
        let scratch = session.scratch_dir("checkout").unwrap();
        fs::write(scratch.path().join("file"), content).unwrap();
        scratch
    };
    let first = session.publish_checkout("key", make("first")).unwrap();
    let second = session.publish_checkout("key", make("second")).unwrap();
    assert_eq!(first.path(), second.path());
    assert_eq!(fs::read_to_string(second.path().join("file")).unwrap(), "first");
    assert_eq!(fs::read_dir(fixture.root.path().join("scratch")).unwrap().count(), 1);
    assert!(fixture.store.du().unwrap().checkouts > 0);

    drop(first);
    assert_eq!(collect(&fixture.store).evicted_checkouts, 0, "a held checkout was evicted");
    drop(second);
    let kept = collect_by(&fixture.store, &GcPolicy::default());
    assert_eq!(kept.evicted_checkouts, 0);
    assert_eq!(collect(&fixture.store).evicted_checkouts, 1);
    assert!(session.checkout("key").unwrap().is_none());
    session.publish_checkout("key", make("third")).unwrap();

    // One of an earlier boot is not used.
    let connection = rusqlite::Connection::open(fixture.root.path().join("index.sqlite")).unwrap();
    connection.execute("UPDATE checkouts SET boot = 'earlier'", []).unwrap();
    assert!(session.checkout("key").unwrap().is_none());
    let fourth = session.publish_checkout("key", make("fourth")).unwrap();
    assert_eq!(fs::read_to_string(fourth.path().join("file")).unwrap(), "fourth");
    assert_clean(&fixture.store);
}

#[test]
fn one_of_many_publishers_wins() {
    let fixture = Fixture::new();
    let paths: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|n| {
                let store = &fixture.store;
                scope.spawn(move || {
                    let session = store.session().unwrap();
                    let scratch = session.scratch_dir("checkout").unwrap();
                    fs::write(scratch.path().join("file"), n.to_string()).unwrap();
                    let checkout = session.publish_checkout("key", scratch).unwrap();
                    fs::read_to_string(checkout.path().join("file")).unwrap()
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert!(paths.windows(2).all(|pair| pair[0] == pair[1]), "{paths:?}");
}
