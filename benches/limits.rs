//! What the machine can do, and how much of it the parts that touch every byte reach.
//!
//! `cargo bench -p rebit --bench limits` needs nothing. Each pair is measured in turns in one run, medians of five: first the
//! machine's limit with the bare library on data in memory, then ours on the same data, and the share of the limit that is reached.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints its figures"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rebit_image::{Place, RootfsOptions, import_rootfs};
use rebit_layer::encode::{EncodeOptions, LayerFormat, NoSegmentCache, SegmentCache};
use rebit_layer::segment::SegmentKey;
use rebit_layer::{
    Changeset, CheckoutOptions, Metadata, Node, Tree, TreePath, Whiteouts, checkout, encode_layer,
};
use rebit_oci::manifest::Compression;
use rebit_oci::object::{ObjectSink, ObjectSource};
use rebit_oci::{Digest, ObjectId};
use rebit_store::{Session, Store, StoreOptions};

const RUNS: usize = 5;
const FILES: usize = 4000;
const SIZE: usize = 20_000;

fn main() {
    let dir = tempfile::Builder::new().prefix("rebit-bench-").tempdir().unwrap();
    let files = text_files();
    let all: Vec<u8> = files.concat();
    let megabytes = all.len() as f64 / 1e6;
    println!("{FILES} files of text, {megabytes:.0} MB in all");
    println!("{:<58}{:>12}{:>12}{:>8}", "", "limit", "reached", "share");

    let store = Store::open(&dir.path().join("store"), &StoreOptions::default()).unwrap();
    let session = store.session().unwrap();
    let objects: Vec<ObjectId> = files.iter().map(|file| session.put(file, &[]).unwrap()).collect();
    session.commit().unwrap();

    let mut number = 0;
    let rate = |time: Duration| megabytes / time.as_secs_f64();
    let show = |what: &str, limit: Duration, ours: Duration| {
        let share = limit.as_secs_f64() / ours.as_secs_f64();
        println!("{what:<58}{:>7.0} MB/s{:>7.0} MB/s{share:>8.2}", rate(limit), rate(ours));
    };

    let (limit, ours) = pair(
        || keep(blake3::hash(&all)),
        || files.iter().for_each(|file| keep(session.put(file, &[]).unwrap())),
    );
    show("put what is known (BLAKE3)", limit, ours);

    let (limit, ours) = pair(
        || keep(zstd::bulk::compress(&all, 1).unwrap()),
        || {
            number += 1;
            let store =
                Store::open(&dir.path().join(format!("new-{number}")), &StoreOptions::default()).unwrap();
            let session = store.session().unwrap();
            files.iter().for_each(|file| keep(session.put(file, &[]).unwrap()));
            session.commit().unwrap();
        },
    );
    show("put what is new, synced to disk (zstd -1)", limit, ours);

    let packed = zstd::bulk::compress(&all, 1).unwrap();
    let (limit, ours) = pair(
        || keep(zstd::bulk::decompress(&packed, all.len()).unwrap()),
        || objects.iter().for_each(|object| keep(session.read(object).unwrap())),
    );
    show("read, verified (zstd decompression)", limit, ours);

    let changes = Changeset::full(&tree(&objects, &files));
    let options = |compression| EncodeOptions { epoch: 0, compression, format: LayerFormat::V1 };
    let (limit, ours) = pair(
        || keep(Digest::of(&all)),
        || {
            keep(
                encode_layer(&changes, &session, &session, &Known(&session), &options(Compression::Gzip))
                    .unwrap(),
            )
        },
    );
    show("a layer whose segments are known (SHA-256)", limit, ours);

    let (limit, ours) = pair(
        || {
            let mut deflate = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
            deflate.write_all(&all).unwrap();
            keep(deflate.finish().unwrap());
        },
        || {
            keep(
                encode_layer(&changes, &session, &session, &NoSegmentCache, &options(Compression::Gzip))
                    .unwrap(),
            )
        },
    );
    show("a gzip layer, all processors (zlib-rs -1, one)", limit, ours);

    for (compression, name) in [(Compression::None, "plain"), (Compression::Gzip, "gzip")] {
        let (image, streams) = image(&session, &changes, compression, name);
        let (limit, ours) = pair(
            || streams.iter().for_each(|stream| keep(Digest::of(stream))),
            || keep(rebit_image::verify(Some(&session), &image, None).unwrap()),
        );
        let what = format!("verify a stored image, {name} (SHA-256 of {}, one)", what(&streams));
        show(&what, limit, ours);
    }

    unpack(dir.path(), &files, &changes, &session);
}

fn what(streams: &[Vec<u8>]) -> &'static str {
    if streams.len() == 1 { "blobs" } else { "blobs, tars" }
}

/// An image of one layer in the store, and the streams whose digests say what it is.
fn image(
    session: &Session,
    changes: &Changeset,
    compression: Compression,
    name: &str,
) -> (Place, Vec<Vec<u8>>) {
    let read = |digest: &Digest| {
        let mut bytes = Vec::new();
        session.open_blob(digest).unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let options = EncodeOptions { epoch: 0, compression: Compression::None, format: LayerFormat::V1 };
    let tar = encode_layer(changes, session, session, &NoSegmentCache, &options).unwrap();
    session.put_composite(&tar.digest, tar.size, &tar.parts).unwrap();
    let tar = read(&tar.digest);
    let platform = "linux/amd64".parse().unwrap();
    let options = RootfsOptions { compression, ..RootfsOptions::new(platform, 0, SystemTime::UNIX_EPOCH) };
    let stored = import_rootfs(session, &mut tar.as_slice(), &[name.parse().unwrap()], &options).unwrap();
    let mut streams = vec![read(&stored.layers[0].digest)];
    if compression != Compression::None {
        streams.push(tar);
    }
    (Place::Store { name: name.to_owned() }, streams)
}

/// Files made one after the other by plain calls, beside a checkout.
fn unpack(dir: &Path, files: &[Vec<u8>], changes: &Changeset, session: &Session) {
    let (mut plain, mut ours) = (0, 0);
    let options =
        CheckoutOptions { whiteouts: Whiteouts::Plain, allow_missing_devices: true, allow_other_owner: true };
    let (limit, reached) = pair(
        || {
            plain += 1;
            for (number, file) in files.iter().enumerate() {
                let path = dir.join(format!("plain-{plain}/{}/{number}", number / 100));
                if number % 100 == 0 {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                }
                fs::write(path, file).unwrap();
            }
        },
        || {
            ours += 1;
            let target = dir.join(format!("checkout-{ours}"));
            fs::create_dir(&target).unwrap();
            keep(checkout(changes, &target, session, &options).unwrap());
        },
    );
    let rate = |time: Duration| FILES as f64 / time.as_secs_f64();
    println!(
        "{:<58}{:>5.0} files/s{:>5.0} files/s{:>5.2}",
        "unpack, with modes, owners and times (write)",
        rate(limit),
        rate(reached),
        limit.as_secs_f64() / reached.as_secs_f64()
    );
}

/// The store's table of segments.
struct Known<'a>(&'a Session);

impl SegmentCache for Known<'_> {
    fn get(&self, key: &SegmentKey, encoder: &str) -> Option<(ObjectId, u64)> {
        self.0.segment(&key.0, encoder).ok().flatten()
    }

    fn put(&self, key: &SegmentKey, encoder: &str, part: ObjectId, size: u64) {
        self.0.put_segment(&key.0, encoder, &part, size).unwrap();
    }
}

/// Medians of both, measured in turns so that what else the machine does meets both alike.
fn pair(mut limit: impl FnMut(), mut ours: impl FnMut()) -> (Duration, Duration) {
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        limit();
        times.0.push(start.elapsed());
        let start = Instant::now();
        ours();
        times.1.push(start.elapsed());
    }
    times.0.sort_unstable();
    times.1.sort_unstable();
    (times.0[RUNS / 2], times.1[RUNS / 2])
}

/// Text of this machine, cut into files, each of them another one.
fn text_files() -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let mut pending = vec!["/usr/include".into(), "/usr/share".into()];
    while let Some(directory) = pending.pop() {
        let mut entries: Vec<_> =
            fs::read_dir::<std::path::PathBuf>(directory).into_iter().flatten().flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() && text.len() < FILES * SIZE {
                let _ = fs::File::open(entry.path()).and_then(|mut file| file.read_to_end(&mut text));
            }
        }
    }
    let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let file =
        |(number, content): (usize, &[u8])| [format!("{seed} {number}\n").as_bytes(), content].concat();
    text.chunks(SIZE).take(FILES).enumerate().map(file).collect()
}

fn tree(objects: &[ObjectId], files: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    for (number, (object, file)) in objects.iter().zip(files).enumerate() {
        let path = TreePath::parse(format!("{}/{number}", number / 100)).unwrap();
        let node = Node::file(Metadata::new(0o644, 0), *object, file.len() as u64);
        tree.insert(path, node, &Metadata::new(0o755, 0)).unwrap();
    }
    tree
}

/// Uses a value, so that making it is not optimised away.
fn keep<T>(value: T) {
    std::hint::black_box(value);
}
