//! Images whose layers are unpacked when their files are needed.

use rebit_store::{FsckOptions, GcPolicy};

use super::*;
use crate::{StoredImage, fetch, tag, unpack};

fn source(lab: &Lab) -> LayoutSource {
    LayoutSource::open(&lab.path("l"), Some("t")).unwrap()
}

/// A layout of two layers, in `l`; says that layer 2 has another diff id where it is to `lie`.
fn two_layers(lab: &Lab, lie: bool) -> [Vec<u8>; 2] {
    let tars = [tar(&[("a", b"1"), ("b", b"2")]), tar(&[(".wh.a", b""), ("c", b"3")])];
    let blobs = tars.clone().map(|tar| gzip(&tar));
    let [first, second] = tars.map(|tar| Digest::of(&tar));
    layout(lab, "l", &blobs, &[first, if lie { Digest::of(b"") } else { second }]);
    blobs
}

fn found(lab: &Lab, name: &str) -> StoredImage {
    find(&lab.session, &names(&[name])[0]).unwrap().unwrap()
}

#[test]
fn a_fetched_image_is_its_blobs_until_it_is_unpacked() {
    // I-45, I-46
    let lab = lab();
    two_layers(&lab, false);
    let options = ImportOptions { fetchers: 2, ..options() };
    let image = fetch(&lab.session, &source(&lab), &names(&["x", "y"]), &options).unwrap();
    assert!(!image.is_unpacked());
    assert!(matches!(image.tree(), Err(ImageError::Packed { digest }) if digest == image.digest()));
    assert_eq!(found(&lab, "x"), image);
    let listed = list(lab.session.store()).unwrap();
    assert_eq!(listed.iter().map(|image| image.uncompressed_size).collect::<Vec<_>>(), [None, None]);
    // It goes out as it came.
    let archive = lab.at("oci-archive", "out.tar");
    export(&lab.session, &image, &archive, &[]).unwrap();
    let other = self::lab();
    let imported = import_place(&other.session, &archive, &names(&["x"]), &options).unwrap();
    assert_eq!(imported.digest(), image.digest());

    let unpacked = unpack(&lab.session, image.clone(), &options).unwrap();
    assert_eq!(unpacked.trees().unwrap(), imported.trees().unwrap());
    assert_eq!(paths(&lab, unpacked.trees().unwrap()[1]), ["/b", "/c"]);
    for name in ["x", "y"] {
        assert_eq!(found(&lab, name), unpacked, "{name}");
    }
    assert_eq!(list(lab.session.store()).unwrap()[0].uncompressed_size, Some(2));
    // Again, and from what was found before: nothing more happens.
    assert_eq!(unpack(&lab.session, unpacked.clone(), &options).unwrap(), unpacked);
    assert_eq!(unpack(&lab.session, image, &options).unwrap(), unpacked);
    // An image of layers that are known is unpacked when it is there.
    assert_eq!(fetch(&lab.session, &source(&lab), &names(&["z"]), &options).unwrap(), unpacked);
}

#[test]
fn a_layer_that_is_not_what_the_config_says_is_found_when_it_is_unpacked() {
    // I-46
    let lab = lab();
    two_layers(&lab, true);
    let image = fetch(&lab.session, &source(&lab), &names(&["x"]), &options()).unwrap();
    for _ in 0..2 {
        let error = unpack(&lab.session, image.clone(), &options()).unwrap_err();
        assert!(matches!(error, ImageError::DiffId { number: 2, .. }), "{error}");
        assert_eq!(found(&lab, "x"), image, "the names are as they were");
    }
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_found_at_once() {
    let lab = lab();
    let blobs = two_layers(&lab, false);
    let path = lab.path("l/blobs/sha256").join(Digest::of(&blobs[1]).hex());
    let mut blob = fs::read(&path).unwrap();
    blob[20] ^= 1;
    fs::write(&path, blob).unwrap();
    for fetchers in [0, 3] {
        let options = ImportOptions { fetchers, ..options() };
        let error = fetch(&lab.session, &source(&lab), &names(&["x"]), &options).unwrap_err();
        assert!(matches!(&error, ImageError::CorruptBlob { digest, .. } if *digest == Digest::of(&blobs[1])));
        assert!(list(lab.session.store()).unwrap().is_empty());
    }
}

#[test]
fn a_name_that_moved_meanwhile_stays_where_it_is() {
    let lab = lab();
    two_layers(&lab, false);
    let packed = fetch(&lab.session, &source(&lab), &names(&["x", "y"]), &options()).unwrap();
    let other = lab.image(&[("other", b"")], "other");
    tag(&lab.session, &other, &names(&["y"])[0], options().now).unwrap();
    let unpacked = unpack(&lab.session, packed, &options()).unwrap();
    assert_eq!((found(&lab, "x"), found(&lab, "y")), (unpacked, other));
}

#[test]
fn a_collection_keeps_what_an_image_is_in_either_state() {
    let lab = lab();
    two_layers(&lab, false);
    let image = fetch(&lab.session, &source(&lab), &names(&["x"]), &options()).unwrap();
    let collect = |lab: Lab| {
        let Lab { dir, session } = lab;
        let store = session.store().clone();
        drop(session);
        store.execute_gc(store.prepare_gc(&GcPolicy::default()).unwrap()).unwrap();
        let check = store.fsck(&FsckOptions::default(), &mut |_| {}).unwrap();
        assert!(check.is_clean());
        Lab { session: store.session().unwrap(), dir }
    };
    let lab = collect(lab);
    let unpacked = unpack(&lab.session, image, &options()).unwrap();
    let lab = collect(lab);
    assert_eq!(paths(&lab, found(&lab, "x").tree().unwrap().unwrap()), ["/b", "/c"]);
    assert_eq!(found(&lab, "x"), unpacked);
}
