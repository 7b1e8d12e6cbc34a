//! `rebit cache`: what `RUN --mount=type=cache` keeps.

use serde_json::json;

use crate::environment;
use crate::error::CommandError;
use crate::flags::{Cache, CacheCommand, Flags};
use crate::output::{self, line, size, table};

pub(crate) fn cache(flags: &Flags, command: &Cache) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    let caches = store.caches()?;
    match &command.command {
        CacheCommand::Ls { json: true } => {
            let values = caches.iter().map(
                |cache| json!({"name": cache.name, "bytes": cache.bytes, "directories": cache.directories}),
            );
            output::json(&values.collect::<Vec<_>>())
        }
        CacheCommand::Ls { json: false } => {
            let row = |cache: &rebit_store::CacheInfo| {
                vec![cache.name.clone(), size(cache.bytes), cache.directories.to_string()]
            };
            table(&["NAME", "SIZE", "DIRECTORIES"], &caches.iter().map(row).collect::<Vec<_>>())
        }
        CacheCommand::Rm { names, all } => {
            let names: Vec<&String> =
                if *all { caches.iter().map(|cache| &cache.name).collect() } else { names.iter().collect() };
            let mut left = Vec::new();
            for name in names {
                if store.remove_cache(name)? {
                    line(format!("removed {name}"))?;
                } else if !*all || caches.iter().any(|cache| cache.name == *name && cache.directories > 0) {
                    left.push(format!("`{name}`"));
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            Err(CommandError::message(format!("no such cache, or in use: {}", left.join(", "))))
        }
    }
}
