use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use rebit_oci::object::MemoryObjects;

use super::*;
use crate::codec::decode::{DecodeLimits, open};
use crate::testing::{path, tree};
use crate::{Compare, Metadata, Node, Tree, diff};

mod golden;

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn options(compression: Compression) -> EncodeOptions {
    EncodeOptions { epoch: 315_532_800, compression, format: LayerFormat::V1 }
}

#[derive(Default)]
struct MapCache(Mutex<BTreeMap<(SegmentKey, String), (ObjectId, u64)>>, Mutex<BTreeMap<SegmentKey, Vec<u8>>>);

impl SegmentCache for MapCache {
    fn get(&self, key: &SegmentKey, encoder: &str) -> Option<(ObjectId, u64)> {
        self.0.lock().unwrap().get(&(*key, encoder.to_owned())).copied()
    }

    fn put(&self, key: &SegmentKey, encoder: &str, part: ObjectId, size: u64) {
        self.0.lock().unwrap().insert((*key, encoder.to_owned()), (part, size));
    }

    fn state(&self, key: &SegmentKey) -> Option<Vec<u8>> {
        self.1.lock().unwrap().get(key).cloned()
    }

    fn put_state(&self, key: &SegmentKey, state: &[u8]) {
        self.1.lock().unwrap().insert(*key, state.to_vec());
    }
}

/// Counts the bytes that are read.
struct Counting<'a>(&'a MemoryObjects, std::sync::atomic::AtomicU64);

impl Counting<'_> {
    fn new(objects: &MemoryObjects) -> Counting<'_> {
        Counting(objects, 0.into())
    }

    fn count(&self) -> u64 {
        self.1.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl ObjectSource for Counting<'_> {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        let content = self.0.read(object)?;
        self.1.fetch_add(content.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(content)
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        Ok(Box::new(io::Cursor::new(self.read(object)?)))
    }
}

/// A large file that changed in one place has its other pieces compressed already.
#[test]
fn pieces_of_a_large_file_are_known_by_their_bytes() {
    let objects = MemoryObjects::new();
    let mut content: Vec<u8> = (0..6_000_000_u32).map(|at| (at >> 7) as u8 ^ (at as u8)).collect();
    let cache = MapCache::default();
    let encode = |content: &[u8], cache: &dyn SegmentCache| {
        let object = objects.put(content, &[]).unwrap();
        let mut tree = Tree::new();
        let node = Node::file(Metadata::new(0o644, 0), object, content.len() as u64);
        tree.insert(path("large"), node, &Metadata::default()).unwrap();
        let changes = Changeset::full(&tree);
        encode_layer(&changes, &objects, &objects, cache, &options(Compression::Gzip)).unwrap()
    };
    let first = encode(&content, &cache);
    content[3_500_000] ^= 1;
    let entries = || cache.0.lock().unwrap().len();
    let before = entries();
    let second = encode(&content, &cache);
    // Each of the five pieces is known by another segment now, and the one that changed by its bytes too; the trailer is what it was.
    assert_eq!((second.parts.len(), entries() - before), (6, 5 + 1));
    assert_eq!(second.digest, encode(&content, &NoSegmentCache).digest);
    assert_ne!(second.digest, first.digest);
}

/// A beginning that did not change is neither read nor hashed, and the layer is the one that encoding all of it gives.
#[test]
fn an_encoding_goes_on_where_it_can() {
    let objects = MemoryObjects::new();
    let mut tree = large_tree(&objects);
    for compression in ALL {
        let cache = MapCache::default();
        let encode = |tree: &Tree, cache: &dyn SegmentCache| {
            let counting = Counting::new(&objects);
            let changes = Changeset::full(tree);
            let layer = encode_layer(&changes, &counting, &objects, cache, &options(compression)).unwrap();
            (layer, counting.count())
        };
        let (first, all) = encode(&tree, &cache);
        assert!(!cache.1.lock().unwrap().is_empty(), "no state was kept: the tree is too small");
        for (changed, at_most) in [("d9/f199", all / 2), ("d19/f399", u64::MAX), ("d0/f0", u64::MAX)] {
            let object = objects.put(format!("{changed} {compression:?}").as_bytes(), &[]).unwrap();
            let node = Node::file(Metadata::new(0o644, 0), object, 0);
            let size = objects.read(&object).unwrap().len() as u64;
            let node = Node { kind: crate::Kind::File { object, size, link: 0 }, ..node };
            tree.insert(path(changed), node, &Metadata::default()).unwrap();
            let (expected, _) = encode(&tree, &NoSegmentCache);
            let (resumed, read) = encode(&tree, &cache);
            assert_eq!(EncodedLayer { cached_parts: 0, ..resumed }, expected, "{changed} {compression:?}");
            assert!(read <= at_most, "{changed} {compression:?}: {read} of {all} bytes were read");
            assert_ne!(expected.digest, first.digest);
        }
        // A state that is not one is left aside.
        cache.1.lock().unwrap().values_mut().for_each(|state| state.truncate(9));
        assert_eq!(encode(&tree, &cache).0.digest, encode(&tree, &NoSegmentCache).0.digest);
    }
}

/// A tree of some megabytes with files of all sizes.
fn large_tree(objects: &MemoryObjects) -> Tree {
    let mut upper = Tree::new();
    for number in 0..400_u32 {
        let size = (number * 7919 % 60_000) as usize + if number == 77 { 5_000_000 } else { 0 };
        let content: Vec<u8> = (0..size).map(|at| ((at as u32 * number) >> 5) as u8).collect();
        let object = objects.put(&content, &[]).unwrap();
        let node = Node::file(Metadata::new(0o644, 0), object, size as u64);
        upper.insert(path(format!("d{}/f{number}", number / 20)), node, &Metadata::default()).unwrap();
    }
    upper
}

fn blob(layer: &EncodedLayer, objects: &MemoryObjects) -> Vec<u8> {
    layer.parts.iter().flat_map(|(part, _)| objects.read(part).unwrap().to_vec()).collect()
}

// L-1, L-40
#[test]
fn a_layer_is_what_it_says() {
    let objects = MemoryObjects::new();
    let changes = Changeset::full(&large_tree(&objects));
    let mut plain = Vec::new();
    write_tar(&changes, &objects, 315_532_800, &mut plain).unwrap();
    for compression in ALL {
        let layer =
            encode_layer(&changes, &objects, &objects, &NoSegmentCache, &options(compression)).unwrap();
        let blob = blob(&layer, &objects);
        assert_eq!((layer.digest, layer.size), (Digest::of(&blob), blob.len() as u64));
        assert_eq!(
            (layer.diff_id, layer.uncompressed_size),
            (DiffId(Digest::of(&plain)), plain.len() as u64)
        );
        assert!(layer.parts.len() > 8 && layer.cached_parts == 0);
        let mut out = Vec::new();
        open(&blob[..], DecodeLimits::default()).unwrap().read_to_end(&mut out).unwrap();
        assert!(out == plain);
    }
}

// L-2
#[test]
fn the_number_of_threads_does_not_show() {
    let objects = MemoryObjects::new();
    let changes = Changeset::full(&large_tree(&objects));
    for compression in ALL {
        let mut layers = [1, 2, 3, 8].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let encode =
                || encode_layer(&changes, &objects, &objects, &NoSegmentCache, &options(compression));
            pool.install(encode).unwrap()
        });
        layers.sort_by_key(|layer| layer.digest);
        assert_eq!(layers.first(), layers.last());
    }
}

// L-3
#[test]
fn the_times_of_the_trees_do_not_show() {
    let objects = MemoryObjects::new();
    let lower = tree("f 644 0:0 d/a = x\nf 644 0:0 d/b = x", &objects);
    let upper = tree("f 644 0:0 d/a = x\nf 644 0:0 d/b = y", &objects);
    let digest = |times: (i64, i64)| {
        let (mut lower, mut upper) = (lower.clone(), upper.clone());
        lower.set_mtimes(times.0);
        upper.set_mtimes(times.1);
        let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
        encode_layer(&changes, &objects, &objects, &NoSegmentCache, &options(Compression::Gzip))
            .unwrap()
            .digest
    };
    assert_eq!(digest((0, 0)), digest((5, -7)));
    assert_eq!(digest((0, 0)), digest((i64::MIN, i64::MAX)));
}

#[test]
fn known_segments_are_not_encoded_again() {
    let objects = MemoryObjects::new();
    let mut upper = large_tree(&objects);
    let cache = MapCache::default();
    let encode = |upper: &Tree| {
        let changes = Changeset::full(upper);
        encode_layer(&changes, &objects, &objects, &cache, &options(Compression::Gzip)).unwrap()
    };
    let cold = encode(&upper);
    let warm = encode(&upper);
    assert_eq!(warm.cached_parts, warm.parts.len());
    assert_eq!(EncodedLayer { cached_parts: 0, ..warm }, cold);
    upper.update_metadata(&path("d3/f60"), |metadata| metadata.mode = 0o755);
    let changed = encode(&upper);
    assert!(changed.cached_parts + 2 >= changed.parts.len() && changed.digest != cold.digest);
    let afresh = encode_layer(
        &Changeset::full(&upper),
        &objects,
        &objects,
        &NoSegmentCache,
        &options(Compression::Gzip),
    );
    assert_eq!(EncodedLayer { cached_parts: 0, ..changed }, afresh.unwrap());
    // What the cache remembers may be gone or of another length; then it is made again.
    for (part, size) in [(ObjectId::of(b"gone"), 4), (cold.parts[0].0, 1)] {
        cache.0.lock().unwrap().values_mut().for_each(|known| *known = (part, size));
        let layer = encode(&large_tree(&objects));
        assert_eq!((layer.cached_parts, layer.digest), (0, cold.digest));
    }
}

#[test]
fn a_missing_content_is_an_error() {
    let objects = MemoryObjects::new();
    for size in [5, 5_000_000] {
        let mut upper = Tree::new();
        let node = Node::file(Metadata::default(), ObjectId::of(b"none"), size);
        upper.insert(path("f"), node, &Metadata::default()).unwrap();
        let changes = Changeset::full(&upper);
        let result = encode_layer(&changes, &objects, &objects, &NoSegmentCache, &options(Compression::Gzip));
        assert!(matches!(result, Err(EncodeError::Object { source: ObjectError::NotFound { .. } })));
    }
}

/// Runs the golden tests of this very program on other processors, as emulated.
// L-44
#[test]
fn the_processor_does_not_show() {
    let emulator = ["qemu-x86_64", "qemu-x86_64-static"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    let Some(emulator) = emulator.filter(|_| cfg!(target_arch = "x86_64")) else {
        crate::testing::skipped(format_args!("needs qemu-x86_64"));
        return;
    };
    for processor in ["qemu64", "Nehalem", "Haswell", "max"] {
        let output = Command::new(emulator)
            .args(["-cpu", processor])
            .arg(std::env::current_exe().unwrap())
            .arg("encode::tests::golden::")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("2 passed"), "{processor}: {text}");
    }
}
