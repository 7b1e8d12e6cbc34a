use std::fs;

use super::*;
use crate::testing::{Lab, lab, names};
use crate::{export, import_place};

fn findings(result: Result<VerifyReport, VerifyError>) -> Vec<Finding> {
    match result {
        Err(VerifyError::Findings { findings, .. }) => findings,
        other => panic!("expected findings, got {other:?}"),
    }
}

fn archive(lab: &Lab, transport: &str) -> (Place, Digest) {
    let image = lab.image(&[("a", b"content"), ("b", b"")], "tiny:1");
    let place = lab.at(transport, "a.tar");
    export(&lab.session, &image, &place, &names(&["tiny:1", "other:1"])).unwrap();
    (place, image.digest())
}

#[test]
fn what_was_exported_holds() {
    let lab = lab();
    let image = lab.image(&[("a", b"content")], "tiny:1");
    for place in ["oci", "oci-archive", "docker-archive"].map(|transport| lab.at(transport, transport)) {
        export(&lab.session, &image, &place, &names(&["tiny:1"])).unwrap();
        let report = verify(None, &place, Some(image.digest())).unwrap();
        assert_eq!((report.images.len(), report.blobs), (1, 3), "{place}");
        assert_eq!((report.orphans.len(), report.unchecked.len()), (0, 0), "{place}");
        let found = &report.images[0];
        assert_eq!((found.digest, found.config_digest), (image.digest(), image.config.digest()));
        assert_eq!(found.layers, [(image.layers[0].digest, image.layers[0].diff_id)]);
        let other = Digest::of(b"other");
        let error = verify(None, &place, Some(other)).unwrap_err();
        assert!(matches!(error, VerifyError::NotExpected { expected, .. } if expected == other));
    }
    let report = verify(Some(&lab.session), &"store:tiny:1".parse().unwrap(), Some(image.digest())).unwrap();
    assert_eq!(report.images.len(), 1);
}

#[test]
fn what_is_not_there_is_no_damage() {
    let lab = lab();
    fs::create_dir(lab.path("empty")).unwrap();
    fs::write(lab.path("text"), b"text").unwrap();
    let missing = |place: Place| {
        let error = verify(Some(&lab.session), &place, None).unwrap_err();
        assert!(matches!(&error, VerifyError::Image { source: ImageError::NotFound { .. } }), "{error:?}");
    };
    missing("store:no".parse().unwrap());
    missing(lab.at("oci", "no"));
    missing(lab.at("oci", "empty"));
    missing(lab.at("oci-archive", "no"));
    missing(lab.at("docker-archive", "no"));
    assert!(!findings(verify(None, &lab.at("oci-archive", "text"), None)).is_empty());
    fs::write(lab.path("tar"), crate::testing::tar(&[("a", b"")])).unwrap();
    missing(lab.at("oci-archive", "tar"));
    missing(lab.at("docker-archive", "tar"));
}

/// Changes every byte of an archive by each of `masks`, one at a time.
fn check_every_byte(transport: &str, masks: &[u8]) {
    use std::os::unix::fs::FileExt;
    let lab = lab();
    let (place, digest) = archive(&lab, transport);
    let path = place.path().unwrap();
    let whole = fs::read(path).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    for (at, byte) in whole.iter().enumerate() {
        for mask in masks {
            file.write_all_at(&[byte ^ mask], at as u64).unwrap();
            match verify(None, &place, None) {
                Err(VerifyError::Findings { findings, .. }) => {
                    let named = findings.iter().all(|f| f.blob.is_some() || f.entry.is_some());
                    assert!(named, "byte {at} xor {mask:#x}: {findings:?}");
                }
                other => panic!("byte {at} xor {mask:#x}: {other:?}"),
            }
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    assert!(verify(None, &place, Some(digest)).is_ok());
}

#[test]
fn no_byte_of_an_oci_archive_changes_unnoticed() {
    // I-51
    check_every_byte("oci-archive", &[0x01, 0x80]);
}

#[test]
fn no_byte_of_a_docker_archive_changes_unnoticed() {
    // I-51
    check_every_byte("docker-archive", &[0x02, 0x10]);
}

#[test]
fn no_end_of_an_archive_is_missing_unnoticed() {
    // I-51
    for transport in ["oci-archive", "docker-archive"] {
        let lab = lab();
        let (place, _) = archive(&lab, transport);
        let whole = fs::read(place.path().unwrap()).unwrap();
        for length in (0..whole.len()).step_by(128).chain([whole.len() - 1]) {
            fs::write(place.path().unwrap(), &whole[..length]).unwrap();
            assert!(verify(None, &place, None).is_err(), "{length}");
        }
    }
}

#[test]
fn all_damage_is_reported() {
    // I-50
    let lab = lab();
    let image = lab.image(&[("a", b"content")], "tiny:1");
    let place = lab.at("oci", "layout:t");
    export(&lab.session, &image, &place, &[]).unwrap();
    let blob = |digest: &Digest| lab.path("layout/blobs/sha256").join(digest.hex());
    let layer = image.layers[0].digest;
    let mut bytes = fs::read(blob(&layer)).unwrap();
    bytes[10] ^= 1;
    fs::write(blob(&layer), bytes).unwrap();
    fs::remove_file(blob(&image.config.digest())).unwrap();
    crate::testing::write(&blob(&Digest::of(b"x")), b"y");
    crate::testing::write(&blob(&Digest::of(b"orphan")), b"orphan");
    let found = findings(verify(None, &place, None));
    let blobs: Vec<_> = found.iter().filter_map(|finding| finding.blob).collect();
    for damaged in [layer, image.config.digest(), Digest::of(b"x")] {
        assert!(blobs.contains(&damaged), "{damaged}: {found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn orphans_and_foreign_files_are_no_damage() {
    // I-54
    let lab = lab();
    let image = lab.image(&[("a", b"content")], "tiny:1");
    let place = lab.at("oci", "layout:t");
    export(&lab.session, &image, &place, &[]).unwrap();
    let orphan = Digest::of(b"orphan");
    crate::testing::write(&lab.path("layout/blobs/sha256").join(orphan.hex()), b"orphan");
    crate::testing::write(&lab.path("layout/note.txt"), b"");
    let report = verify(None, &place, None).unwrap();
    assert_eq!((report.orphans, report.unchecked), (vec![orphan], vec!["note.txt".to_owned()]));
    // An image under another tag is not an orphan.
    let other = lab.image(&[("b", b"")], "tiny:2");
    export(&lab.session, &other, &lab.at("oci", "layout:u"), &[]).unwrap();
    let report = verify(None, &place, Some(image.digest())).unwrap();
    assert_eq!((report.orphans, report.images.len()), (vec![orphan], 1));
    assert!(verify(None, &place, Some(other.digest())).is_err());
    assert!(matches!(
        verify(None, &lab.at("oci", "layout:v"), None),
        Err(VerifyError::Image { source: ImageError::NotFound { .. } })
    ));
}

#[test]
fn contradictions_are_found() {
    // I-50
    use rebit_oci::Raw;
    use rebit_oci::config::{History, ImageConfig};
    use rebit_oci::manifest::{Compression, MediaType, descriptor, write_manifest};

    use crate::testing::{gzip, tar};
    use crate::transport::{ImageDocuments, ImageNames, LayoutSink, Sink};

    let lab = lab();
    let plain = tar(&[("a", b"content")]);
    let blob = gzip(&plain);
    let check = |name: &str, change: &dyn Fn(&mut ImageConfig, &mut Compression), expected: &str| {
        let mut config = ImageConfig::scratch("amd64", "linux");
        config.rootfs.diff_ids = vec![DiffId(Digest::of(&plain))];
        let mut compression = Compression::Gzip;
        change(&mut config, &mut compression);
        let config = Raw::write("config", config).unwrap();
        let layer = descriptor(compression.layer_media_type(), Digest::of(&blob), blob.len() as u64);
        let described = descriptor(MediaType::ImageConfig, config.digest(), config.size());
        let manifest = write_manifest(described, vec![layer]).unwrap();
        let mut sink = Box::new(LayoutSink::open(&lab.path(name)).unwrap());
        for bytes in [config.bytes(), manifest.bytes(), &blob] {
            sink.put_blob(&Digest::of(bytes), bytes.len() as u64, &mut &*bytes).unwrap();
        }
        sink.put_image(&ImageDocuments { manifest, config }, &ImageNames::default()).unwrap();
        sink.finish().unwrap();
        let place = lab.at("oci", name);
        if expected.is_empty() {
            verify(None, &place, None).unwrap();
            import_place(&lab.session, &place, &[], &crate::testing::options()).unwrap();
        } else {
            let found = findings(verify(None, &place, None));
            assert!(found.iter().any(|finding| finding.problem.contains(expected)), "{name}: {found:?}");
        }
    };
    check("whole", &|_, _| {}, "");
    check("diff-id", &|config, _| config.rootfs.diff_ids[0] = DiffId(Digest::of(b"")), "diff id is");
    check("count", &|config, _| config.rootfs.diff_ids.push(DiffId(Digest::of(b""))), "2 diff ids");
    check("history", &|config, _| config.history = vec![History::default(); 2], "2 lines of its history");
    check("media-type", &|_, compression| *compression = Compression::Zstd, "media type says zstd");
    check("platform", &|config, _| config.os.clear(), "what the image runs on");
    check("kind", &|config, _| config.rootfs.kind = "other".to_owned(), "of type `other`");
}

#[test]
fn findings_are_limited() {
    // I-55
    let lab = lab();
    let place = lab.at("oci", "layout:t");
    export(&lab.session, &lab.image(&[("a", b"")], "a"), &place, &[]).unwrap();
    for number in 0..MAX_FINDINGS as u32 + 5 {
        let digest = Digest::of(&number.to_le_bytes());
        crate::testing::write(&lab.path("layout/blobs/sha256").join(digest.hex()), b"");
    }
    match verify(None, &place, None) {
        Err(error @ VerifyError::Findings { .. }) => {
            assert!(error.to_string().starts_with("more than 100 checks of `oci:"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_layer_of_zeros_holds() {
    let lab = lab();
    let mut options = crate::RootfsOptions::new(crate::testing::amd64(), 0, crate::testing::NOW);
    options.compression = rebit_oci::manifest::Compression::Zstd;
    let archive = crate::testing::tar(&[("zero", &vec![0; 64 << 20])]);
    let image = crate::import_rootfs(&lab.session, &mut archive.as_slice(), &[], &options).unwrap();
    let place = lab.at("oci-archive", "zero");
    export(&lab.session, &image, &place, &[]).unwrap();
    verify(None, &place, Some(image.digest())).unwrap();
    import_place(&crate::testing::lab().session, &place, &[], &crate::testing::options()).unwrap();
}

#[test]
fn damage_in_the_store_is_found() {
    let lab = lab();
    let content: Vec<u8> =
        (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let image = lab.image(&[("a", &content)], "tiny:1");
    let layer = lab.session.read_blob(&image.layers[0].digest, 1 << 30).unwrap();
    let part = &layer[layer.len() / 2..][..64];
    let Lab { dir, session } = lab;
    drop(session);
    // What does not compress is kept as it is, so that it can be found.
    let mut damaged = 0;
    for pack in fs::read_dir(dir.path().join("store/packs")).unwrap() {
        let path = pack.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let found: Vec<usize> = bytes
            .windows(part.len())
            .enumerate()
            .filter(|(_, window)| *window == part)
            .map(|(at, _)| at)
            .collect();
        for at in found {
            bytes[at] ^= 1;
            damaged += 1;
        }
        fs::write(&path, bytes).unwrap();
    }
    // The file's own content and the stored block of the layer.
    assert_eq!(damaged, 2);
    let store =
        rebit_store::Store::open(&dir.path().join("store"), &crate::testing::store_options()).unwrap();
    let session = store.session().unwrap();
    let found = findings(verify(Some(&session), &"store:tiny:1".parse().unwrap(), None));
    assert!(found.iter().any(|finding| finding.blob == Some(image.layers[0].digest)), "{found:?}");
}
