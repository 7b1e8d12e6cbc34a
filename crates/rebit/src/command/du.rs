//! `rebit du`.

use serde_json::json;

use crate::environment;
use crate::error::CommandError;
use crate::flags::{Du, Flags};
use crate::output::{self, line, size, table};

pub(crate) fn du(flags: &Flags, command: &Du) -> Result<(), CommandError> {
    let usage = environment::open_store(flags)?.du()?;
    if command.json {
        let images = usage.refs.iter().map(|image| {
            json!({"name": image.name, "exclusive_bytes": image.exclusive_bytes, "shared_bytes": image.shared_bytes})
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
            "records": usage.records,
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
        vec![name, size(image.exclusive_bytes), size(image.shared_bytes)]
    };
    table(&["IMAGE", "ITS OWN", "SHARED"], &usage.refs.iter().map(image).collect::<Vec<_>>())
}
