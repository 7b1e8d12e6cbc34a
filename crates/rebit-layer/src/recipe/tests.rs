use std::io::{Read, Write};

use proptest::prelude::*;
use rebit_oci::TreeId;
use rebit_oci::object::{MemoryObjects, ObjectSource};

use super::*;
use crate::codec::decode::{self, DecodeLimits};
use crate::codec::deflate::tests::sample;
use crate::{Limits, ReadOptions, Tree, read_layer_split, tree};

/// An archive with all that a recipe meets: files of many sizes, links, pax headers, directories, a sparse file.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let file = |builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_mtime(12_345);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, name, content).unwrap();
    };
    for (name, size) in
        [("empty", 0), ("tiny", 100), ("small", 3000), ("d/large", 1_200_000), ("block", 1024)]
    {
        file(&mut builder, name, &sample(size));
    }
    file(&mut builder, "small-again", &sample(3000));
    file(&mut builder, &"long/".repeat(60), b"");
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_link(&mut header, "link", "small").unwrap();
    builder.append_pax_extensions([("SCHILY.xattr.user.a", &b"b"[..])]).unwrap();
    file(&mut builder, "with-xattr", &sample(777));
    let mut archive = builder.into_inner().unwrap();
    sparse(&mut archive);
    archive.extend_from_slice(&[0; 1024]);
    archive
}

/// Appends a sparse file in pax format 1.0: the content is a map and the pieces.
fn sparse(archive: &mut Vec<u8>) {
    archive.truncate(archive.len() - 1024);
    let mut builder = tar::Builder::new(Vec::new());
    let records = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"holes"),
        ("GNU.sparse.realsize", b"5000"),
    ];
    builder.append_pax_extensions(records).unwrap();
    let mut body = b"1\n4096\n904\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(&sample(904));
    let mut header = tar::Header::new_ustar();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_data(&mut header, "GNUSparseFile.0/holes", body.as_slice()).unwrap();
    let bytes = builder.into_inner().unwrap();
    archive.extend_from_slice(&bytes[..bytes.len() - 1024]);
}

/// Splits a stream, whatever it is; `None` when a large file in it was cut off.
fn split(stream: &[u8], objects: &MemoryObjects) -> Option<Split> {
    let mut reader = stream;
    let mut splitter = Splitter::new(&mut reader, objects);
    let limits = Limits { file_size: 8 << 20, total_size: 64 << 20, ..Limits::default() };
    let _any =
        read_layer_split(&mut splitter, &Tree::new(), objects, &ReadOptions { whiteouts: true, limits });
    splitter.finish().unwrap()
}

fn join(split: Split, objects: &MemoryObjects) -> Vec<u8> {
    let mut joined = Vec::new();
    split.join(objects).read_to_end(&mut joined).unwrap();
    joined
}

#[test]
fn a_stream_that_was_split_joins_again() {
    //
    let objects = MemoryObjects::new();
    let archive = archive();
    let found = split(&archive, &objects).unwrap();
    let lengths: Vec<u64> = found.contents.iter().map(|content| content.length).collect();
    assert_eq!(lengths, [3000, 1_200_000, 1024, 3000, 777], "what is tiny or sparse stays where it is");
    assert_eq!(found.contents[0].object, found.contents[3].object);
    assert_eq!(found.length(), Some(archive.len() as u64));
    assert!(join(found, &objects) == archive);

    // Junk behind the end, two archives in one stream, no archive at all.
    let doubled = [&archive[..], &sample(100_000), &archive].concat();
    for stream in [&doubled[..], &archive[..archive.len() - 1024], b"", b"no archive", &sample(9 << 20)] {
        let found = split(stream, &objects).unwrap();
        assert!(join(found, &objects) == stream, "{} bytes", stream.len());
    }
}

fn gzip(encoder: Encoder, plain: &[u8]) -> Vec<u8> {
    let mut member = b"\x1f\x8b\x08\x08\x01\x02\x03\x04\x00\x03layer.tar\0".to_vec();
    let mut part = encoder.start(Some(plain.len() as u64)).unwrap();
    part.push(plain, &mut member).unwrap();
    part.finish(&mut member).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(plain);
    member.extend_from_slice(&crc.sum().to_le_bytes());
    member.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    member
}

fn zstd(encoder: Encoder, plain: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut part = encoder.start(Some(plain.len() as u64)).unwrap();
    part.push(plain, &mut frame).unwrap();
    part.finish(&mut frame).unwrap();
    frame
}

/// The recipe of a blob, by the first encoder whose recipe gives it back.
fn recipe(blob: &[u8], objects: &MemoryObjects) -> Option<Recipe> {
    let framing = Framing::default();
    let decoder = decode::open_framed(blob, DecodeLimits::default(), Some(framing.clone())).unwrap();
    let mut plain = rebit_oci::digest::HashingReader::new(decoder);
    let mut splitter = Splitter::new(&mut plain, objects);
    read_layer_split(&mut splitter, &Tree::new(), objects, &ReadOptions::layer()).unwrap();
    let tar = splitter.finish().unwrap().unwrap();
    let (diff_id, _) = plain.finish().unwrap();
    candidates(&blob[..blob.len().min(guess::HEAD)]).into_iter().find_map(|encoder| {
        let recipe = Recipe {
            digest: Digest::of(blob),
            size: blob.len() as u64,
            diff_id: DiffId(diff_id),
            parts: framing.parts(encoder)?,
            tar: tar.clone(),
        };
        let mut made = Vec::new();
        open(objects, &recipe.encode().unwrap()).unwrap().read_to_end(&mut made).unwrap();
        (made == blob).then_some(recipe)
    })
}

#[test]
fn every_encoder_is_found_and_gives_the_blob_back() {
    //
    let tar = archive();
    let objects = MemoryObjects::new();
    let zstds =
        [(3, true, true, true), (1, false, true, false), (5, true, false, true), (9, false, false, false)];
    let zstds =
        zstds.map(|(level, threads, sized, checked)| Encoder::Zstd { level, threads, sized, checked });
    let deflates =
        [1, 4, 6, 9].map(|level| [Encoder::Gnu(level), Encoder::Zlib(level), Encoder::Pigz(level)]);
    for encoder in deflates.as_flattened().iter().chain([&Encoder::Libdeflate]) {
        let blob = gzip(*encoder, &tar);
        assert_eq!(recipe(&blob, &objects).map(|found| found.encoders()), Some(vec![*encoder]));
        let twice = [&blob[..], &gzip(*encoder, b"")].concat();
        assert_eq!(recipe(&twice, &objects).map(|found| found.parts.len()), Some(6), "{encoder}");
    }
    for encoder in zstds {
        let found =
            recipe(&zstd(encoder, &tar), &objects).unwrap_or_else(|| panic!("{encoder} was not found"));
        assert!(matches!(found.encoders()[..], [Encoder::Zstd { .. }]));
    }
    assert_eq!(recipe(&tar, &objects).map(|found| found.encoders()), Some(vec![Encoder::Plain]));
}

#[test]
fn segments_of_layer_format_1_are_found() {
    //
    let tar = archive();
    let objects = MemoryObjects::new();
    for compression in [rebit_oci::manifest::Compression::Gzip, rebit_oci::manifest::Compression::Zstd] {
        let segment = |plain: &[u8]| crate::codec::encode_segment(compression, plain).unwrap();
        let blob: Vec<u8> = tar.chunks(1 << 20).flat_map(segment).collect();
        let found = recipe(&blob, &objects).unwrap();
        assert!(found.encode().unwrap().len() < 1000);
    }
}

#[test]
fn what_no_encoder_made_has_no_recipe() {
    //
    let tar = archive();
    let mut blob = gzip(Encoder::Zlib(6), &tar[..tar.len() - 512]);
    let end = blob.len() - 8;
    let ours = gzip(Encoder::Gnu(6), &tar);
    assert_eq!(
        recipe(&ours, &MemoryObjects::new()).map(|found| found.encoders()),
        Some(vec![Encoder::Gnu(6)])
    );
    blob.truncate(end);
    // Another encoder's bytes: zlib-rs, which is neither.
    let mut other = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    other.write_all(&tar).unwrap();
    assert!(recipe(&other.finish().unwrap(), &MemoryObjects::new()).is_none());
    for junk in [&b""[..], b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff", b"\x28\xb5\x2f\xfd", b"BZh9"] {
        assert!(candidates(junk).iter().all(|encoder| *encoder == Encoder::Plain), "{junk:?}");
    }
}

fn some_recipe() -> Recipe {
    Recipe {
        digest: Digest::of(b"blob"),
        size: 1000,
        diff_id: DiffId(Digest::of(b"tar")),
        parts: vec![
            Part::Verbatim(b"header".to_vec()),
            Part::Encoded { encoder: Encoder::Gnu(6), plain: 700 },
            Part::Encoded { encoder: Encoder::Plain, plain: 300 },
        ],
        tar: Split {
            scaffold: vec![(ObjectId::of(b"block"), 600)],
            contents: vec![Content { before: 512, object: ObjectId::of(b"file"), length: 400 }],
        },
    }
}

#[test]
fn a_recipe_reads_back_and_any_other_bytes_are_refused() {
    //
    let recipe = some_recipe();
    let bytes = recipe.encode().unwrap();
    assert_eq!(Recipe::decode(&bytes), Ok(recipe.clone()));
    assert_eq!(recipe.edges().len(), 2);
    for end in 0..bytes.len() {
        assert!(Recipe::decode(&bytes[..end]).is_err());
    }
    assert!(Recipe::decode(&[&bytes[..], b"x"].concat()).is_err());
    let changed = |change: fn(&mut Recipe)| {
        let mut recipe = some_recipe();
        change(&mut recipe);
        Recipe::decode(&recipe.encode().unwrap())
    };
    let short = RecipeError::Malformed { reason: "its parts do not take the tar stream" };
    assert_eq!(changed(|recipe| drop(recipe.parts.pop())), Err(short));
    assert!(changed(|recipe| recipe.tar.contents[0].before = 601).is_err());
    assert!(changed(|recipe| recipe.tar.contents[0].length = u64::MAX).is_err());
    assert!(changed(|recipe| recipe.tar.scaffold[0].1 = MAX_BLOCK + 1).is_err());
}

#[test]
fn an_encoder_that_is_not_known_is_refused_by_name() {
    //
    let bytes = some_recipe().encode().unwrap();
    let at = bytes.windows(9).position(|name| name == b"gzip-v1 6").unwrap();
    for name in [b"gzip-v2 6", b"gzip-v1 0", b"zlib-v9 6", b"gzip-v1\n6"] {
        let mut other = bytes.clone();
        other[at..at + 9].copy_from_slice(name);
        let shown = String::from_utf8_lossy(name).replace('\n', "?");
        assert_eq!(Recipe::decode(&other), Err(RecipeError::UnknownEncoder { name: shown }));
    }
    let mut later = bytes.clone();
    later[8] = 9;
    assert_eq!(Recipe::decode(&later), Err(RecipeError::Version { version: 9 }));
}

#[test]
fn a_missing_or_other_object_is_an_error() {
    //
    let tar = archive();
    let objects = MemoryObjects::new();
    let found = recipe(&gzip(Encoder::Zlib(1), &tar), &objects).unwrap();
    let read = |recipe: Recipe| recipe.blob(&objects).read_to_end(&mut Vec::new());
    let mut missing = found.clone();
    missing.tar.contents[1].object = ObjectId::of(b"nobody has this");
    assert_eq!(read(missing).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let mut other = found.clone();
    other.tar.contents[0].object = found.tar.contents[1].object;
    assert!(read(other).is_err());
    let mut scaffold = found.clone();
    scaffold.tar.scaffold[0].0 = found.tar.contents[0].object;
    assert!(read(scaffold).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_split_and_join(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        //
        let objects = MemoryObjects::new();
        let found = split(&bytes, &objects).unwrap();
        prop_assert!(join(found, &objects) == bytes);
    }

    #[test]
    fn any_change_of_an_archive_splits_and_joins(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        //
        let mut bytes = archive();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.index(2000));
        let objects = MemoryObjects::new();
        // A large file that is cut off cannot be told from what was kept of it: no recipe.
        if let Some(found) = split(&bytes, &objects) {
            prop_assert!(join(found, &objects) == bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_recipe_or_an_error(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        //
        let mut bytes = some_recipe().encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(recipe) = Recipe::decode(&bytes) {
            prop_assert_eq!(recipe.encode().unwrap(), bytes);
        }
    }
}

/// What the encoders make of a fixed input. A change here means that recipes in stores do not give their blobs any more.
const GOLDEN: &[(&str, &str)] = &[
    ("plain", "db50ec27c6f53efe"),
    ("libdeflate-1.26.1 3", "88debe67cbc88504"),
    ("zlib-v1 1", "5b64395cda69d16f"),
    ("zlib-v1 2", "42faf063eb9462f8"),
    ("zlib-v1 3", "c54c390ab8a1d42a"),
    ("zlib-v1 4", "5ea18d1d49396c8f"),
    ("zlib-v1 5", "8303a8a5a2449afc"),
    ("zlib-v1 6", "863109c19d46658a"),
    ("zlib-v1 7", "65722bfd7a9512bb"),
    ("zlib-v1 8", "4ff24ce6f2f73b92"),
    ("zlib-v1 9", "384fb42866be9ea6"),
    ("gzip-v1 1", "d6c889e179340e33"),
    ("gzip-v1 2", "2ba422ec310281a1"),
    ("gzip-v1 3", "2c160a5448ba412c"),
    ("gzip-v1 4", "fc8e7ea5b42f5044"),
    ("gzip-v1 5", "5d50f971cf48a2d5"),
    ("gzip-v1 6", "4400040d86f4be05"),
    ("gzip-v1 7", "85bd25bc0b6b8139"),
    ("gzip-v1 8", "48e6385ca16f023d"),
    ("gzip-v1 9", "37c023525955dfdb"),
    ("pigz-v1 1", "69e2eba0532df0e1"),
    ("pigz-v1 2", "0835388c4edab7c5"),
    ("pigz-v1 3", "7c229fe3f846e318"),
    ("pigz-v1 4", "650660ccd186270f"),
    ("pigz-v1 5", "9ac0f9fc816e4618"),
    ("pigz-v1 6", "0ab1bfb6e4a4b888"),
    ("pigz-v1 7", "280e055bd18a8b1d"),
    ("pigz-v1 8", "799a31d8b28fa67b"),
    ("pigz-v1 9", "482c3d83e82d226d"),
    ("zstd-1.5.7 1 size checksum", "28a7c0ee76d42f35"),
    ("zstd-1.5.7 1 threads size checksum", "2b9d434f5ab3fff4"),
    ("zstd-1.5.7 2 size checksum", "8b2ae64a11e26595"),
    ("zstd-1.5.7 2 threads size checksum", "270cd46fb1483422"),
    ("zstd-1.5.7 3 size checksum", "a48b817ffde57fc2"),
    ("zstd-1.5.7 3 threads size checksum", "6b51871f6fe9064a"),
    ("zstd-1.5.7 4 size checksum", "b0c54620f2728d99"),
    ("zstd-1.5.7 4 threads size checksum", "7a01aef3ad3c8822"),
    ("zstd-1.5.7 5 size checksum", "6fae596ca31014a2"),
    ("zstd-1.5.7 5 threads size checksum", "53aa9f4ac4261cda"),
    ("zstd-1.5.7 6 size checksum", "02be817d60030d41"),
    ("zstd-1.5.7 6 threads size checksum", "eb5bc93240d065a9"),
    ("zstd-1.5.7 7 size checksum", "a5d30131c583a136"),
    ("zstd-1.5.7 7 threads size checksum", "3798106b4f8c554f"),
    ("zstd-1.5.7 8 size checksum", "b8bb33bc1233c4b0"),
    ("zstd-1.5.7 8 threads size checksum", "b8bb33bc1233c4b0"),
    ("zstd-1.5.7 9 size checksum", "ae00f206fbcf3224"),
    ("zstd-1.5.7 9 threads size checksum", "ae00f206fbcf3224"),
    ("zstd-1.5.7 3", "8429871728e7d748"),
    ("zstd-1.5.7 3 threads", "3160db9d0e05ad52"),
    ("zstd-1.5.7 3 size", "6569a1f607d5b5d5"),
];

#[test]
fn the_encoders_are_frozen() {
    //
    let input = sample(1_500_000);
    let mut found = Vec::new();
    for (name, _) in GOLDEN {
        let encoder: Encoder = name.parse().unwrap();
        let mut made = Vec::new();
        let mut part = encoder.start(Some(input.len() as u64)).unwrap();
        input.chunks(100_000).for_each(|piece| part.push(piece, &mut made).unwrap());
        part.finish(&mut made).unwrap();
        found.push((*name, Digest::of(&made).hex()[..16].to_owned()));
    }
    let golden: Vec<(&str, String)> = GOLDEN.iter().map(|(name, hex)| (*name, (*hex).to_owned())).collect();
    assert_eq!(found, golden);
}

#[test]
fn directories_stand_for_what_they_hold() {
    //
    let objects = MemoryObjects::new();
    let long = |name: &str| format!("{}*100", name.repeat(3));
    let text = format!(
        "d 755 0:0 a\nd 755 0:0 a/b\nf 644 0:0 a/b/one = {}\nf 644 0:0 a/b/short = x\nf 644 0:0 a/two = {}\nd 755 0:0 c\n\
         f 644 0:0 c/three = {}\nf 644 0:0 c/below = {}\nd 755 0:0 c/d\nf 644 0:0 c/d/four = {}\nd 755 0:0 e\nf 644 0:0 e/short = y\n",
        long("one"),
        long("two"),
        long("three"),
        long("below"),
        long("four"),
    );
    let id = crate::testing::tree(&text, &objects).store(&objects).unwrap();
    let file = |name: &str| ObjectId::of(name.repeat(300).as_bytes());
    let directory = |path: &str| {
        let mut at = tree::object::decode_root(&objects.read(&id.object()).unwrap()).unwrap().directory;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entries = tree::object::decode_directory(&objects.read(&at).unwrap()).unwrap();
            at = entries.into_iter().find(|entry| entry.name == name.as_bytes()).unwrap().directory.unwrap();
        }
        at
    };
    let gone = ObjectId::of(b"replaced within the layer");
    let check = |wanted: &[ObjectId], expected: &[ObjectId]| {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(cover(wanted, &id, &objects).unwrap(), expected);
    };
    let all = ["one", "two", "three", "below", "four"].map(file);
    check(&all, &[directory("")]);
    check(&[], &[]);
    check(&[gone], &[gone]);
    check(&[all[0], all[1], gone], &[directory("a"), gone]);
    check(&[all[0]], &[directory("a/b")]);
    check(&[all[1]], &[all[1]]);
    check(&[all[1], all[2], all[4]], &[all[1], all[2], directory("c/d")]);
    assert!(cover(&[], &TreeId(*gone.as_bytes()), &objects).is_err());
}
