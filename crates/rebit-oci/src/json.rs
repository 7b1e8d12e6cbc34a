//! Canonical JSON: one text for one value.
//!
//! Object keys are sorted bytewise, there is no white space, numbers and strings are written as
//! `serde_json` writes them, and there is no final newline. The writer sorts by itself, so that no
//! library feature and no `HashMap` can change the bytes.

use serde::Serialize;
use serde_json::Value;

/// Writes `value` canonically.
///
/// # Errors
/// When the value cannot be expressed in JSON (a map whose keys are not strings, say).
pub fn to_canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let value = serde_json::to_value(value)?;
    let mut bytes = Vec::new();
    write(&value, &mut bytes)?;
    Ok(bytes)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (position, key) in keys.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write(&map[key.as_str()], out)?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        scalar => serde_json::to_writer(&mut *out, scalar)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = serde_json::json!({"b": {"z": 1, "a": [true, null]}, "a": "é\n"});
        assert_eq!(to_canonical(&value).unwrap(), r#"{"a":"é\n","b":{"a":[true,null],"z":1}}"#.as_bytes());
    }

    proptest! {
        #[test]
        fn a_hash_map_has_one_text(entries in prop::collection::vec((".*", any::<i64>()), 0..20)) {
            let forward: HashMap<_, _> = entries.iter().cloned().collect();
            let mut other = HashMap::with_capacity(64);
            for key in forward.keys() {
                other.insert(key.clone(), forward[key]);
            }
            let text = to_canonical(&forward).unwrap();
            prop_assert_eq!(&text, &to_canonical(&other).unwrap());
            let back: HashMap<String, i64> = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(back, forward);
        }
    }
}
