//! What lies in the directory of a store, and who may write where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::StoreError;
use crate::entry::{Entry, EntryKind};

/// The packs of the store at `root`, by path, with their bytes.
fn packs(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(root.join("packs")).unwrap();
    entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

// S-1
#[test]
fn the_format_line_makes_a_directory_a_store() {
    let fixture = Fixture::new();
    let file = fixture.root.path().join("store.toml");
    let good = fs::read_to_string(&file).unwrap();
    let options = StoreOptions { create: false, ..StoreOptions::default() };
    let open = || Store::open(fixture.root.path(), &options);
    let line = "format = \"rebit-store\"\n";
    assert!(good.contains(line), "{good}");
    for other in ["", "format = \"other\"\n", "format = \"rebit-store-2\"\n", "# format = \"rebit-store\"\n"]
    {
        fs::write(&file, good.replace(line, other)).unwrap();
        let opened = open();
        assert!(matches!(opened, Err(StoreError::NotAStore { .. })), "{other:?}: {opened:?}");
    }
    fs::remove_file(&file).unwrap();
    assert!(matches!(open(), Err(StoreError::NoStore { .. })));
    fs::write(&file, format!("{line}version = 1\n")).unwrap();
    assert_clean(&open().unwrap());
}

// S-2
#[test]
fn a_new_store_is_made_only_where_nothing_else_is() {
    let parent = tempfile::tempdir().unwrap();
    let open = |directory: &str| Store::open(&parent.path().join(directory), &StoreOptions::default());
    let make = |path: &str| fs::create_dir_all(parent.path().join(path)).unwrap();
    let write = |path: &str| fs::write(parent.path().join(path), "x").unwrap();

    assert_clean(&open("missing/below").unwrap());
    make("empty");
    assert_clean(&open("empty").unwrap());
    make("parts/packs");
    make("parts/loose");
    write("parts/reserve");
    write("parts/store.toml.1");
    assert_clean(&open("parts").unwrap());

    make("other/packs");
    write("other/notes");
    let opened = open("other");
    assert!(matches!(opened, Err(StoreError::NotAStore { .. })), "{opened:?}");
    assert_eq!(fs::read_dir(parent.path().join("other")).unwrap().count(), 2);

    // When any other part cannot be made, there is no `store.toml`: it comes last.
    for blocked in ["packs", "loose", "scratch", "reserve"] {
        let directory = format!("no-{blocked}");
        make(&directory);
        let path = format!("{directory}/{blocked}");
        if blocked == "reserve" {
            make(&path)
        } else {
            write(&path)
        }
        let opened = open(&directory);
        assert!(matches!(opened, Err(StoreError::Io { .. })), "{blocked}: {opened:?}");
        assert!(!parent.path().join(&directory).join("store.toml").exists(), "{blocked}");
    }
}

// S-5: that nothing outside is written is shown in `processes`.
#[test]
fn no_clock_is_read() {
    let mut directories = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.extend((!path.ends_with("tests")).then_some(path));
                continue;
            }
            files += 1;
            let source = fs::read_to_string(&path).unwrap();
            for clock in ["::now", "elapsed()", "clock_gettime", "unixepoch", "CURRENT_TIME", "datetime("] {
                assert!(!source.contains(clock), "{} has `{clock}`", path.display());
            }
        }
    }
    assert!(files > 20, "only {files} files were looked at");
}

// S-7: that a collection frees it first and makes it last is shown in `faults`, on a full disk.
#[test]
fn a_reserve_may_be_missing_until_the_next_collection() {
    let fixture = Fixture::new();
    let reserve = fixture.root.path().join("reserve");
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 1 << 20);
    fs::remove_file(&reserve).unwrap();
    let store = Store::open(fixture.root.path(), &StoreOptions::default()).unwrap();
    name(&store.session().unwrap(), "ref", &[]);
    assert_clean(&store);
    collect(&store);
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 1 << 20);
    assert_clean(&store);
}

// S-10
#[test]
fn a_pack_is_a_header_and_entries() {
    let fixture = Fixture::new();
    let sessions = [fixture.session(), fixture.session()];
    for (session, seed) in sessions.iter().zip(0..) {
        put(session, &noise(seed, 100));
        let root = name(session, &format!("ref-{seed}"), &[]);
        // The leaf is there already: its new edge gets an entry of its own.
        session.put(&noise(seed, 100), &[root]).unwrap();
        session.commit().unwrap();
    }
    let packs = packs(fixture.root.path());
    assert_eq!(packs.len(), 2);
    for (path, bytes) in packs {
        let id = u64::from_str_radix(path.file_stem().unwrap().to_str().unwrap(), 16).unwrap();
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), format!("{id:016x}.pack"));
        assert_eq!(bytes[..16], [&b"RBPACK\r\n"[..], &id.to_le_bytes()].concat());
        let (mut offset, mut kinds) = (16, Vec::new());
        while offset < bytes.len() {
            let header = Entry::decode(&bytes[offset..]).unwrap().header;
            kinds.push(header.kind);
            offset += header.entry_length() as usize;
        }
        assert_eq!(offset, bytes.len());
        for kind in [EntryKind::Frame, EntryKind::Blobs, EntryKind::Edges] {
            assert!(kinds.contains(&kind), "{kinds:?}");
        }
    }
}

// S-11
#[test]
fn a_pack_has_one_writer_and_what_is_committed_stays() {
    let fixture = Fixture::new();
    let root = fixture.root.path();
    let write = |session: &Session, seed, length| {
        put(session, &noise(seed, length));
        session.commit().unwrap();
    };
    let [first, second] = [fixture.session(), fixture.session()];
    write(&first, 1, 1000);
    let alone = packs(root);
    assert_eq!(alone.len(), 1);
    write(&second, 2, 1000);
    let both = packs(root);
    assert_eq!(both.len(), 2, "two sessions write to one pack");
    assert!(alone.iter().all(|(path, bytes)| both[path] == *bytes));

    // Later sessions take both over.
    drop((first, second));
    let [third, fourth] = [fixture.session(), fixture.session()];
    write(&third, 3, 5000);
    write(&fourth, 4, 5000);
    let grown = packs(root);
    assert_eq!(grown.len(), 2, "an unsealed pack was not taken over");
    for (path, bytes) in &both {
        assert!(grown[path].starts_with(bytes) && grown[path].len() > bytes.len() + 5000);
    }

    // One that is long enough is sealed: its writer goes on elsewhere, and nobody takes it over.
    for seed in 10..44 {
        put(&third, &noise(seed, 2 << 20));
    }
    third.commit().unwrap();
    drop((third, fourth));
    let long = packs(root);
    let mut sealed = long.iter().filter(|(_, bytes)| bytes.len() >= 64 << 20);
    let (path, bytes) = sealed.next().expect("no pack is long enough");
    assert!(bytes.starts_with(&grown[path]) && bytes.len() < 67 << 20);
    assert!(sealed.next().is_none() && long.len() == 3);
    let later = [fixture.session(), fixture.session(), fixture.session()];
    for (session, seed) in later.iter().zip(50..) {
        write(session, seed, 1000);
    }
    assert!(fs::read(path).unwrap() == *bytes, "a sealed pack was written to");
    assert_eq!(packs(root).len(), 4);
}
