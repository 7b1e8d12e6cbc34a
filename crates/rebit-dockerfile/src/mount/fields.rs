//! Values of mount fields, and how fields are separated.

use super::{MountError, Sharing};

/// `shared`, `private` or `locked`, in any case.
pub(super) fn parse_sharing(text: &str) -> Option<Sharing> {
    match text.to_lowercase().as_str() {
        "shared" => Some(Sharing::Shared),
        "private" => Some(Sharing::Private),
        "locked" => Some(Sharing::Locked),
        _ => None,
    }
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A numeric user or group: digits only.
pub(super) fn parse_id(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A size such as `64m`, `1.5GiB`, `1024`: powers of 1024, without regard to case; a blank may stand before the unit.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_lowercase();
    let prefix = match unit.as_str() {
        "" | "b" => "",
        other => other.strip_suffix("ib").or_else(|| other.strip_suffix('b')).unwrap_or(other),
    };
    let power = match prefix {
        "" if unit.len() < 2 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    if number.starts_with('.') || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let scale = 1u128 << (10 * power);
    let ten = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let bytes = u128::from(whole.parse::<u64>().ok()?) * scale + fraction * scale / ten;
    u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// Splits one line of CSV: fields that begin with `"` end at the next lone `"`, `""` in them is a quote.
pub(crate) fn split_fields(line: &str) -> Result<Vec<String>, MountError> {
    let quotes = |at: usize| MountError::Quotes { field: line.get(at..).unwrap_or_default().to_owned() };
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let at = line.len() - rest.len();
        let after = if let Some(mut inside) = rest.strip_prefix('"') {
            let mut field = String::new();
            loop {
                let (part, tail) = inside.split_once('"').ok_or_else(|| quotes(at))?;
                field.push_str(part);
                match tail.strip_prefix('"') {
                    Some(tail) => {
                        field.push('"');
                        inside = tail;
                    }
                    None => {
                        inside = tail;
                        break;
                    }
                }
            }
            if !inside.is_empty() && !inside.starts_with(',') {
                return Err(quotes(at));
            }
            fields.push(field);
            inside
        } else {
            let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if field.contains('"') {
                return Err(quotes(at));
            }
            fields.push(field.to_owned());
            after
        };
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}
