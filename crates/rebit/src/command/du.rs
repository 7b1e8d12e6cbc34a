//! `rebit du`.

use std::collections::BTreeMap;

use rebit_image::RecipeUsage;
use serde_json::json;

use crate::environment;
use crate::error::CommandError;
use crate::flags::{Du, Flags};
use crate::output::{self, line, size, table};

pub(crate) fn du(flags: &Flags, command: &Du) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    let usage = store.du()?;
    // What the images' file systems take unpacked, by name.
    let unpacked = rebit_image::list(&store)?.into_iter();
    let unpacked = unpacked.filter_map(|image| Some((image.name, image.uncompressed_size?)));
    let unpacked: BTreeMap<String, u64> = unpacked.collect();
    let (all, recipes) = rebit_image::recipe_usage(&store.session()?)?;
    if command.json {
        let images = usage.refs.iter().map(|image| {
            json!({
                "name": image.name,
                "unpacked_bytes": unpacked.get(&image.name),
                "content_bytes": image.content_bytes,
                "stored_bytes": image.exclusive_bytes + image.shared_bytes,
                "exclusive_bytes": image.exclusive_bytes,
                "shared_bytes": image.shared_bytes,
                "layers": recipes.get(&image.name).map(layers),
            })
        });
        return output::json(&json!({
            "total": usage.total(),
            "packs": usage.packs,
            "index": usage.index,
            "checkouts": usage.checkouts,
            "caches": usage.caches,
            "scratch": usage.scratch,
            "reserve": usage.reserve,
            "objects": usage.objects,
            "logical_bytes": usage.logical_bytes,
            "unreferenced_bytes": usage.unreferenced_bytes,
            "image_bytes": usage.kept_bytes,
            "saved_by_sharing": usage.kept_alone_bytes - usage.kept_bytes,
            "records": usage.records,
            "layers": layers(&all),
            "images": images.collect::<Vec<_>>(),
        }));
    }
    let row = |what: &str, bytes: u64, note: String| vec![what.to_owned(), size(bytes), note];
    table(
        &["WHAT", "SIZE", ""],
        &[
            row(
                "packs",
                usage.packs,
                format!("{} objects, {} before compression", usage.objects, size(usage.logical_bytes)),
            ),
            row("index", usage.index, format!("{} build records", usage.records)),
            row("checkouts", usage.checkouts, "unpacked file systems, made anew when needed".to_owned()),
            row("caches", usage.caches, "of RUN --mount=type=cache".to_owned()),
            row("scratch", usage.scratch, "of running commands".to_owned()),
            row("reserve", usage.reserve, "so that gc runs on a full disk".to_owned()),
            row("total", usage.total(), format!("{} for gc", size(usage.unreferenced_bytes))),
        ],
    )?;
    if usage.refs.is_empty() {
        return Ok(());
    }
    line("")?;
    let image = |image: &rebit_store::RefUsage| {
        let name =
            image.name.parse::<rebit_oci::Reference>().map_or(image.name.clone(), |name| name.familiar());
        vec![
            name,
            unpacked.get(&image.name).map_or_else(|| "-".to_owned(), |bytes| size(*bytes)),
            size(image.content_bytes),
            size(image.exclusive_bytes + image.shared_bytes),
            size(image.exclusive_bytes),
            size(image.shared_bytes),
            recipes
                .get(&image.name)
                .map_or_else(|| "-".to_owned(), |of| format!("{} of {}", of.recipes, of.layers)),
        ]
    };
    let head = ["IMAGE", "UNPACKED", "CONTENT", "STORED", "ITS OWN", "SHARED", "RECIPES"];
    table(&head, &usage.refs.iter().map(image).collect::<Vec<_>>())?;
    line(format!(
        "\nthe images take {}; {} if they shared nothing",
        size(usage.kept_bytes),
        size(usage.kept_alone_bytes)
    ))?;
    if all.recipes == 0 {
        return Ok(());
    }
    line(format!(
        "{} of {} layers are kept as recipes: {} in place of {}, {} saved",
        all.recipes,
        all.layers,
        size(all.recipe_bytes),
        size(all.blob_bytes),
        size(all.saved())
    ))
}

fn layers(usage: &RecipeUsage) -> serde_json::Value {
    json!({
        "count": usage.layers,
        "recipes": usage.recipes,
        "blob_bytes": usage.blob_bytes,
        "recipe_bytes": usage.recipe_bytes,
        "saved_bytes": usage.saved(),
    })
}
