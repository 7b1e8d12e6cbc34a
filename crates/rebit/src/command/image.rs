//! `rebit image`.

use rebit_distro::templates;
use serde_json::json;

use super::compression;
use crate::assembly::{Assembly, Wanted};
use crate::error::CommandError;
use crate::flags::{Flags, Image, ImageBuild, ImageCommand};
use crate::output::{self, bytes, count, line, say, size, table};
use crate::{environment, signal};

pub(crate) fn image(flags: &Flags, command: &Image) -> Result<(), CommandError> {
    match &command.command {
        ImageCommand::Build(command) => build(flags, command),
        ImageCommand::Recipes { name, suite, json } => recipes(name.as_deref(), suite, *json),
    }
}

fn build(flags: &Flags, command: &ImageBuild) -> Result<(), CommandError> {
    let stop = signal::stop_flag()?;
    let quiet = command.quiet || command.json;
    let assembly = Assembly::open(&command.file, !command.offline, quiet, &stop)?;
    let chosen = assembly.chosen(&command.names)?;
    let platform = command.platform.as_deref().map(environment::parse_platform).transpose()?;
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let mut built = Vec::new();
    for (name, recipe) in chosen {
        let (made, packages) = assembly.build(
            &session,
            &Wanted { name, recipe, platform: platform.as_ref(), named: true },
            compression(command.compression),
        )?;
        let bytes: u64 = made.image.layers.iter().map(|layer| layer.size).sum();
        let digest = made.image.digest();
        if !quiet {
            made.normalised.iter().for_each(|text| say(format!("{}: {text}", name.familiar())));
            let known = if made.known { ", known" } else { "" };
            say(format!(
                "{}: {}, {}{known}",
                name.familiar(),
                count(packages as u64, "package", "packages"),
                size(bytes)
            ));
        }
        if command.json {
            built.push(json!({
                "name": name.familiar(),
                "digest": digest,
                "size": bytes,
                "packages": packages,
                "known": made.known,
                "normalised": made.normalised,
            }));
        } else {
            line(digest.to_string())?;
        }
    }
    if command.json { output::json(&built) } else { Ok(()) }
}

fn recipes(name: Option<&str>, suite: &str, as_json: bool) -> Result<(), CommandError> {
    let all = templates::all(suite).ok_or_else(|| {
        CommandError::message(format!("there are no ready recipes for the suite `{suite}`"))
            .hint(format!("there are some for {}", templates::SUITES.join(", ")))
    })?;
    let chosen: Vec<_> = match name {
        None => all,
        Some(name) => {
            let found = templates::find(&super::store_name(name)?, suite);
            let (template, _) = found.ok_or_else(|| {
                CommandError::message(format!("there is no ready recipe `{name}` of {suite}"))
                    .hint("`rebit image recipes` lists them")
            })?;
            vec![template]
        }
    };
    if as_json {
        let values = chosen.iter().map(
            |template| json!({"name": template.name, "purpose": template.purpose, "recipe": template.text}),
        );
        return output::json(&values.collect::<Vec<_>>());
    }
    match (name, chosen.first()) {
        (Some(_), Some(template)) => bytes(template.text.as_bytes()),
        _ => {
            let rows: Vec<_> = chosen
                .iter()
                .map(|template| vec![template.name.clone(), template.purpose.to_owned()])
                .collect();
            table(&["NAME", "WHAT FOR"], &rows)
        }
    }
}
