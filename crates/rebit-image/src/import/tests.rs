use std::fs;

use rebit_layer::TreePath;
use rebit_oci::Raw;
use rebit_oci::config::ImageConfig;
use rebit_oci::manifest::{Compression, MediaType, descriptor, write_manifest};

use super::*;
use crate::testing::{Lab, gzip, lab, names, options, tar};
use crate::transport::{ImageNames, LayoutSink, Sink};
use crate::{export, find, list, untag};

/// Writes a layout of these layer blobs, with these diff ids.
fn layout(lab: &Lab, name: &str, blobs: &[Vec<u8>], diff_ids: &[Digest]) -> Place {
    let mut config = ImageConfig::scratch("amd64", "linux");
    config.rootfs.diff_ids = diff_ids.iter().copied().map(DiffId).collect();
    let config = Raw::write("config", config).unwrap();
    let layer = |blob: &Vec<u8>| {
        descriptor(Compression::Gzip.layer_media_type(), Digest::of(blob), blob.len() as u64)
    };
    let described = descriptor(MediaType::ImageConfig, config.digest(), config.size());
    let manifest = write_manifest(described, blobs.iter().map(layer).collect()).unwrap();
    let mut sink = Box::new(LayoutSink::open(&lab.path(name)).unwrap());
    for bytes in blobs.iter().map(Vec::as_slice).chain([config.bytes(), manifest.bytes()]) {
        sink.put_blob(&Digest::of(bytes), bytes.len() as u64, &mut &*bytes).unwrap();
    }
    let names = ImageNames { tag: Some("t".to_owned()), references: Vec::new() };
    sink.put_image(&ImageDocuments { manifest, config }, &names).unwrap();
    sink.finish().unwrap();
    lab.at("oci", &format!("{name}:t"))
}

fn paths(lab: &Lab, tree: TreeId) -> Vec<String> {
    let tree = Tree::load(&tree, &lab.session).unwrap();
    tree.below(&TreePath::root()).map(|(path, _)| path.to_string()).collect()
}

#[test]
fn layers_are_applied_one_after_another() {
    let lab = lab();
    let tars = [tar(&[("a", b"1"), ("b", b"2")]), tar(&[(".wh.a", b""), ("c", b"3")])];
    let blobs = tars.clone().map(|tar| gzip(&tar));
    let place = layout(&lab, "l", &blobs, &tars.clone().map(|tar| Digest::of(&tar)));
    let image = import_place(&lab.session, &place, &names(&["x:1", "y"]), &options()).unwrap();
    assert_eq!(paths(&lab, image.trees().unwrap()[0]), ["/a", "/b"]);
    assert_eq!(paths(&lab, image.trees().unwrap()[1]), ["/b", "/c"]);
    assert_eq!(
        image.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>(),
        blobs.clone().map(|b| Digest::of(&b))
    );
    // What is known is not read again: not even when it is not there any more.
    for blob in &blobs {
        fs::remove_file(lab.path("l/blobs/sha256").join(Digest::of(blob).hex())).unwrap();
    }
    let again = import_place(&lab.session, &place, &names(&["z"]), &options()).unwrap();
    assert_eq!(again, image);
    // Every name finds it, and so does a short digest.
    for text in [
        "x:1",
        "y",
        "docker.io/library/z:latest",
        &image.digest().hex()[..8],
        &image.config.digest().to_string(),
    ] {
        assert_eq!(crate::find_text(&lab.session, text).unwrap().as_ref(), Some(&image), "{text}");
    }
    let by_digest = format!("x@{}", image.digest()).parse().unwrap();
    assert_eq!(find(&lab.session, &by_digest).unwrap(), Some(image.clone()));
    let wrong = format!("x:1@{}", Digest::of(b"")).parse().unwrap();
    assert_eq!(find(&lab.session, &wrong).unwrap(), None);
    let listed = list(lab.session.store()).unwrap();
    let summary: Vec<_> =
        listed.iter().map(|i| (i.name.as_str(), i.size, i.uncompressed_size, i.files, i.layers)).collect();
    let expected = |name| (name, image.size(), Some(2), Some(2), 2);
    let full = ["docker.io/library/x:1", "docker.io/library/y:latest", "docker.io/library/z:latest"];
    assert_eq!(summary, full.map(expected));
    assert_eq!(untag(lab.session.store(), "y").unwrap(), [full[1]]);
    assert_eq!(untag(lab.session.store(), &image.digest().hex()[..10]).unwrap(), [full[0], full[2]]);
    assert!(matches!(untag(lab.session.store(), "y"), Err(ImageError::NotFound { .. })));
}

#[test]
fn a_session_of_another_process_finds_the_image() {
    let lab = lab();
    let image = lab.image(&[("a", b"1")], "x");
    let other = rebit_store::Store::open(&lab.path("store"), &crate::testing::store_options()).unwrap();
    let found = find(&other.session().unwrap(), &"x".parse().unwrap()).unwrap();
    assert_eq!(found, Some(image));
}

#[test]
fn round_trips_keep_every_digest() {
    // I-2, I-32
    let first = lab();
    let image = first.image(&[("a", b"1"), ("dir/b", b"2")], "x:1");
    for transport in ["oci", "oci-archive", "docker-archive"] {
        let place = first.at(transport, &format!("{transport}.out"));
        export(&first.session, &image, &place, &names(&["x:1"])).unwrap();
        let second = lab();
        let back = import_place(&second.session, &place, &names(&["y"]), &options()).unwrap();
        assert_eq!((&back.manifest, &back.config), (&image.manifest, &image.config), "{transport}");
        let layer = |image: &StoredImage| {
            let [layer] = image.layers.as_slice() else { panic!("{image:?}") };
            (layer.digest, layer.diff_id, layer.size, layer.media_type.clone())
        };
        assert_eq!((layer(&back), &back.trees), (layer(&image), &image.trees), "{transport}");
        // And once more, from there: the archive has the same bytes.
        let again = second.at(transport, "again");
        export(&second.session, &back, &again, &names(&["x:1"])).unwrap();
        if transport != "oci" {
            // I-21
            assert!(fs::read(place.path().unwrap()).unwrap() == fs::read(again.path().unwrap()).unwrap());
        }
    }
}

#[test]
fn damage_is_an_error_that_names_the_layer_and_sets_no_name() {
    // I-43
    let lab = lab();
    let plain = tar(&[("a", &[7; 100_000])]);
    let blob = gzip(&plain);
    let digest = Digest::of(&plain);
    let import = |place: &Place| import_place(&lab.session, place, &names(&["bad"]), &options()).unwrap_err();
    let error = import(&layout(&lab, "diff-id", std::slice::from_ref(&blob), &[Digest::of(b"")]));
    assert!(matches!(error, ImageError::DiffId { number: 1, found, .. } if found == digest), "{error}");
    let error = import(&layout(&lab, "count", std::slice::from_ref(&blob), &[]));
    assert!(matches!(error, ImageError::Inconsistent { .. }), "{error}");
    let error = import(&layout(&lab, "no-tar", &[gzip(&[1; 2048])], &[Digest::of(&[1; 2048])]));
    assert!(matches!(error, ImageError::Layer { number: 1, .. }), "{error}");
    let error = import(&layout(&lab, "no-gzip", &[b"\x1f\x8bxxxxxxxxxxxxxxxxx".to_vec()], &[digest]));
    assert!(matches!(error, ImageError::Layer { number: 1, .. }), "{error}");
    // Another blob than the ones above, which the store has by now.
    let plain = tar(&[("b", &[8; 100_000])]);
    let blob = gzip(&plain);
    let place = layout(&lab, "damaged", std::slice::from_ref(&blob), &[Digest::of(&plain)]);
    let path = lab.path("damaged/blobs/sha256").join(Digest::of(&blob).hex());
    for at in [0, 20, blob.len() - 1] {
        let mut damaged = blob.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        let error = import(&place);
        assert!(
            matches!(error, ImageError::CorruptBlob { digest, .. } if digest == Digest::of(&blob)),
            "{error}"
        );
    }
    fs::write(&path, &blob[1..]).unwrap();
    assert!(matches!(import(&place), ImageError::CorruptBlob { .. }));
    fs::remove_file(&path).unwrap();
    assert!(matches!(import(&place), ImageError::NotFound { .. }));
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(matches!(import(&place), ImageError::CorruptEntry { .. }));
    assert!(list(lab.session.store()).unwrap().is_empty());
    // The store is still of use.
    fs::remove_file(&path).unwrap();
    fs::write(&path, &blob).unwrap();
    import_place(&lab.session, &place, &names(&["good"]), &options()).unwrap();
}

#[test]
fn a_bomb_is_stopped() {
    let lab = lab();
    let plain = tar(&[("zero", &vec![0; 4 << 20])]);
    let place = layout(&lab, "bomb", &[gzip(&plain)], &[Digest::of(&plain)]);
    let mut limited = options();
    limited.decode = DecodeLimits { ratio: 10, ratio_from: 1 << 20, ..DecodeLimits::default() };
    let error = import_place(&lab.session, &place, &[], &limited).unwrap_err();
    assert!(matches!(error, ImageError::Layer { number: 1, .. }), "{error}");
    limited.decode = DecodeLimits { output: 1 << 20, ..DecodeLimits::default() };
    assert!(import_place(&lab.session, &place, &[], &limited).is_err());
    assert!(import_place(&lab.session, &place, &[], &options()).is_ok());
}

#[test]
fn names_and_platforms_choose() {
    let lab = lab();
    let platform = |text: &str| ImportOptions::new(text.parse().unwrap(), crate::testing::NOW);
    let a = layout(&lab, "two", &[], &[]);
    let image = import_place(&lab.session, &a, &[], &options()).unwrap();
    assert_eq!(image.tree().unwrap(), None);
    let error = import_place(&lab.session, &a, &[], &platform("linux/arm64")).unwrap_err();
    assert!(
        matches!(&error, ImageError::NoPlatform { available, .. } if available == &["linux/amd64"]),
        "{error}"
    );
    let any = ImportOptions { any_platform: true, ..platform("linux/arm64") };
    assert_eq!(import_place(&lab.session, &a, &[], &any).unwrap(), image);
    let other = lab.image(&[("a", b"")], "x");
    export(&lab.session, &other, &lab.at("oci", "two:u"), &[]).unwrap();
    let error = import_place(&lab.session, &lab.at("oci", "two"), &[], &options()).unwrap_err();
    assert!(
        matches!(&error, ImageError::Ambiguous { candidates, .. } if candidates == &["t", "u"]),
        "{error}"
    );
    assert_eq!(import_place(&lab.session, &lab.at("oci", "two:u"), &[], &options()).unwrap(), other);
    let missing = import_place(&lab.session, &lab.at("oci", "two:v"), &[], &options());
    assert!(matches!(missing, Err(ImageError::NotFound { .. })));
    let missing = import_place(&lab.session, &lab.at("oci", "nowhere"), &[], &options());
    assert!(matches!(missing, Err(ImageError::NotFound { .. })));
}

#[test]
fn an_index_gives_the_manifest_of_the_platform() {
    let lab = lab();
    let image = lab.image(&[("a", b"")], "x");
    let place = lab.at("oci", "layout:t");
    export(&lab.session, &image, &place, &[]).unwrap();
    let digest = image.digest();
    let size = image.manifest.size();
    let child = |platform: &str, digest: Digest| {
        let (os, architecture) = platform.split_once('/').unwrap();
        format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":{size},"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
            rebit_oci::manifest::OCI_MANIFEST
        )
    };
    // The other platform's manifest is not in the layout, and need not be.
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#,
        child("linux/s390x", Digest::of(b"")),
        child("linux/amd64", digest)
    );
    let index_digest = Digest::of(index.as_bytes());
    fs::write(lab.path("layout/blobs/sha256").join(index_digest.hex()), &index).unwrap();
    let top = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{index_digest}","size":{}}}]}}"#,
        rebit_oci::manifest::OCI_INDEX,
        index.len()
    );
    fs::write(lab.path("layout/index.json"), top).unwrap();
    let place = lab.at("oci", "layout");
    assert_eq!(import_place(&lab.session, &place, &[], &options()).unwrap(), image);
    let arm = ImportOptions::new("linux/arm64".parse().unwrap(), crate::testing::NOW);
    let error = import_place(&lab.session, &place, &[], &arm).unwrap_err();
    let ImageError::NoPlatform { available, .. } = &error else { panic!("{error}") };
    assert_eq!(available, &["linux/s390x", "linux/amd64"]);
}

/// A Docker archive in its older form.
fn saved(lab: &Lab, manifest: &str, files: &[(&str, &[u8])]) -> Place {
    let mut all = vec![("manifest.json", manifest.as_bytes())];
    all.extend_from_slice(files);
    fs::write(lab.path("saved.tar"), tar(&all)).unwrap();
    lab.at("docker-archive", "saved.tar")
}

#[test]
fn an_older_docker_archive_gets_a_manifest() {
    // I-3, I-31
    let lab = lab();
    let layer = tar(&[("a", b"1")]);
    let mut config = ImageConfig::scratch("amd64", "linux");
    config.rootfs.diff_ids = vec![DiffId(Digest::of(&layer)); 2];
    let config = Raw::write("config", config).unwrap();
    let json = format!("{}.json", config.digest().hex());
    let text =
        format!(r#"[{{"Config":"{json}","RepoTags":["debian:12"],"Layers":["x/layer.tar","y.tar.gz"]}}]"#);
    let zipped = gzip(&layer);
    let place = saved(
        &lab,
        &text,
        &[(&json, config.bytes()), ("x/layer.tar", &layer), ("y.tar.gz", &zipped), ("VERSION", b"1.0")],
    );
    let image = import_place(&lab.session, &place, &names(&["d"]), &options()).unwrap();
    assert_eq!(image.config, config);
    let found: Vec<_> = image.layers.iter().map(|layer| (layer.digest, layer.media_type.clone())).collect();
    let expected =
        [(Digest::of(&layer), MediaType::ImageLayer), (Digest::of(&zipped), MediaType::ImageLayerGzip)];
    assert_eq!(found, expected);
    let named = format!("{place}:debian:12").parse().unwrap();
    assert_eq!(import_place(&lab.session, &named, &[], &options()).unwrap(), image);
    let other = format!("{place}:debian:13").parse().unwrap();
    assert!(matches!(import_place(&lab.session, &other, &[], &options()), Err(ImageError::NotFound { .. })));
    let report = crate::verify(None, &place, Some(image.digest())).unwrap();
    assert_eq!((report.images.len(), report.unchecked), (1, vec!["VERSION".to_owned()]));
}

#[test]
fn hostile_docker_archives_are_harmless() {
    let lab = lab();
    let check = |manifest: &str, files: &[(&str, &[u8])]| {
        let place = saved(&lab, manifest, files);
        let error = import_place(&lab.session, &place, &[], &options()).unwrap_err();
        let _ = crate::verify(None, &place, None);
        error
    };
    let secret: &[u8] = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    fs::write(lab.path("secret"), secret).unwrap();
    for name in ["../secret", &lab.path("secret").display().to_string()] {
        let text = format!(r#"[{{"Config":"{name}","Layers":[]}}]"#);
        assert!(matches!(check(&text, &[]), ImageError::NotFound { .. }), "{name}");
    }
    assert!(matches!(check("[", &[]), ImageError::CorruptEntry { .. }));
    assert!(matches!(check("[]", &[]), ImageError::NotFound { .. }));
    assert!(matches!(
        check(r#"[{"Config":"c","Layers":["l"]}]"#, &[("c", secret)]),
        ImageError::NotFound { .. }
    ));
    assert!(matches!(check(r#"[{"Config":"c","Layers":[]}]"#, &[("c", b"{}")]), ImageError::Document { .. }));
    let layers = vec!["\"l\""; MAX_LAYERS + 1].join(",");
    let text = format!(r#"[{{"Config":"c","Layers":[{layers}]}}]"#);
    assert!(matches!(check(&text, &[("c", secret), ("l", b"")]), ImageError::Limit { .. }));
    assert!(matches!(check("[]", &[("manifest.json", b"[]")]), ImageError::CorruptEntry { .. }));
    // A name that leads out is a name like any other, and creates nothing.
    let text = r#"[{"Config":"../../c","Layers":[]}]"#;
    let place = saved(&lab, text, &[("../../c", secret)]);
    import_place(&lab.session, &place, &[], &options()).unwrap();
    assert!(!lab.path("../../c").exists());
    fs::write(lab.path("saved.tar"), gzip(b"x")).unwrap();
    assert!(matches!(
        import_place(&lab.session, &place, &[], &options()),
        Err(ImageError::Unsupported { .. })
    ));
}

/// A layout of which one blob is not read before another one was asked for, and one may be missing.
struct Side {
    inner: LayoutSource,
    waits: Digest,
    missing: Option<Digest>,
    opened: std::sync::Mutex<Vec<Digest>>,
    asked: std::sync::Condvar,
}

impl Source for Side {
    fn place(&self) -> String {
        "side".to_owned()
    }

    fn offers(&self) -> Result<Vec<transport::Offer>, ImageError> {
        self.inner.offers()
    }

    fn stat(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        self.inner.stat(digest)
    }

    fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let mut opened = self.opened.lock().unwrap();
        opened.push(*digest);
        self.asked.notify_all();
        if *digest == self.waits {
            // Manifest and config were opened before; the blob comes when another one was opened, too.
            let _opened = self.asked.wait_while(opened, |opened| opened.len() < 4).unwrap();
        }
        if self.missing == Some(*digest) {
            return Err(ImageError::NotFound { what: format!("blob {digest}"), place: self.place() });
        }
        self.inner.open(digest, size)
    }
}

#[test]
fn blobs_are_fetched_side_by_side_and_each_once() {
    let lab = lab();
    let tars: Vec<Vec<u8>> = (0..6).map(|n| tar(&[(&format!("f{n}"), &[n; 3000])])).collect();
    // The same one twice.
    let tars: Vec<Vec<u8>> = tars.iter().chain(tars.get(2)).cloned().collect();
    let blobs: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
    let ids: Vec<Digest> = tars.iter().map(|tar| Digest::of(tar)).collect();
    layout(&lab, "l", &blobs, &ids);
    let side = |missing: Option<usize>| Side {
        inner: LayoutSource::open(&lab.path("l"), Some("t")).unwrap(),
        waits: Digest::of(&blobs[0]),
        missing: missing.map(|number| Digest::of(&blobs[number])),
        opened: std::sync::Mutex::default(),
        asked: std::sync::Condvar::new(),
    };
    let options = ImportOptions { fetchers: 2, ..options() };
    let error = import(&lab.session, &side(Some(3)), &names(&["x"]), &options).unwrap_err();
    assert!(
        matches!(&error, ImageError::NotFound { what, .. } if what.contains(&Digest::of(&blobs[3]).hex()))
    );
    assert!(list(lab.session.store()).unwrap().is_empty());

    let other = self::lab();
    let source = side(None);
    let image = import(&other.session, &source, &names(&["x"]), &options).unwrap();
    assert_eq!(image.layers.len(), 7);
    assert_eq!(paths(&other, image.tree().unwrap().unwrap()).len(), 6);
    let mut opened = source.opened.into_inner().unwrap();
    opened.sort();
    let mut expected: Vec<Digest> = blobs[..6].iter().map(|blob| Digest::of(blob)).collect();
    expected.extend([image.manifest.digest(), image.config.digest()]);
    expected.sort();
    assert_eq!(opened, expected);
}

mod packed;

#[test]
fn the_image_of_an_index_is_found_by_the_index_and_platform() {
    use crate::{find_for, holders, remember_choice};
    let lab = lab();
    let image = lab.image(&[("a", b"1")], "r.example/x:1");
    lab.image(&[("a", b"1")], "r.example/other:1");
    let index = Digest::of(b"index");
    let (here, there) = (crate::testing::amd64(), Platform::new("linux", "arm64"));
    remember_choice(&lab.session, &index, &here, &image, options().now).unwrap();
    let found = |name: &str, platform: &Platform| {
        let name = format!("{name}@{index}").parse().unwrap();
        find_for(&lab.session, &name, platform, options().now).unwrap().map(|image| image.digest())
    };
    assert_eq!(found("r.example/x", &here), Some(image.digest()));
    assert_eq!(found("r.example/x", &there), None);
    assert_eq!(found("r.example/y", &here), None);
    let layer = image.layers[0].digest;
    let held = holders(lab.session.store(), &[layer, index].into()).unwrap();
    let names: Vec<String> = held[&layer].iter().map(|name| name.familiar()).collect();
    assert_eq!((held.len(), names), (1, vec!["r.example/other:1".to_owned(), "r.example/x:1".to_owned()]));
}
