//! The header of compiled Python modules (PEP 552).

use super::{File, Fixed, Unfit};

/// The first number of the magic word whose header has flags (Python 3.7).
const WITH_FLAGS: u16 = 3392;
/// Python 2 and other implementations have greater ones.
const LAST: u16 = 20_000;

/// Sets the time of the source to that which the source has in the tree, else to the epoch, so that Python takes the module as it takes one that
/// it compiled from the image's files. Headers that hold a hash instead stay.
pub(super) fn header(file: &File<'_>) -> Result<Fixed, Unfit> {
    let Some((magic, rest)) = file.bytes.split_first_chunk::<4>() else { return Ok(Fixed::Keep) };
    let [low, high, b'\r', b'\n'] = *magic else { return Ok(Fixed::Keep) };
    let number = u16::from_le_bytes([low, high]);
    if !(WITH_FLAGS..=LAST).contains(&number) {
        return Err(Unfit("it was compiled by Python before 3.7 or by another one"));
    }
    if !rest.starts_with(&[0; 4]) || rest.len() < 12 {
        return Ok(Fixed::Keep);
    }
    let time = source(file.path).and_then(|source| (file.mtime_of)(&source)).unwrap_or(file.epoch);
    let mut bytes = file.bytes.to_vec();
    // Python compares the lower 32 bits.
    let low = (time.rem_euclid(1 << 32) as u32).to_le_bytes();
    if let Some(field) = bytes.get_mut(8..12) {
        field.copy_from_slice(&low);
    }
    Ok(Fixed::Replace(bytes))
}

/// The path of the source: of `d/__pycache__/m.cpython-311.pyc` it is `d/m.py`, else beside the module.
fn source(path: &[u8]) -> Option<Vec<u8>> {
    let path = std::str::from_utf8(path).ok()?;
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.strip_suffix(".pyc")?;
    let cached = directory.strip_suffix("__pycache__").filter(|rest| rest.is_empty() || rest.ends_with('/'));
    let source = match cached {
        Some(parent) => {
            let stem = stem.rsplit_once(".opt-").map_or(stem, |(stem, _)| stem);
            let (module, _tag) = stem.rsplit_once('.')?;
            format!("{parent}{module}.py")
        }
        None if directory.is_empty() => format!("{stem}.py"),
        None => format!("{directory}/{stem}.py"),
    };
    Some(source.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_lies_beside_its_source_or_below_it() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(source(path.as_bytes()), expected.map(|path| path.as_bytes().to_vec()), "{path}");
        };
        check("a/__pycache__/m.cpython-311.pyc", Some("a/m.py"));
        check("a/__pycache__/m.cpython-311.opt-2.pyc", Some("a/m.py"));
        check("__pycache__/m.x.cpython-311.pyc", Some("m.x.py"));
        check("a/m.pyc", Some("a/m.py"));
        check("m.pyc", Some("m.py"));
        check("a/not__pycache__/m.pyc", Some("a/not__pycache__/m.py"));
        check("a/__pycache__/m.pyc", None);
        check("m.py", None);
    }
}
