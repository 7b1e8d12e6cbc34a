//! An image layout, in a directory or an archive.

use std::collections::BTreeSet;
use std::sync::Arc;

use rebit_oci::document::MAX_DOCUMENT;
use rebit_oci::manifest::{self, Kind};
use rebit_oci::{Digest, Raw, json};

use super::check::Check;
use crate::ImageError;
use crate::transport::files::{Files, read_small};
use crate::transport::layout_index::{LayoutIndex, OCI_LAYOUT, Seal, seal};
use crate::transport::{
    DockerManifest, ImageDocuments, LayoutSource, MAX_DEPTH, Offer, Source, check_version, documents,
    read_blob,
};

/// Checks a layout; with `tag`, of the images only those of that tag, of the blobs all.
pub(super) fn check(files: &Arc<dyn Files>, tag: Option<&str>, check: &mut Check) -> Result<(), ImageError> {
    let whole = LayoutSource::over(Arc::clone(files), None);
    let Some(bytes) = check.opened(whole.index_bytes())? else { return Ok(()) };
    let seal = seal(&bytes);
    if let Seal::Broken(reason) = &seal {
        check.add(None, Some("index.json"), reason.clone());
    }
    // A broken seal is one too: what is held to it is what this program writes.
    let sealed = seal != Seal::Absent;
    version(files, sealed, check)?;
    let offers = match LayoutIndex::parse(&bytes).and_then(|index| index.offers()) {
        Ok(offers) => offers,
        Err(reason) => {
            check.add(None, Some("index.json"), reason);
            Vec::new()
        }
    };
    let wanted = match tag {
        None => offers.clone(),
        // A tag that is not there is no damage.
        Some(_) => LayoutSource::over(Arc::clone(files), tag).offers()?,
    };
    for offer in &wanted {
        check.offer(&whole, offer)?;
    }
    let named = match tag {
        None => std::mem::take(&mut check.named),
        Some(_) => named(&whole, &offers),
    };
    rest(files, &whole, sealed, &named, check)?;
    if sealed {
        docker_manifest(files, &whole, &offers, check)?;
    }
    Ok(())
}

fn version(files: &Arc<dyn Files>, sealed: bool, check: &mut Check) -> Result<(), ImageError> {
    match check.note(read_small(&**files, "oci-layout", 4096))? {
        Some(Some(bytes)) if sealed && bytes != OCI_LAYOUT => {
            check.add(None, Some("oci-layout"), "it is not what it has to be".to_owned());
        }
        Some(Some(bytes)) => {
            if let Err(reason) = check_version(&bytes) {
                check.add(None, Some("oci-layout"), reason);
            }
        }
        Some(None) => check.add(None, Some("oci-layout"), "it is missing".to_owned()),
        None => {}
    }
    Ok(())
}

/// Every blob that something names, as far as documents can be read.
fn named(source: &LayoutSource, offers: &[Offer]) -> BTreeSet<Digest> {
    let mut named = BTreeSet::new();
    let mut waiting: Vec<_> =
        offers.iter().map(|offer| (offer.media_type.clone(), offer.digest, offer.size, 0)).collect();
    while let Some((media_type, digest, size, depth)) = waiting.pop() {
        if !named.insert(digest) || depth > MAX_DEPTH {
            continue;
        }
        let Ok(bytes) = read_blob(source, &digest, size) else { continue };
        match manifest::kind(&media_type) {
            Kind::Manifest => {
                let Ok(parsed) = Raw::<manifest::ImageManifest>::parse("manifest", bytes) else { continue };
                let described = std::iter::once(parsed.value().config()).chain(parsed.value().layers());
                named.extend(described.filter_map(|blob| manifest::digest(blob).ok()));
            }
            Kind::ImageIndex => {
                let Ok(parsed) = Raw::<manifest::ImageIndex>::parse("image index", bytes) else { continue };
                for child in parsed.value().manifests() {
                    if let Ok(digest) = manifest::digest(child) {
                        waiting.push((child.media_type().clone(), digest, child.size(), depth + 1));
                    }
                }
            }
            _ => {}
        }
    }
    named
}

/// The files that were not read yet.
fn rest(
    files: &Arc<dyn Files>,
    source: &LayoutSource,
    sealed: bool,
    named: &BTreeSet<Digest>,
    check: &mut Check,
) -> Result<(), ImageError> {
    for name in files.names()? {
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else {
                check.add(None, Some(&name), "its name is not that of a blob".to_owned());
                continue;
            };
            let Some(size) = source.stat(&digest)? else { continue };
            check.blob(source, digest, size)?;
            if !named.contains(&digest) {
                check.orphan(digest);
            }
        } else if !matches!(name.as_str(), "index.json" | "oci-layout" | "manifest.json") {
            // Nobody but this program knows that there is nothing else in its archives.
            match sealed && source.is_archive() {
                true => check.add(None, Some(&name), "it does not belong here".to_owned()),
                false => check.unchecked(&name),
            }
        }
    }
    Ok(())
}

/// The `manifest.json` of an archive that this program wrote follows from its `index.json`.
fn docker_manifest(
    files: &Arc<dyn Files>,
    source: &LayoutSource,
    offers: &[Offer],
    check: &mut Check,
) -> Result<(), ImageError> {
    let Some(Some(found)) = check.note(read_small(&**files, "manifest.json", MAX_DOCUMENT))? else {
        return Ok(());
    };
    let mut images: Vec<(ImageDocuments, Vec<String>)> = Vec::new();
    for offer in offers {
        let name = offer.name.clone().filter(|name| !name.contains('@'));
        match images.iter_mut().find(|(image, _)| image.manifest.digest() == offer.digest) {
            Some((_, names)) => names.extend(name),
            None => {
                // What is wrong with the documents was found before.
                let Ok(image) = documents(source, &offer.digest, offer.size) else { return Ok(()) };
                images.push((image, name.into_iter().collect()));
            }
        }
    }
    let expected: Result<Vec<_>, _> =
        images.into_iter().map(|(image, names)| DockerManifest::of(&image, names)).collect();
    let expected = expected.ok().and_then(|list| json::to_canonical(&list).ok());
    if expected.as_deref() != Some(found.as_slice()) {
        check.add(None, Some("manifest.json"), "it does not say what `index.json` says".to_owned());
    }
    Ok(())
}
