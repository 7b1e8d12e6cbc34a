//! Keys and signatures as text (RFC 9580, 6): the program that verifies takes keyrings in bytes only.

const BEGIN: &str = "-----BEGIN PGP ";
const END: &str = "-----END PGP ";

/// Whether bytes are armored.
#[must_use]
pub fn is_armored(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(BEGIN.as_bytes())
}

/// The bytes that one or more armored blocks stand for, one after the other; `None` when they are damaged.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut bytes = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.any(|line| line.starts_with(BEGIN)) {
        let mut digits = String::new();
        // Up to the empty line are fields about the block.
        for line in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            if !line.contains(": ") {
                digits.push_str(line);
                break;
            }
        }
        let mut ended = false;
        for line in lines.by_ref() {
            if line.starts_with(END) {
                ended = true;
                break;
            }
            // The checksum is optional, and the signature over everything is worth more.
            if !line.starts_with('=') {
                digits.push_str(line);
            }
        }
        bytes.extend(base64(&digits).filter(|_| ended)?);
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn base64(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for chunk in digits.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in chunk {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let missing = 4 - chunk.len();
        if missing == 3 {
            return None;
        }
        let [_, whole @ ..] = (bits << (6 * missing)).to_be_bytes();
        bytes.extend(whole.iter().take(3 - missing));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_decoded() {
        let block =
            |body: &str| format!("x\n{BEGIN}PUBLIC KEY BLOCK-----\n{body}\n{END}PUBLIC KEY BLOCK-----\n");
        let check = |text: &str, expected: Option<&[u8]>| {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected, "{text}");
        };
        check(&block("Comment: c\n\nYWJj\nZA==\n=abcd"), Some(b"abcd"));
        check(&block("\nYWI="), Some(b"ab"));
        check(&format!("{}{}", block("\nYWI="), block("\nYw==")), Some(b"abc"));
        check(&block("\nY!I="), None);
        check(&block("\nYWJjZ"), None);
        check(&block("\nYWI=").replace(END, ""), None);
        check("", None);
        assert!(is_armored(b"\n-----BEGIN PGP PUBLIC") && !is_armored(b"\x99\x01"));
    }
}
