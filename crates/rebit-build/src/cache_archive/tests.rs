use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use rebit_store::{CacheSharing, StoreOptions};

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn store() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(&root.path().join("store"), &StoreOptions::default()).unwrap();
    (root, store)
}

fn use_cache(store: &Store, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let session = store.session().unwrap();
    let fill = |path: &Path| {
        fill(path);
        Ok(())
    };
    let cache = session.cache_dir::<StoreError>(name, CacheSharing::Shared, at(1), fill).unwrap();
    cache.path().to_owned()
}

fn fill(path: &Path) {
    fs::create_dir(path.join("dir")).unwrap();
    fs::write(path.join("dir/file"), "content").unwrap();
    fs::hard_link(path.join("dir/file"), path.join("same")).unwrap();
    fs::write(path.join("large"), vec![7; 5 << 20]).unwrap();
    fs::set_permissions(path.join("large"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../../../outside", path.join("link")).unwrap();
    for (entry, seconds) in [("dir/file", 1_234_567_890), ("large", 5)] {
        fs::File::open(path.join(entry)).unwrap().set_modified(at(seconds)).unwrap();
    }
    // Last, because making files changes it.
    for directory in ["dir", ""] {
        fs::File::open(path.join(directory)).unwrap().set_modified(at(77)).unwrap();
    }
    let link = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 9, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 9, tv_nsec: 0 },
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path.join("link"), &link, flags).unwrap();
}

fn export(store: &Store, names: &[&str], compression: Compression) -> (Vec<u8>, Carried) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut out = Vec::new();
    let carried = export_caches(store, &names, compression, &mut out).unwrap();
    (out, carried)
}

// CA-1, CA-4, CA-6, CA-7
#[test]
fn caches_come_back_as_they_were_and_replace_what_was_there() {
    let (_from, source) = store();
    use_cache(&source, "b/c", fill);
    use_cache(&source, "a", |path| fs::write(path.join("x"), "a").unwrap());
    let (plain, _) = export(&source, &["a", "b/c"], Compression::None);
    let (packed, carried) = export(&source, &["a", "b/c"], Compression::Zstd);
    assert_eq!(carried.caches, [("a".to_owned(), 1), ("b/c".to_owned(), (5 << 20) + 14)]);
    assert!(packed.len() < plain.len() / 50);

    let (_to, target) = store();
    let old = use_cache(&target, "b/c", |path| fs::write(path.join("old"), "old").unwrap());
    let session = target.session().unwrap();
    let carried = import_caches(&session, &packed[..], at(9)).unwrap();
    assert_eq!((carried.caches.len(), carried.in_use.len()), (2, 0));
    assert!(!old.join("old").exists(), "a cache was merged, not replaced");
    // The same caches give the same bytes, wherever they are.
    assert!(export(&target, &["a", "b/c"], Compression::None).0 == plain);
    assert_eq!(fs::metadata(old.join("large")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(target.caches().unwrap().iter().all(|cache| cache.used == Some(at(9))));
    assert_eq!(target.du().unwrap().objects, 0, "contents of caches went into packs");
}

// CA-6
#[test]
fn a_cache_in_use_is_left_and_named() {
    let (_root, store) = store();
    use_cache(&store, "a", |path| fs::write(path.join("x"), "archived").unwrap());
    let (archive, _) = export(&store, &["a"], Compression::None);
    let session = store.session().unwrap();
    let user = session.cache_dir::<StoreError>("a", CacheSharing::Shared, at(1), |_| Ok(())).unwrap();
    fs::write(user.path().join("x"), "in use").unwrap();
    let carried = import_caches(&session, &archive[..], at(2)).unwrap();
    assert_eq!((carried.caches.len(), carried.in_use.as_slice()), (0, &["a".to_owned()][..]));
    assert_eq!(fs::read_to_string(user.path().join("x")).unwrap(), "in use");
    assert_eq!(export(&store, &["a"], Compression::None).1.in_use, ["a"]);
}

/// Kind, name, link target, content.
type Made<'a> = (u8, &'a str, &'a str, &'a [u8]);

/// A tar of entries, made by hand.
fn tar(entries: &[Made<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, name, link, content) in entries {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000755");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].copy_from_slice(b"        ");
        header[156] = *kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

const ONE: &[u8] =
    br#"{"format": "rebit-caches", "version": 1, "caches": [{"name": "c", "directories": 1}]}"#;

// CA-3, CA-5
#[test]
fn hostile_archives_do_not_leave_the_cache() {
    let (root, store) = store();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let away = outside.to_str().unwrap();
    let import = |entries: &[Made<'_>]| import_caches(&store.session().unwrap(), &tar(entries)[..], at(1));
    let up = format!("0/0/../../../../../..{away}/up");
    let hostile: &[&[Made<'_>]] = &[
        &[(b'0', LIST, "", ONE), (b'5', "0/0", "", b""), (b'0', &up, "", b"x")],
        &[(b'0', LIST, "", ONE), (b'2', "0/0/l", away, b""), (b'0', "0/0/l/through", "", b"x")],
        &[(b'0', LIST, "", ONE), (b'2', "0/0", away, b"")],
        &[(b'0', LIST, "", ONE), (b'2', "0", away, b""), (b'0', "0/0/x", "", b"x")],
        &[(b'0', LIST, "", ONE), (b'5', "0/0", "", b""), (b'1', "0/0/h", "/etc/passwd", b"")],
        &[(b'0', LIST, "", ONE), (b'5', "0/0", "", b""), (b'3', "0/0/dev", "", b"")],
        &[(b'2', LIST, "/etc/passwd", b""), (b'5', "0/0", "", b"")],
    ];
    for (number, entries) in hostile.iter().enumerate() {
        let result = import(entries);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{number}: {result:?}");
        let scratch = root.path().join("store/scratch");
        assert_eq!(fs::read_dir(scratch).map_or(0, Iterator::count), 0, "{number} left something");
        assert!(number == 1 || number == 3 || result.is_err(), "{number}: {result:?}");
    }
}

// CA-2
#[test]
fn what_is_no_archive_of_caches_is_refused_by_name() {
    let (_root, store) = store();
    let session = store.session().unwrap();
    let import = |list: &str| {
        let archive = tar(&[(b'0', LIST, "", list.as_bytes()), (b'5', "0/0", "", b"")]);
        import_caches(&session, &archive[..], at(1))
    };
    assert!(import(std::str::from_utf8(ONE).unwrap()).is_ok());
    let newer = import(r#"{"format": "rebit-caches", "version": 2, "caches": []}"#);
    assert!(matches!(newer, Err(CacheArchiveError::Version { version: 2 })), "{newer:?}");
    for wrong in [
        "",
        r#"{"format": "other", "version": 1, "caches": []}"#,
        r#"{"format": "rebit-caches", "version": 1, "caches": [{"name": "c", "directories": 2}]}"#,
    ] {
        let result = import(wrong);
        assert!(matches!(result, Err(CacheArchiveError::NotCaches { .. })), "{wrong}: {result:?}");
    }
    let nameless =
        import(r#"{"format": "rebit-caches", "version": 1, "caches": [{"name": "", "directories": 1}]}"#);
    assert!(
        matches!(nameless, Err(CacheArchiveError::Store(StoreError::InvalidName { .. }))),
        "{nameless:?}"
    );
    assert!(import_caches(&session, &b"not a tar"[..], at(1)).is_err());
}
