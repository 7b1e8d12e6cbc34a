//! Several processes at once.

use std::process::{Child, Command};

use super::*;

const ROOT: &str = "REBIT_STORE_TEST_ROOT";
const ROLE: &str = "REBIT_STORE_TEST_ROLE";

fn spawn(fixture: &Fixture, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::processes::child", "--test-threads", "1"])
        .env(ROOT, fixture.root.path())
        .env(ROLE, role)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what the other processes run.
#[test]
fn child() {
    let (Some(root), Ok(role)) = (std::env::var_os(ROOT), std::env::var(ROLE)) else { return };
    let store = Store::open(root.as_ref(), &StoreOptions::default()).unwrap();
    match role.as_str() {
        "collect" => {
            for _ in 0..20 {
                collect(&store);
            }
        }
        "die" => {
            let session = store.session().unwrap();
            let scratch = session.scratch_dir("left").unwrap();
            std::fs::write(scratch.path().join("file"), "x").unwrap();
            put(&session, &noise(99, 500_000));
            session.commit().unwrap();
            put(&session, &noise(98, 500_000));
            std::process::abort();
        }
        writer => {
            let seed: u64 = writer.parse().unwrap();
            for round in 0..15 {
                let session = store.session().unwrap();
                // Half of the content is every writer's, so that they find each other's objects.
                let objects: Vec<ObjectId> = (0..20)
                    .map(|n| {
                        put(
                            &session,
                            &text(if n % 2 == 0 { round * 100 + n } else { seed * 10_000 + n }, 3000),
                        )
                    })
                    .collect();
                session.commit().unwrap();
                name(&session, &format!("ref-{seed}-{round}"), &objects);
                if round % 3 == 0 {
                    store.delete_ref(&format!("ref-{seed}-{round}")).unwrap();
                }
            }
        }
    }
}

// S-42
#[test]
fn writers_and_collectors_do_not_harm_each_other() {
    let fixture = Fixture::new();
    let mut children: Vec<Child> =
        ["1", "2", "3", "collect", "collect"].iter().map(|role| spawn(&fixture, role)).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let refs = fixture.store.refs().unwrap();
    assert_eq!(refs.len(), 30);
    for entry in &refs {
        for edge in fixture.store.edges(&entry.root).unwrap() {
            assert_eq!(ObjectId::of(&read(&fixture.store, &edge)), edge);
        }
    }
    assert_clean(&fixture.store);
    collect(&fixture.store);
    assert_clean(&fixture.store);
}

#[test]
fn a_dead_process_leaves_nothing_behind_after_a_collection() {
    let fixture = Fixture::new();
    assert!(!spawn(&fixture, "die").wait().unwrap().success());
    assert_eq!(std::fs::read_dir(fixture.root.path().join("scratch")).unwrap().count(), 1);
    assert_clean(&fixture.store);
    let report = collect(&fixture.store);
    assert_eq!((report.dead_leases, report.removed_scratch), (1, 1), "{report:?}");
    let usage = fixture.store.du().unwrap();
    assert_eq!((usage.packs, usage.objects, usage.scratch), (0, 0, 4096), "{usage:?}");
}
