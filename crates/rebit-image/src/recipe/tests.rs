use std::time::Duration;

use rebit_oci::manifest::{MediaType, descriptor, write_manifest};
use rebit_oci::{DiffId, Raw};
use rebit_store::{GcPolicy, Store};

use super::*;
use crate::testing::{Lab, NOW, amd64, gzip, lab, names, options, store_options, tar};
use crate::transport::{ImageDocuments, ImageNames, LayoutSink, LayoutSource, Sink};
use crate::{find, import};

/// Puts an image of these layers, each a tar and its blob, into a layout and imports it.
fn imported(lab: &Lab, name: &str, layers: &[(&[u8], &[u8], MediaType)]) -> StoredImage {
    let mut config = rebit_oci::config::ImageConfig::scratch("amd64", "linux");
    let mut sink = LayoutSink::open(&lab.path(name)).unwrap();
    let mut described = Vec::new();
    for (tar, blob, media_type) in layers {
        config.rootfs.diff_ids.push(DiffId(Digest::of(tar)));
        sink.put_blob(&Digest::of(blob), blob.len() as u64, &mut &blob[..]).unwrap();
        described.push(descriptor(media_type.clone(), Digest::of(blob), blob.len() as u64));
    }
    let config = Raw::write("config", config).unwrap();
    sink.put_blob(&config.digest(), config.size(), &mut config.bytes()).unwrap();
    let about = descriptor(MediaType::ImageConfig, config.digest(), config.size());
    let manifest = write_manifest(about, described).unwrap();
    sink.put_blob(&manifest.digest(), manifest.size(), &mut manifest.bytes()).unwrap();
    sink.put_image(&ImageDocuments { manifest, config }, &ImageNames::default()).unwrap();
    Box::new(sink).finish().unwrap();
    let source = LayoutSource::open(&lab.path(name), None).unwrap();
    import(&lab.session, &source, &names(&[name]), &options()).unwrap()
}

/// Files that compress, so that a blob is worth replacing.
fn archive(seed: u8) -> Vec<u8> {
    let text: Vec<u8> = (0..60_000_u32).flat_map(|n| format!("{} {n}\n", n % 977).into_bytes()).collect();
    tar(&[("a", &text), ("b", &[seed; 5000]), ("c", b"tiny")])
}

/// A gzip member of stored blocks: no encoder makes these of what compresses.
fn foreign(tar: &[u8]) -> Vec<u8> {
    let mut crc = !0_u32;
    for byte in tar {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    let mut member = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    let blocks = tar.chunks(60_000);
    let last = blocks.len() - 1;
    for (number, block) in blocks.enumerate() {
        let length = block.len() as u16;
        member.push(u8::from(number == last));
        member.extend_from_slice(&length.to_le_bytes());
        member.extend_from_slice(&(!length).to_le_bytes());
        member.extend_from_slice(block);
    }
    member.extend_from_slice(&(!crc).to_le_bytes());
    member.extend_from_slice(&(tar.len() as u32).to_le_bytes());
    member
}

fn form(lab: &Lab, image: &StoredImage, layer: usize) -> LayerForm {
    layer_form(&lab.session, &image.layers[layer]).unwrap()
}

fn blob(lab: &Lab, image: &StoredImage, layer: usize) -> Vec<u8> {
    lab.session.read_blob(&image.layers[layer].digest, 1 << 30).unwrap()
}

/// Collects everything that no image needs; the session is another one then.
fn collect(lab: Lab) -> Lab {
    let Lab { dir, session } = lab;
    let store = session.store().clone();
    drop(session);
    let policy =
        GcPolicy { keep_records_newer: NOW.checked_add(Duration::from_secs(1000)), ..GcPolicy::default() };
    store.execute_gc(store.prepare_gc(&policy).unwrap()).unwrap();
    let store = Store::open(&dir.path().join("store"), &store_options()).unwrap();
    Lab { session: store.session().unwrap(), dir }
}

#[test]
fn a_blob_is_replaced_only_by_a_recipe_that_gave_it() {
    //
    let lab = lab();
    let tars = [archive(1), archive(2), archive(3)];
    let blobs = [gzip(&tars[0]), foreign(&tars[1]), tars[2].clone()];
    let types = [MediaType::ImageLayerGzip, MediaType::ImageLayerGzip, MediaType::ImageLayer];
    let layers: Vec<(&[u8], &[u8], MediaType)> =
        (0..3).map(|n| (&tars[n][..], &blobs[n][..], types[n].clone())).collect();
    let image = imported(&lab, "x", &layers);
    assert!((0..3).all(|n| form(&lab, &image, n).blob));
    let done = compact(&lab.session, None).unwrap();
    assert_eq!((done.recipes, done.kept), (2, 1));
    assert_eq!(compact(&lab.session, None).unwrap(), Compacted { kept: 1, ..Compacted::default() });

    let lab = collect(lab);
    let again = find(&lab.session, &names(&["x"])[0]).unwrap().unwrap();
    assert_eq!((again.digest(), again.layers.len()), (image.digest(), 3));
    for (number, expected) in blobs.iter().enumerate() {
        assert!(blob(&lab, &again, number) == *expected, "layer {number}");
    }
    let forms: Vec<LayerForm> = (0..3).map(|number| form(&lab, &again, number)).collect();
    assert_eq!(forms[0].recipe, ["libdeflate-1.26.1 3"]);
    assert_eq!((forms[0].blob, forms[1].blob, forms[2].blob), (false, true, false));
    assert!(forms[0].bytes < blobs[0].len() as u64 / 2, "{forms:?}");
    assert_eq!(forms[1], LayerForm { blob: true, recipe: vec![], bytes: blobs[1].len() as u64 });
    assert!(lab.session.store().fsck(&rebit_store::FsckOptions::default(), &mut |_| {}).unwrap().is_clean());
}

#[test]
fn the_index_made_anew_knows_recipes() {
    //
    let lab = lab();
    let tar = archive(1);
    let image = imported(&lab, "x", &[(&tar, &gzip(&tar), MediaType::ImageLayerGzip)]);
    compact(&lab.session, None).unwrap();
    let lab = collect(lab);
    let Lab { dir, session } = lab;
    drop(session);
    let (store, report) = Store::rebuild(&dir.path().join("store"), &store_options()).unwrap();
    assert_eq!(report.dangling_refs, Vec::<String>::new());
    let lab = Lab { session: store.session().unwrap(), dir };
    assert!(blob(&lab, &image, 0) == gzip(&tar));
    // The program that does not know recipes, and one that is not given the means.
    let options = rebit_store::StoreOptions::default();
    let session = Store::open(&lab.path("store"), &options).unwrap().session().unwrap();
    let read = session.read_blob(&image.layers[0].digest, 1 << 30);
    assert!(matches!(read, Err(StoreError::Recipe { .. })), "{read:?}");
    let text = std::fs::read_to_string(lab.path("store/store.toml")).unwrap();
    assert!(text.contains("incompatible = [\"recipes\"]"), "{text}");
}

#[test]
fn a_damaged_recipe_is_found() {
    //
    let lab = lab();
    let tar = archive(1);
    let image = imported(&lab, "x", &[(&tar, &gzip(&tar), MediaType::ImageLayerGzip)]);
    let other = imported(&lab, "y", &[(&archive(9), &archive(9), MediaType::ImageLayer)]);
    compact(&lab.session, None).unwrap();
    // A recipe of another blob under this one's digest: what it gives is not what was promised.
    let wrong = lab.session.recipe_of(&other.layers[0].digest).unwrap().unwrap();
    let digest = Digest::of(b"something else");
    lab.session.put_recipe(&digest, archive(9).len() as u64, &wrong).unwrap();
    lab.session.commit().unwrap();
    assert!(lab.session.read_blob(&digest, 1 << 30).is_err());
    assert!(blob(&lab, &image, 0) == gzip(&tar));
    let report = lab.session.store().fsck(&rebit_store::FsckOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].blobs.contains(&digest));
    assert!(!report.findings[0].blobs.contains(&image.layers[0].digest));
}

#[test]
fn what_is_used_stays_at_hand() {
    // S-28
    let lab = lab();
    let tar = archive(1);
    let image = imported(&lab, "x", &[(&tar, &gzip(&tar), MediaType::ImageLayerGzip)]);
    let at = |seconds| NOW.checked_add(Duration::from_secs(seconds)).unwrap();
    // Imported at 0, exported at 500.
    assert_eq!(compact(&lab.session, Some(NOW)).unwrap(), Compacted::default());
    keep_at_hand(&lab.session, &image, at(500)).unwrap();
    assert_eq!(compact(&lab.session, Some(at(400))).unwrap(), Compacted::default());
    assert_eq!(compact(&lab.session, Some(at(600))).unwrap().recipes, 1);
    assert!(form(&lab, &image, 0).blob, "until a collection");
    let lab = collect(lab);
    assert!(!form(&lab, &image, 0).blob);
    // libdeflate is quick: nothing is kept for it.
    keep_at_hand(&lab.session, &image, at(700)).unwrap();
    assert!(!form(&lab, &image, 0).blob);
    assert_eq!(image.platform(), amd64());
}
