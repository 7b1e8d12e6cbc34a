//! `rebit images`.

use rebit_oci::Reference;

use crate::environment;
use crate::error::CommandError;
use crate::flags::{Flags, Images};
use crate::output::{json, line, size, table};

pub(crate) fn images(flags: &Flags, command: &Images) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    let images = rebit_image::list(&store)?;
    if command.json {
        return json(&images);
    }
    if command.quiet {
        return images.iter().try_for_each(|image| line(image.digest.to_string()));
    }
    let row = |image: &rebit_image::ImageSummary| {
        let digest = if command.no_trunc { image.digest.to_string() } else { image.digest.short() };
        let name = image.name.parse::<Reference>().ok();
        vec![
            name.as_ref().map_or_else(|| image.name.clone(), Reference::familiar_name),
            name.as_ref().and_then(|name| name.tag()).unwrap_or("-").to_owned(),
            digest,
            image.platform.to_string(),
            image.layers.to_string(),
            size(image.size),
            image.uncompressed_size.map_or_else(|| "-".to_owned(), size),
            image.files.map_or_else(|| "-".to_owned(), |files| files.to_string()),
        ]
    };
    let rows: Vec<Vec<String>> = images.iter().map(row).collect();
    table(&["NAME", "TAG", "DIGEST", "PLATFORM", "LAYERS", "SIZE", "UNPACKED", "FILES"], &rows)
}
