//! How two manifests or configs differ, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Cause, Finding, Ignored, cause};

/// Compares two JSON documents. `kind` is what they are called; fields at the top that are in `parts` are compared
/// elsewhere and left out here.
#[must_use]
pub fn compare(kind: &str, a: &[u8], b: &[u8], parts: &[&str]) -> Vec<Finding> {
    let mut out = Vec::new();
    if a == b {
        return out;
    }
    let (Ok(mut x), Ok(mut y)) = (serde_json::from_slice::<Value>(a), serde_json::from_slice::<Value>(b))
    else {
        return super::explain(kind, a, b);
    };
    if x == y {
        out.push(Finding::new(kind, "same values, other JSON").ignorable(Ignored::JsonForm));
        return out;
    }
    for value in [&mut x, &mut y] {
        if let Value::Object(fields) = value {
            fields.retain(|name, _| !parts.contains(&name.as_str()));
        }
    }
    values(kind, &x, &y, &mut out);
    out
}

fn values(place: &str, a: &Value, b: &Value, out: &mut Vec<Finding>) {
    if a == b {
        return;
    }
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for name in names {
                let of =
                    |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                values(&format!("{place}.{name}"), &of(x), &of(y), out);
            }
        }
        (Value::Array(x), Value::Array(y)) if place.ends_with(".Env") => variables(place, x, y, out),
        (Value::Array(x), Value::Array(y)) if place.ends_with(".history") => {
            for at in 0..x.len().max(y.len()) {
                let of = |lines: &[Value]| lines.get(at).cloned().unwrap_or_default();
                values(&format!("{place}[{at}]"), &of(x), &of(y), out);
            }
        }
        _ => out.push(value(place, a, b)),
    }
}

fn value(place: &str, a: &Value, b: &Value) -> Finding {
    let text = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => super::lines::printable(text),
        other => other.to_string(),
    };
    let finding = Finding::new(place, "value").values(&text(a), &text(b));
    if place.ends_with(".created") {
        return finding.because([Cause::Time]).ignorable(Ignored::ConfigTime);
    }
    let finding = finding.because(cause::of_text(text(a).as_bytes(), text(b).as_bytes()));
    if place.contains(".history[") { finding.ignorable(Ignored::History) } else { finding }
}

/// `NAME=VALUE` by name; the order counts where the values are the same.
fn variables(place: &str, a: &[Value], b: &[Value], out: &mut Vec<Finding>) {
    let by_name = |list: &[Value]| -> BTreeMap<String, Value> {
        let pair = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), Value::from(value))
        };
        list.iter().map(pair).collect()
    };
    let (x, y) = (by_name(a), by_name(b));
    if x == y {
        out.push(Finding::new(place, "order").because([Cause::Order]));
    }
    let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
    for name in names {
        let of = |variables: &BTreeMap<String, Value>| variables.get(name).cloned().unwrap_or_default();
        values(&format!("{place}.{name}"), &of(&x), &of(&y), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_compared_by_field() {
        let check = |a: &str, b: &str, expected: &[&str]| {
            let found = compare("config", a.as_bytes(), b.as_bytes(), &["rootfs"]);
            let said = |finding: &Finding| {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                format!("{} {} {}|{}", finding.place, finding.what, text(&finding.a), text(&finding.b))
            };
            assert_eq!(found.iter().map(said).collect::<Vec<_>>(), expected, "{a} {b}");
        };
        check(r#"{"a":1}"#, r#"{"a":1}"#, &[]);
        check(r#"{"a":1}"#, r#"{"a": 1}"#, &["config same values, other JSON |"]);
        check(r#"{"rootfs":1}"#, r#"{"rootfs":2}"#, &[]);
        check(
            r#"{"created":"2026-11-24T00:00:00Z","config":{"Env":["A=1","B=2"],"Cmd":["x"]}}"#,
            r#"{"created":"1980-01-01T00:00:00Z","config":{"Env":["A=1","C=2"],"Cmd":["y"]}}"#,
            &[
                "config.config.Cmd value [\"x\"]|[\"y\"]",
                "config.config.Env.B value 2|none",
                "config.config.Env.C value none|2",
                "config.created value 2026-11-24T00:00:00Z|1980-01-01T00:00:00Z",
            ],
        );
        check(r#"{"Env":["A=1","B=2"]}"#, r#"{"Env":["B=2","A=1"]}"#, &["config.Env order |"]);
        check(
            r#"{"history":[{"created_by":"x"}]}"#,
            r#"{"history":[{"created_by":"x"},{"created_by":"y"}]}"#,
            &["config.history[1] value none|{\"created_by\":\"y\"}"],
        );
        assert!(!compare("config", b"{", b"[", &[]).is_empty());
        let created = compare("config", br#"{"created":"x"}"#, br#"{"created":"y"}"#, &[]);
        assert_eq!(created[0].ignorable, Some(Ignored::ConfigTime));
    }
}
