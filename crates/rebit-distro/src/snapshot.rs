//! Where package files are that their archive has dropped: archives of archives, by the time at which they were taken.

use crate::date;
use crate::lock::LockedArchive;

/// What stands for the archive's own name in an address, and for the time.
const ARCHIVE: &str = "{archive}";
const TIME: &str = "{time}";
/// How long after the date of a Release file everything that it names has surely been taken, and nothing of it is gone yet.
const LATER: i64 = 12 * 3600;

/// Says what is wrong with an address that a recipe has.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let plain = text.replace(ARCHIVE, "").replace(TIME, "");
    let authority = plain.split_once(':').map_or("", |(_, rest)| rest.trim_start_matches('/'));
    let authority = authority.split('/').next().unwrap_or_default();
    if !["http://", "https://", "file:/"].iter().any(|start| plain.starts_with(start)) {
        return Err(format!("`{text}` is no address of an archive: http, https and file are supported"));
    }
    if plain.contains(['{', '}']) || plain.contains(char::is_whitespace) {
        return Err(format!(
            "`{text}` has something else in braces than `archive` and `time`, or white space"
        ));
    }
    if authority.contains('@') {
        return Err("an address has credentials, which belong into apt's auth.conf".to_owned());
    }
    Ok(())
}

/// The address that is meant for an archive: `{archive}` is the last part of its own, `{time}` is half a day after its Release file.
pub(crate) fn address(text: &str, archive: &LockedArchive) -> String {
    let name = archive.uri.rsplit('/').next().unwrap_or_default();
    let time = date::parse(&archive.date).map(|date| date::compact(date + LATER)).unwrap_or_default();
    text.trim_end_matches('/').replace(ARCHIVE, name).replace(TIME, &time)
}

#[cfg(test)]
mod tests {
    use rebit_oci::Digest;

    use super::*;

    #[test]
    fn an_address_says_which_archive_and_when() {
        // D-17
        let archive = LockedArchive {
            uri: "http://a.test/debian-security".to_owned(),
            suite: "s".to_owned(),
            components: Vec::new(),
            date: "Thu, 31 Dec 2026 21:00:07 UTC".to_owned(),
            release: Digest::of(b""),
            signers: Vec::new(),
        };
        let text = "https://snapshot.test/archive/{archive}/{time}/";
        assert_eq!(address(text, &archive), "https://snapshot.test/archive/debian-security/20270101T090007Z");
        for good in [text, "file:/srv/debian", "http://h/x"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, expected) in [
            ("ftp://h/x", "is no address"),
            ("h/x", "is no address"),
            ("http://h/{date}", "in braces"),
            ("http://h/a b", "white space"),
            ("http://u:p@h/x", "has credentials"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(expected) && !error.contains("u:p"), "{error}");
        }
    }
}
