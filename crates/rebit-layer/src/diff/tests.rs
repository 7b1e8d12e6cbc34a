use proptest::prelude::*;
use rebit_oci::object::MemoryObjects;

use super::*;
use crate::apply;
use crate::testing::{path, random_pair, tree};

/// Checks the changeset from `lower` to `upper`: `+` and `-` before each path.
fn check(lower: &str, upper: &str, expected: &[&str]) {
    let objects = MemoryObjects::new();
    let (lower, upper) = (tree(lower, &objects), tree(upper, &objects));
    let changes = diff(&lower, &upper, Compare::IgnoreMtime);
    let found: Vec<String> = changes
        .iter()
        .map(|(path, change)| match change {
            Change::Upsert(_) => format!("+{path}"),
            Change::Remove => format!("-{path}"),
        })
        .collect();
    assert_eq!(found, expected);
    assert!(apply(&lower, &changes).unwrap().same(&upper, Compare::IgnoreMtime));
}

// L-10
#[test]
fn changes_are_found() {
    check("", "", &[]);
    check("", "f 644 0:0 a/b = x", &["+/a", "+/a/b"]);
    check("f 644 0:0 a = x", "f 644 0:0 a = y", &["+/a"]);
    check("f 644 0:0 a = x", "f 600 0:0 a = x", &["+/a"]);
    check("f 644 0:0 a = x", "f 644 0:0 a = x\nx a = user.k v", &["+/a"]);
    check("l 0:0 a = x", "l 0:0 a = y", &["+/a"]);
    check("d 755 0:0 /", "d 711 0:0 /", &["+/"]);
}

// L-11, L-12
#[test]
fn removals_are_named_once_at_the_top() {
    check("f 644 0:0 d/a = x\nf 644 0:0 d/e/b = x", "", &["-/d"]);
    check("f 644 0:0 d/a = x\nf 644 0:0 d/b = x", "f 644 0:0 d/b = x", &["-/d/a"]);
    check("f 644 0:0 d/a = x", "f 644 0:0 d = y", &["+/d"]);
    check("f 644 0:0 d = x", "f 644 0:0 d/a = y", &["+/d", "+/d/a"]);
    check("f 644 0:0 d/a = x", "f 644 0:0 d/b = x", &["-/d/a", "+/d/b"]);
}

// L-13
#[test]
fn hard_links_change_with_their_group() {
    let pair = "f 644 0:0 a = x\nh b = a";
    check(pair, pair, &[]);
    check("f 644 0:0 a = x\nf 644 0:0 b = x", pair, &["+/a", "+/b"]);
    // A name more is all names again; a name less is only the removal.
    check(pair, "f 644 0:0 a = x\nh b = a\nh c = a", &["+/a", "+/b", "+/c"]);
    check(pair, "f 644 0:0 b = x", &["-/a"]);
    check("f 644 0:0 a = x\nh b = a\nh c = a", pair, &["-/c"]);
    // Taken apart: the first name keeps the file.
    check(pair, "f 644 0:0 a = x\nf 644 0:0 b = x", &["+/b"]);
    check(
        "f 644 0:0 a = x\nh b = a\nh c = a\nh d = a",
        "f 644 0:0 a = x\nh b = a\nf 644 0:0 c = x\nh d = c",
        &["+/c", "+/d"],
    );
    check(pair, "f 644 0:0 a = y\nh b = a", &["+/a", "+/b"]);
    check(pair, "f 644 0:0 a = y\nf 644 0:0 b = x", &["+/a"]);
}

// L-3
#[test]
fn times_count_only_when_asked() {
    let lower = tree("f 644 0:0 a = x", &MemoryObjects::new());
    let mut upper = lower.clone();
    upper.set_mtimes(9);
    assert!(diff(&lower, &upper, Compare::IgnoreMtime).is_empty());
    assert_eq!(diff(&lower, &upper, Compare::Exact).len(), 2);
}

// L-14
#[test]
fn ancestors_come_from_the_upper_tree() {
    let objects = MemoryObjects::new();
    let lower = tree("d 700 3:3 a\nd 711 4:4 a/b\nf 644 0:0 a/b/c = x\nf 644 0:0 a/b/gone = x", &objects);
    let upper = tree("d 700 3:3 a\nd 711 4:4 a/b\nf 644 0:0 a/b/c = y", &objects);
    let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
    let found: Vec<_> = changes.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(found, [path("a"), path("a/b"), path("a/b/c"), path("a/b/gone")]);
    assert_eq!(changes.get(&path("a")), Some(&Change::Upsert(upper.get(&path("a")).unwrap().clone())));
}

#[test]
fn applying_refuses_what_has_no_place() {
    let objects = MemoryObjects::new();
    let lower = tree("f 644 0:0 a = x", &objects);
    let file = lower.get(&path("a")).unwrap().clone();
    let one = |at: &str, change| {
        let mut changes = Changeset::new();
        changes.insert(path(at), change);
        apply(&lower, &changes)
    };
    assert!(matches!(one("a/b", Change::Upsert(file.clone())), Err(crate::ApplyError::NotDirectory { .. })));
    assert!(matches!(one("", Change::Remove), Err(crate::ApplyError::Root { .. })));
    assert!(matches!(one("", Change::Upsert(file)), Err(crate::ApplyError::Root { .. })));
    assert_eq!(one("none", Change::Remove).unwrap(), lower);
}

proptest! {
    #[test]
    fn applying_a_difference_gives_the_upper_tree((lower, upper) in random_pair()) {
        let exact = diff(&lower, &upper, Compare::Exact);
        prop_assert_eq!(&apply(&lower, &exact).unwrap(), &upper);
        let layer = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
        let applied = apply(&lower, &layer).unwrap();
        prop_assert!(applied.same(&upper, Compare::IgnoreMtime));
        prop_assert!(diff(&upper, &upper, Compare::Exact).is_empty());
        prop_assert!(diff(&applied, &upper, Compare::IgnoreMtime).is_empty());
    }

    #[test]
    fn a_full_changeset_makes_the_tree_from_nothing((_, tree) in random_pair()) {
        prop_assert_eq!(apply(&Tree::new(), &Changeset::full(&tree)).unwrap(), tree);
    }
}
