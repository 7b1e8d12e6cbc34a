use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rebit_store::{Store, StoreOptions};

use super::*;

/// A network of one file and one commit, which counts what it is asked for.
#[derive(Default)]
struct Fake {
    urls: AtomicUsize,
    lookups: AtomicUsize,
    checkouts: AtomicUsize,
}

impl Fetch for Fake {
    fn url(&self, _url: &str, known: &Validators, into: &mut File) -> Result<UrlAnswer, FetchError> {
        self.urls.fetch_add(1, Ordering::SeqCst);
        if known.etag.as_deref() == Some("1") {
            return Ok(UrlAnswer::Unchanged);
        }
        into.write_all(b"hello\n")?;
        std::io::Seek::rewind(into)?;
        Ok(UrlAnswer::New(Validators { etag: Some("1".into()), last_modified: None }))
    }

    fn resolve(&self, source: &GitSource) -> Result<GitCommit, FetchError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let name = source.reference.clone();
        Ok(GitCommit { commit: "a".repeat(40), name, tag: None })
    }

    fn checkout(&self, _wanted: &GitWanted<'_>, into: &Path) -> Result<i64, FetchError> {
        self.checkouts.fetch_add(1, Ordering::SeqCst);
        std::fs::write(into.join("file"), "content")?;
        Ok(7)
    }
}

fn silent(_: &str) {}

/// a file is known by its URL, which is asked about, and by its digest, which is not.
#[test]
fn a_file_is_fetched_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { create: true, ..StoreOptions::default() };
    let store = Store::open(directory.path(), &options).unwrap();
    let session = store.session().unwrap();
    let (network, now) = (Fake::default(), SystemTime::UNIX_EPOCH);
    let online = || Remote::new(&session, Some(&network), now);
    let hello = Digest::of(b"hello\n");
    let file = online().url("http://u:p@host/f", None, &silent).unwrap();
    assert_eq!((file.digest, file.size), (hello, 6));
    // Credentials are no part of what is known, and another build asks whether it changed.
    assert_eq!(online().url("http://host/f", None, &silent).unwrap(), file);
    assert_eq!(network.urls.load(Ordering::SeqCst), 2);
    let offline = Remote::new(&session, None, now);
    assert_eq!(offline.url("http://elsewhere/f", Some(&hello), &silent).unwrap(), file);
    assert!(matches!(offline.url("http://host/f", None, &silent), Err(RemoteError::Unpinned { .. })));
    let other = Digest::of(b"other");
    assert!(matches!(offline.url("http://x/", Some(&other), &silent), Err(RemoteError::Offline { .. })));
    let wrong = online().url("http://host/f", Some(&other), &silent);
    assert!(matches!(wrong, Err(RemoteError::WrongChecksum { found, .. }) if found == hello), "{wrong:?}");
    // Within a build it is asked for once.
    let (build, before) = (online(), network.urls.load(Ordering::SeqCst));
    build.url("http://host/g", None, &silent).unwrap();
    build.url("http://host/g", None, &silent).unwrap();
    assert_eq!(network.urls.load(Ordering::SeqCst) - before, 1);
}

///
#[test]
fn a_commit_is_checked_out_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { create: true, ..StoreOptions::default() };
    let store = Store::open(directory.path(), &options).unwrap();
    let session = store.session().unwrap();
    let (network, now) = (Fake::default(), SystemTime::UNIX_EPOCH);
    let remote = Remote::new(&session, Some(&network), now);
    let source = |remote: &str, reference: &str| GitSource {
        remote: remote.to_owned(),
        reference: Some(reference.to_owned()),
        ..GitSource::default()
    };
    let counts = || (network.lookups.load(Ordering::SeqCst), network.checkouts.load(Ordering::SeqCst));
    let (main, full) = (source("git://a/x", "main"), source("git://b/x", &"a".repeat(40)));
    let found = remote.git(&main, false, false, &silent).unwrap();
    assert_eq!((found.time, found.tree.len(), counts()), (7, 2, (1, 1)));
    // By its number it is known, from wherever.
    let known = remote.git(&full, false, false, &silent).unwrap();
    assert_eq!((known.time, counts()), (7, (1, 1)));
    assert_eq!(known.tree, found.tree);
    let offline = Remote::new(&session, None, now);
    assert!(offline.git(&full, false, false, &silent).is_ok());
    assert!(matches!(offline.git(&main, false, false, &silent), Err(RemoteError::Unpinned { .. })));
    assert!(matches!(offline.git(&full, true, false, &silent), Err(RemoteError::Offline { .. })));
    // What is kept of git has the name in it.
    remote.git(&main, false, true, &silent).unwrap();
    remote.git(&source("git://a/x", "other"), false, true, &silent).unwrap();
    assert_eq!(counts(), (2, 3));
}
