//! The file at the root of a suite: what its indexes are, and until when that is to be believed.

use std::collections::BTreeMap;

use rebit_oci::Digest;

use crate::DistroError;
use crate::date;
use crate::deb822::{self, Paragraph};

/// How far the clock of this machine may be behind the archive's.
const SKEW: i64 = 86_400;

/// What a verified Release file says.
#[derive(Debug, Clone)]
pub struct Release {
    /// `Suite`.
    pub suite: String,
    /// `Codename`.
    pub codename: String,
    /// `Date`, as written.
    pub date: String,
    /// The digest of the text that was signed.
    pub digest: Digest,
    /// Whether indexes can be had by their digests.
    pub by_hash: bool,
    /// Its `Valid-Until`, when that is past.
    pub expired: Option<String>,
    /// Whether packages for all architectures have indexes of their own; they are in those of each architecture otherwise.
    pub separate_all: bool,
    /// Digest and length of each index.
    pub files: BTreeMap<String, (Digest, u64)>,
}

impl Release {
    /// Reads a verified text for the suite that was asked for. `now` is the present time in seconds since 1970; one that is `expired`
    /// counts too.
    ///
    /// # Errors
    /// [`DistroError::Release`] when it is another suite's, is no longer or not yet to be believed, or cannot be read.
    pub fn parse(text: &[u8], suite: &str, url: &str, now: i64, expired: bool) -> Result<Self, DistroError> {
        let wrong = |reason: String| DistroError::Release { url: url.to_owned(), reason };
        let fields = deb822::paragraph(text).map_err(|error| wrong(error.to_string()))?;
        let (name, codename) = (fields.text("Suite").to_owned(), fields.text("Codename").to_owned());
        // A suite may be asked for as `bookworm/updates` or by either name.
        let last = suite.trim_end_matches('/');
        if ![name.as_str(), codename.as_str()].contains(&last) {
            return Err(wrong(format!("it is that of `{codename}` ({name}), not of `{suite}`")));
        }
        let date = fields.text("Date").to_owned();
        let time = |field: &str, text: &str| {
            date::parse(text).ok_or_else(|| wrong(format!("its {field} is no time: `{text}`")))
        };
        if time("Date", &date)? > now.saturating_add(SKEW) {
            return Err(wrong(format!("it is from the future: {date}")));
        }
        let until = match fields.get("Valid-Until") {
            Some(until) if time("Valid-Until", until)? < now => Some(until.to_owned()),
            _ => None,
        };
        if let Some(until) = until.as_ref().filter(|_| !expired) {
            return Err(wrong(format!("it is not to be believed since {until}")));
        }
        let mut files = BTreeMap::new();
        for line in fields.text("SHA256").lines().filter(|line| !line.trim().is_empty()) {
            let malformed = || wrong(format!("`{line}` names no index"));
            let mut words = line.split_whitespace();
            let (Some(digest), Some(size), Some(path), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(malformed());
            };
            let digest = format!("sha256:{digest}").parse().map_err(|_| malformed())?;
            files.insert(path.to_owned(), (digest, size.parse().map_err(|_| malformed())?));
        }
        if files.is_empty() {
            return Err(wrong("it names no index by SHA-256".to_owned()));
        }
        Ok(Self {
            suite: name,
            codename,
            date,
            digest: Digest::of(text),
            expired: until,
            by_hash: fields.is_yes("Acquire-By-Hash"),
            separate_all: has_word(&fields, "Architectures", "all")
                && !has_word(&fields, "No-Support-for-Architecture-all", "Packages"),
            files,
        })
    }

    /// The index of a component for an architecture. The smallest form is chosen.
    #[must_use]
    pub fn packages(&self, component: &str, architecture: &str) -> Option<IndexFile> {
        [".xz", ".zst", ".gz", ""].iter().find_map(|end| {
            let directory = format!("{component}/binary-{architecture}");
            let path = format!("{directory}/Packages{end}");
            let (digest, size) = *self.files.get(&path)?;
            let by_hash = self.by_hash.then(|| format!("{directory}/by-hash/SHA256/{}", digest.hex()));
            Some(IndexFile { path, by_hash, digest, size })
        })
    }
}

/// Where an index is, below the suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Under its name, where the next version of the archive replaces it.
    pub path: String,
    /// Under its digest, where it stays for a while.
    pub by_hash: Option<String>,
    /// The digest.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
}

fn has_word(fields: &Paragraph, field: &str, word: &str) -> bool {
    fields.text(field).split_whitespace().any(|found| found == word)
}

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// Takes a clear-signed text apart (RFC 9580, 7): the text as it was signed, and the armored signature.
///
/// The signature is then verified over exactly the bytes that are read later. Whatever is before, between or after the parts is an
/// error, so that nothing unsigned can be taken for signed.
///
/// # Errors
/// [`DistroError::Release`].
pub fn split_clear_signed(text: &[u8], url: &str) -> Result<(Vec<u8>, Vec<u8>), DistroError> {
    let wrong = |reason: &str| DistroError::Release { url: url.to_owned(), reason: reason.to_owned() };
    let text = std::str::from_utf8(text).map_err(|_| wrong("it is not UTF-8"))?;
    let mut lines = text.lines();
    if lines.next() != Some(BEGIN) {
        return Err(wrong("it does not begin as a signed text does"));
    }
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
        if !line.starts_with("Hash: ") {
            return Err(wrong("its head has something else than `Hash`"));
        }
    }
    let mut signed: Vec<&str> = Vec::new();
    let mut found = false;
    for line in lines.by_ref() {
        if line == SIGNATURE {
            found = true;
            break;
        }
        match line.strip_prefix("- ") {
            Some(escaped) => signed.push(escaped),
            None if line.starts_with('-') => return Err(wrong("a line begins with `-` and is not escaped")),
            // White space at the end is not signed.
            None => signed.push(line.trim_end()),
        }
    }
    let mut signature = format!("{SIGNATURE}\n");
    let mut ended = false;
    for line in lines {
        if ended {
            return Err(wrong("something follows the signature"));
        }
        signature.push_str(line);
        signature.push('\n');
        ended = line == END;
    }
    if !found || !ended {
        return Err(wrong("its signature is missing"));
    }
    Ok((signed.join("\n").into_bytes(), signature.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Suite: stable\nCodename: bookworm\nDate: Sat, 09 May 2026 10:00:00 UTC\nValid-Until: Sat, 16 May 2026 10:00:00 UTC\nAcquire-By-Hash: yes\nSHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        0 main/binary-amd64/Packages.gz\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 7 main/binary-amd64/Packages.xz\n";
    const NOW: i64 = 1_778_400_000;

    fn parse(text: &str, suite: &str, now: i64) -> Result<Release, String> {
        Release::parse(text.as_bytes(), suite, "url", now, false).map_err(|error| error.to_string())
    }

    #[test]
    fn a_release_is_read() {
        let release = parse(TEXT, "bookworm", NOW).unwrap();
        assert_eq!(release.suite, "stable");
        assert_eq!(release.digest, Digest::of(TEXT.as_bytes()));
        let found = release.packages("main", "amd64").unwrap();
        assert_eq!((found.path.as_str(), found.size), ("main/binary-amd64/Packages.xz", 7));
        assert_eq!(found.by_hash, Some(format!("main/binary-amd64/by-hash/SHA256/{}", found.digest.hex())));
        assert!(!release.separate_all);
        assert!(
            release.packages("contrib", "amd64").is_none() && release.packages("main", "arm64").is_none()
        );
        let plain = parse(&TEXT.replace("Hash: yes", "Hash: no"), "stable", NOW).unwrap();
        assert_eq!(plain.packages("main", "amd64").unwrap().by_hash, None);
        for end in [".zst", ".gz", ""] {
            let text = TEXT.replace("Packages.gz", "other").replace("Packages.xz", &format!("Packages{end}"));
            let found = parse(&text, "stable", NOW).unwrap().packages("main", "amd64").unwrap();
            assert_eq!(found.path, format!("main/binary-amd64/Packages{end}"));
        }
        for (fields, separate) in [
            ("Architectures: all amd64\n", true),
            ("Architectures: amd64\n", false),
            ("Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n", false),
        ] {
            assert_eq!(
                parse(&format!("{fields}{TEXT}"), "stable", NOW).unwrap().separate_all,
                separate,
                "{fields}"
            );
        }
    }

    #[test]
    fn what_is_not_to_be_believed_is_refused() {
        let check = |from: &str, to: &str, suite: &str, now: i64, expected: &str| {
            let error = parse(&TEXT.replace(from, to), suite, now).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("", "", "trixie", NOW, "it is that of `bookworm` (stable), not of `trixie`");
        check("", "", "bookworm", NOW + 30 * 86_400, "not to be believed since Sat, 16 May");
        check("", "", "bookworm", NOW - 30 * 86_400, "from the future");
        check("Sat, 09 May 2026", "someday", "bookworm", NOW, "its Date is no time");
        check("main/binary-amd64/Packages.gz", "", "bookworm", NOW, "names no index");
        check("SHA256", "MD5Sum", "bookworm", NOW, "no index by SHA-256");
        let late = Release::parse(TEXT.as_bytes(), "bookworm", "url", NOW + 30 * 86_400, true);
        assert!(late.unwrap().expired.is_some(), "who asks for what has expired gets it");
        // Without a date of expiry it stays good.
        assert!(parse(&TEXT.replace("Valid-Until", "X-Until"), "bookworm", NOW + 3_000_000_000).is_ok());
    }

    #[test]
    fn a_clear_signed_text_is_taken_apart() {
        let text = format!("{BEGIN}\nHash: SHA512\n\nA: 1  \n- -x\nB: 2\n{SIGNATURE}\n\nabc\n{END}\n");
        let (signed, signature) = split_clear_signed(text.as_bytes(), "url").unwrap();
        assert_eq!(signed, b"A: 1\n-x\nB: 2");
        assert_eq!(signature, format!("{SIGNATURE}\n\nabc\n{END}\n").as_bytes());
        for (from, to, expected) in [
            (BEGIN, "x", "does not begin"),
            ("Hash: ", "Comment: ", "something else than `Hash`"),
            ("- -x", "-x", "is not escaped"),
            (SIGNATURE, "", "is not escaped"),
            (END, "", "its signature is missing"),
            (END, &format!("{END}\nA: 2"), "something follows"),
        ] {
            let error = split_clear_signed(text.replace(from, to).as_bytes(), "url").unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert!(split_clear_signed(b"", "url").is_err() && split_clear_signed(b"\xff", "url").is_err());
    }
}
