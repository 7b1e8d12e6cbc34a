use std::fs;

use rebit_oci::manifest::Compression;

use super::*;
use crate::testing::{NOW, amd64, lab, names, options, tar, tool};
use crate::{RootfsOptions, find, import_place, import_rootfs, verify};

fn leftovers(directory: &std::path::Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "store").collect();
    names.sort();
    names
}

#[test]
fn an_archive_has_its_entries_in_order() {
    // I-20, I-21
    let lab = lab();
    let image = lab.image(&[("a", b"1")], "x");
    for (transport, more) in [("oci-archive", 0), ("docker-archive", 1)] {
        let place = lab.at(transport, "out");
        export(&lab.session, &image, &place, &names(&["x"])).unwrap();
        let bytes = fs::read(place.path().unwrap()).unwrap();
        let mut archive = ::tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string());
        let entries: Vec<_> = entries.collect();
        let mut sorted = entries.clone();
        sorted.sort();
        assert_eq!((entries.len(), &entries), (7 + more, &sorted));
        let mut streamed = Vec::new();
        let form = if more == 0 { ArchiveForm::Oci } else { ArchiveForm::Docker };
        let named = ImageNames { tag: None, references: names(&["x"]) };
        export_to_writer(&lab.session, &image, &mut streamed, form, &named).unwrap();
        assert!(streamed == bytes);
    }
}

#[test]
fn what_is_written_beside_the_blobs_has_one_text() {
    // I-10, I-11, I-12, I-25
    let lab = lab();
    let image = lab.image(&[("a", b"1")], "x");
    let place = lab.at("docker-archive", "out");
    export(&lab.session, &image, &place, &names(&["x:1"])).unwrap();
    let mut texts = std::collections::BTreeMap::new();
    let mut archive = ::tar::Archive::new(fs::File::open(place.path().unwrap()).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        if !name.starts_with("blobs/") {
            texts.insert(name, std::io::read_to_string(&mut entry).unwrap());
        }
    }
    let (digest, size) = (image.digest(), image.manifest.size());
    let manifests = format!(
        r#""manifests":[{{"annotations":{{"io.containerd.image.name":"docker.io/library/x:1","org.opencontainers.image.ref.name":"1"}},"digest":"{digest}","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{{"architecture":"amd64","os":"linux"}},"size":{size}}}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#
    );
    let seal = Digest::of(format!("{{{manifests}").as_bytes());
    let config = image.config.digest().hex();
    let layer = image.layers[0].digest.hex();
    let expected = [
        ("index.json", format!(r#"{{"annotations":{{"dev.rebit.index.digest":"{seal}"}},{manifests}"#)),
        (
            "manifest.json",
            format!(
                r#"[{{"Config":"blobs/sha256/{config}","Layers":["blobs/sha256/{layer}"],"RepoTags":["docker.io/library/x:1"]}}]"#
            ),
        ),
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned()),
    ];
    assert_eq!(texts, expected.map(|(name, text)| (name.to_owned(), text)).into());
}

#[test]
fn a_layout_keeps_its_other_images() {
    // I-16
    let lab = lab();
    let (first, second) = (lab.image(&[("a", b"1")], "x"), lab.image(&[("a", b"2")], "y"));
    export(&lab.session, &first, &lab.at("oci", "l:one"), &[]).unwrap();
    export(&lab.session, &second, &lab.at("oci", "l:two"), &[]).unwrap();
    for (tag, image) in [("one", &first), ("two", &second)] {
        let place = lab.at("oci", &format!("l:{tag}"));
        assert_eq!(import_place(&lab.session, &place, &[], &options()).unwrap().digest(), image.digest());
    }
    let report = verify(None, &lab.at("oci", "l"), None).unwrap();
    assert_eq!((report.images.len(), report.orphans.len()), (2, 0));
    // I-17: what a writer that was killed left behind goes.
    fs::write(lab.path("l/.rebit-1-0.tmp"), b"half").unwrap();
    export(&lab.session, &second, &lab.at("oci", "l:two"), &[]).unwrap();
    assert_eq!(leftovers(&lab.path("l")), ["blobs", "index.json", "oci-layout"]);
    // A damaged blob is written anew.
    let blob = lab.path("l/blobs/sha256").join(first.layers[0].digest.hex());
    let whole = fs::read(&blob).unwrap();
    fs::write(&blob, vec![0; whole.len()]).unwrap();
    export(&lab.session, &first, &lab.at("oci", "l:one"), &[]).unwrap();
    assert!(fs::read(&blob).unwrap() == whole);
}

#[test]
fn writers_of_one_layout_wait_for_each_other() {
    let lab = lab();
    let image = lab.image(&[("a", b"1")], "x");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (lab, image) = (&lab, &image);
            scope.spawn(move || {
                export(&lab.session, image, &lab.at("oci", &format!("l:{number}")), &[]).unwrap();
            });
        }
    });
    let source = crate::transport::LayoutSource::open(&lab.path("l"), None).unwrap();
    assert_eq!(crate::transport::Source::offers(&source).unwrap().len(), 8);
}

#[test]
fn a_failed_export_leaves_nothing_behind() {
    // I-17, I-24
    let lab = lab();
    let mut image = lab.image(&[("a", b"1")], "x");
    // A layer that is not in the store: the last blob or the first, in order of digest.
    for text in [&b"missing"[..], b"gone", b"lost", b"away"] {
        let mut layers = image.manifest.value().layers().clone();
        layers.push(rebit_oci::manifest::descriptor(
            Compression::Gzip.layer_media_type(),
            Digest::of(text),
            text.len() as u64,
        ));
        let config = image.manifest.value().config().clone();
        image.manifest = rebit_oci::manifest::write_manifest(config, layers).unwrap();
        for transport in ["oci", "oci-archive", "docker-archive"] {
            export(&lab.session, &image, &lab.at(transport, "out"), &[]).unwrap_err();
            assert_eq!(leftovers(lab.dir.path()), Vec::<String>::new(), "{transport}");
        }
    }
    // What was there before stays.
    let whole = lab.image(&[("a", b"1")], "x");
    export(&lab.session, &whole, &lab.at("oci-archive", "out"), &[]).unwrap();
    export(&lab.session, &image, &lab.at("oci-archive", "out"), &[]).unwrap_err();
    verify(None, &lab.at("oci-archive", "out"), Some(whole.digest())).unwrap();
    assert_eq!(leftovers(lab.dir.path()), ["out"]);
    // Nothing is written into a directory that is something else.
    fs::create_dir(lab.path("other")).unwrap();
    fs::write(lab.path("other/file"), b"").unwrap();
    export(&lab.session, &whole, &lab.at("oci", "other"), &[]).unwrap_err();
    assert_eq!(leftovers(&lab.path("other")), ["file"]);
}

/// A root file system that tools find nothing strange in.
fn rootfs(lab: &crate::testing::Lab, compression: Compression) -> StoredImage {
    let options = RootfsOptions { compression, ..RootfsOptions::new(amd64(), 1_600_000_000, NOW) };
    let archive = tar(&[("bin/sh", b"#!"), ("etc/passwd", b"root:x:0:0::/:/bin/sh\n")]);
    import_rootfs(&lab.session, &mut archive.as_slice(), &names(&["base:1"]), &options).unwrap()
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

#[test]
fn skopeo_reads_what_is_written() {
    let lab = lab();
    for compression in [Compression::Gzip, Compression::None, Compression::Zstd] {
        let image = rootfs(&lab, compression);
        for transport in ["oci", "oci-archive", "docker-archive"] {
            let place = lab.at(transport, &format!("{transport}.{}", compression.name()));
            export(&lab.session, &image, &place, &names(&["base:1"])).unwrap();
            let Some(output) = tool("skopeo", &["inspect", "--raw", &place.to_string()]) else { return };
            if transport != "docker-archive" {
                assert_eq!(output.as_bytes(), image.manifest.bytes());
            }
            let copied = lab.path(&format!("copied.{transport}.{}", compression.name()));
            let target = format!("oci:{}:t", text(&copied));
            let mut arguments = vec!["copy", "--insecure-policy"];
            // It would compress plain layers on the way.
            if transport != "docker-archive" {
                arguments.push("--preserve-digests");
            }
            let place = place.to_string();
            arguments.extend([place.as_str(), &target]);
            tool("skopeo", &arguments);
            let back = import_place(&lab.session, &target.parse().unwrap(), &[], &options()).unwrap();
            assert_eq!(
                (back.tree().unwrap(), &back.config.value().rootfs),
                (image.tree().unwrap(), &image.config.value().rootfs)
            );
            if transport != "docker-archive" {
                assert_eq!(back.digest(), image.digest());
            }
            verify(None, &target.parse().unwrap(), None).unwrap();
        }
        let tagged = format!("{}:1", lab.at("oci-archive", &format!("oci-archive.{}", compression.name())));
        tool("skopeo", &["inspect", &tagged]);
        let named =
            format!("{}:base:1", lab.at("docker-archive", &format!("docker-archive.{}", compression.name())));
        tool("skopeo", &["inspect", &named]);
    }
}

#[test]
fn what_skopeo_writes_is_read() {
    let lab = lab();
    let image = rootfs(&lab, Compression::Gzip);
    let layout = lab.at("oci", "l:t");
    export(&lab.session, &image, &layout, &[]).unwrap();
    for transport in ["oci-archive", "docker-archive"] {
        let suffix = if transport == "oci-archive" { "t" } else { "docker.io/library/base:2" };
        let target = format!("{}:{suffix}", lab.at(transport, transport));
        let arguments = ["copy", "--insecure-policy", &layout.to_string(), &target];
        if tool("skopeo", &arguments).is_none() {
            return;
        }
        let second = crate::testing::lab();
        let place: Place = target.parse().unwrap();
        let back = import_place(&second.session, &place, &names(&["back"]), &options()).unwrap();
        assert_eq!(back.trees, image.trees, "{transport}");
        assert_eq!(back.config.value().rootfs, image.config.value().rootfs);
        if transport == "oci-archive" {
            assert_eq!((&back.manifest, &back.config), (&image.manifest, &image.config));
        }
        assert_eq!(find(&second.session, &"back".parse().unwrap()).unwrap(), Some(back.clone()));
        let report = verify(None, &place, Some(back.digest())).unwrap();
        assert_eq!(report.images.len(), 1, "{report:?}");
    }
}

#[test]
fn umoci_unpacks_what_is_written() {
    let lab = lab();
    for compression in [Compression::Gzip, Compression::None] {
        let image = rootfs(&lab, compression);
        let layout = lab.at("oci", &format!("l:{}", compression.name()));
        export(&lab.session, &image, &layout, &[]).unwrap();
        let bundle = lab.path(&format!("bundle.{}", compression.name()));
        let spec = format!("{}:{}", text(&lab.path("l")), compression.name());
        if tool("umoci", &["unpack", "--rootless", "--image", &spec, &text(&bundle)]).is_none() {
            return;
        }
        assert_eq!(fs::read(bundle.join("rootfs/bin/sh")).unwrap(), b"#!");
    }
}
