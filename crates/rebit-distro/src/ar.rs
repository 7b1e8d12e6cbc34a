//! The archive that a `.deb` is (ar(5), deb(5)).

use std::io::{self, Read};

const MAGIC: &[u8] = b"!<arch>\n";
/// Length of a member's header.
const HEADER: usize = 60;
/// Most members; a package has three.
const MAX_MEMBERS: usize = 64;

/// Why an archive was not read.
#[derive(Debug, thiserror::Error)]
pub enum ArError {
    /// It is no archive, or is cut off or damaged.
    #[error("it is not an ar archive: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// It could not be read.
    #[error("it cannot be read")]
    Io {
        /// Why.
        source: io::Error,
    },
}

impl From<io::Error> for ArError {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed { reason: "it is cut off" },
            _ => Self::Io { source },
        }
    }
}

/// Hands each member to `take`, by name, as a reader of exactly its content; what is left of it is passed over.
///
/// # Errors
/// [`ArError`], or what `take` says.
pub fn read<E: From<ArError>>(
    reader: &mut (dyn Read + Send),
    take: &mut dyn FnMut(&str, &mut (dyn Read + Send)) -> Result<(), E>,
) -> Result<(), E> {
    let malformed = |reason| ArError::Malformed { reason };
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic).map_err(ArError::from)?;
    if magic != MAGIC {
        return Err(malformed("it begins with something else").into());
    }
    for _ in 0..MAX_MEMBERS {
        let Some(header) = header(reader)? else { return Ok(()) };
        let field = |range: std::ops::Range<usize>| {
            std::str::from_utf8(header.get(range).unwrap_or_default()).unwrap_or_default().trim_end()
        };
        let name = field(0..16).trim_end_matches('/');
        let digits = field(48..58);
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let size: u64 = digits.parse().map_err(|_| malformed("a length is not a number"))?;
        if header.get(58..) != Some(b"`\n") || name.is_empty() || !number {
            return Err(malformed("a header is damaged").into());
        }
        let mut content = Exactly { inner: &mut *reader, left: size };
        take(name, &mut content)?;
        io::copy(&mut content, &mut io::sink()).map_err(ArError::from)?;
        if size % 2 == 1 {
            let mut padding = [0];
            // The last one may be left out.
            let _ = reader.read(&mut padding).map_err(ArError::from)?;
        }
    }
    Err(malformed("it has too many members").into())
}

/// The next header; `None` at the end of the archive.
fn header(reader: &mut dyn Read) -> Result<Option<[u8; HEADER]>, ArError> {
    let mut header = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match reader.read(header.get_mut(filled..).unwrap_or_default()) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ArError::Malformed { reason: "it is cut off" }),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(source.into()),
        }
    }
    Ok(Some(header))
}

/// A reader of as many bytes as were promised; fewer are an error.
struct Exactly<'a> {
    inner: &'a mut (dyn Read + Send),
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An archive of these members.
    pub(crate) fn write(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = MAGIC.to_vec();
        for (name, content) in members {
            let header =
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
            archive.extend_from_slice(header.as_bytes());
            archive.extend_from_slice(content);
            if content.len() % 2 == 1 {
                archive.push(b'\n');
            }
        }
        archive
    }

    fn list(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ArError> {
        let mut found = Vec::new();
        read::<ArError>(&mut &*archive, &mut |name, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            found.push((name.to_owned(), bytes));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn members_are_read() {
        let members: [(&str, &[u8]); 3] = [("debian-binary", b"2.0\n"), ("odd", b"x"), ("empty/", b"")];
        let found = list(&write(&members)).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["debian-binary", "odd", "empty"]);
        assert_eq!(found[1].1, b"x");
        // What is not read is passed over.
        let mut count = 0;
        read::<ArError>(&mut &*write(&members), &mut |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 3);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = write(&[("a", b"content"), ("b", b"")]);
        assert!(list(b"").is_err() && list(b"!<arch>x").is_err());
        assert_eq!(list(&whole[..MAGIC.len()]).unwrap().len(), 0);
        for end in [MAGIC.len() + 1, MAGIC.len() + HEADER + 3, whole.len() - 1] {
            assert!(list(&whole[..end]).is_err(), "{end}");
        }
        let text = String::from_utf8(whole).unwrap();
        assert!(list(text.replace("`\n", "x\n").as_bytes()).is_err());
        assert!(list(text.replace("7         `", "-7        `").as_bytes()).is_err());
        assert!(list(&write(&[("a", &b""[..]); 65])).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = list(&[MAGIC, &bytes].concat());
            let _ = list(&bytes);
        }
    }
}
