use super::*;
use crate::testing::lab;

#[test]
fn images_are_compared() {
    let lab = lab();
    let a = lab.image(&[("same", b"1"), ("log", b"built 2026-11-24\n"), ("gone", b"x")], "a");
    let b = lab.image(&[("same", b"1"), ("log", b"built 2026-11-25\n"), ("new", b"xyz")], "b");
    let side = |place, image| Side { place, objects: &lab.session, subject: Subject::Image(image) };
    let report = compare(&side("a", &a), &side("b", &b), false).unwrap();
    assert!(!report.same);
    let said: Vec<String> =
        report.files.iter().map(|file| format!("{:?} {}", file.state, file.path)).collect();
    assert_eq!(said, ["Removed /gone", "Changed /log", "Added /new"]);
    assert_eq!(report.files[1].findings[0].causes, [super::super::Cause::Time]);
    assert_eq!(report.first_layer.as_ref().map(|layer| layer.number), Some(1));
    assert_eq!(report.layers.len(), 1);

    let same = compare(&side("a", &a), &side("a", &a), false).unwrap();
    assert!(same.same && same.files.is_empty() && same.documents.is_empty());
}

#[test]
fn the_json_form_is_stable() {
    let lab = lab();
    let (a, b) = (lab.image(&[("f", b"one\n")], "a"), lab.image(&[("f", b"two\n")], "b"));
    let side = |place, image| Side { place, objects: &lab.session, subject: Subject::Image(image) };
    let report = compare(&side("a", &a), &side("b", &b), true).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let expected = [
        "a",
        "b",
        "documents",
        "files",
        "first_layer",
        "ignored",
        "layers",
        "more_files",
        "same",
        "semantic",
        "version",
    ];
    assert_eq!(keys, expected);
    assert_eq!(json["ignored"], serde_json::json!({"layer-split": 1}));
    assert_eq!(
        json["files"],
        serde_json::json!([{
            "path": "/f", "state": "changed", "kind": "file", "size": 4, "entries": 0,
            "findings": [{"place": "/f", "what": "text", "detail": ["@@ -1 +1 @@", "-one", "+two"]}],
        }])
    );
}
