//! `rebit cache`: what `RUN --mount=type=cache` keeps.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rebit_build::cache_archive::{CacheArchiveError, Carried, export_caches, import_caches};
use rebit_oci::manifest::Compression;
use rebit_store::{CacheInfo, CachePrune, Store};
use serde_json::json;

use crate::environment;
use crate::error::CommandError;
use crate::flags::{Cache, CacheCommand, Flags};
use crate::output::{self, ago, line, say, size, table};

pub(crate) fn cache(flags: &Flags, command: &Cache) -> Result<(), CommandError> {
    if let CacheCommand::Import { file, json } = &command.command {
        return import(&environment::create_store(flags)?, file, *json);
    }
    let store = environment::open_store(flags)?;
    match &command.command {
        CacheCommand::Ls { json } => list(&store, *json),
        CacheCommand::Export { file, names, json } => export(&store, file, names, *json),
        CacheCommand::Import { .. } => Ok(()),
        CacheCommand::Prune { older_than, max_size, dry_run, json } => {
            let older_than = older_than.map(|age| cutoff(age, environment::now()));
            prune(&store, &CachePrune { older_than, max_bytes: *max_size, dry_run: *dry_run }, *json)
        }
        CacheCommand::Rm { names, all } => remove(&store, names, *all),
    }
}

/// What was used before it is older than `age`; for no age at all, everything is.
fn cutoff(age: Duration, now: SystemTime) -> SystemTime {
    let time =
        if age.is_zero() { now.checked_add(Duration::from_secs(86_400)) } else { now.checked_sub(age) };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn filled(store: &Store) -> Result<Vec<CacheInfo>, CommandError> {
    let mut caches = store.caches()?;
    caches.retain(|cache| cache.directories > 0);
    Ok(caches)
}

fn list(store: &Store, json: bool) -> Result<(), CommandError> {
    let caches = filled(store)?;
    if json {
        return output::json(&caches.iter().map(as_json).collect::<Vec<_>>());
    }
    let now = environment::now();
    let row = |cache: &CacheInfo| {
        let used = cache.used.map_or_else(|| "unknown".to_owned(), |used| ago(used, now));
        vec![cache.name.clone(), size(cache.bytes), used, cache.directories.to_string()]
    };
    table(&["NAME", "SIZE", "LAST USED", "DIRECTORIES"], &caches.iter().map(row).collect::<Vec<_>>())
}

fn as_json(cache: &CacheInfo) -> serde_json::Value {
    let used = cache.used.and_then(|used| used.duration_since(SystemTime::UNIX_EPOCH).ok());
    json!({
        "name": cache.name,
        "bytes": cache.bytes,
        "directories": cache.directories,
        "last_used": used.map(|used| used.as_secs()),
    })
}

fn prune(store: &Store, prune: &CachePrune, json: bool) -> Result<(), CommandError> {
    let pruned = store.prune_caches(prune)?;
    let bytes: u64 = pruned.removed.iter().map(|cache| cache.bytes).sum();
    if json {
        return output::json(&json!({
            "dry_run": prune.dry_run,
            "removed": pruned.removed.iter().map(as_json).collect::<Vec<_>>(),
            "in_use": pruned.in_use.iter().map(as_json).collect::<Vec<_>>(),
            "bytes": bytes,
        }));
    }
    let verb = if prune.dry_run { "would remove" } else { "removed" };
    for cache in &pruned.removed {
        line(format!("{verb} {} ({})", cache.name, size(cache.bytes)))?;
    }
    pruned.in_use.iter().for_each(|cache| say(format!("left {}: a build uses it", cache.name)));
    line(format!("{verb} {} caches, {}", pruned.removed.len(), size(bytes)))
}

fn remove(store: &Store, names: &[String], all: bool) -> Result<(), CommandError> {
    let caches = filled(store)?;
    let names: Vec<&String> =
        if all { caches.iter().map(|cache| &cache.name).collect() } else { names.iter().collect() };
    let mut left = Vec::new();
    for name in names {
        if store.remove_cache(name)? {
            line(format!("removed {name}"))?;
        } else {
            left.push(format!("`{name}`"));
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(CommandError::message(format!("no such cache, or in use: {}", left.join(", "))))
}

fn export(store: &Store, file: &Path, names: &[String], json: bool) -> Result<(), CommandError> {
    let known = filled(store)?;
    if let Some(name) = names.iter().find(|name| known.iter().all(|cache| cache.name != **name)) {
        return Err(CommandError::message(format!("there is no cache `{name}`"))
            .hint("`rebit cache ls` lists what there is"));
    }
    let is_wanted = |cache: &&CacheInfo| names.is_empty() || names.contains(&cache.name);
    let names: Vec<String> = known.iter().filter(is_wanted).map(|cache| cache.name.clone()).collect();
    if file == Path::new("-") {
        let carried = export_caches(store, &names, Compression::None, &mut io::stdout().lock())?;
        return report("wrote", &carried, false, false);
    }
    let compressed = file.extension().is_some_and(|end| end == "zst" || end == "tzst");
    let compression = if compressed { Compression::Zstd } else { Compression::None };
    let failed =
        |error: io::Error| CommandError::message(format!("cannot write `{}`: {error}", file.display()));
    // Under another name until it is whole.
    let partial = file.with_added_extension("partial");
    let mut out = BufWriter::new(File::create(&partial).map_err(failed)?);
    let carried = export_caches(store, &names, compression, &mut out)
        .map_err(CommandError::from)
        .and_then(|carried| out.flush().map(|()| carried).map_err(failed))
        .and_then(|carried| std::fs::rename(&partial, file).map(|()| carried).map_err(failed));
    if carried.is_err() {
        let _left = std::fs::remove_file(&partial);
    }
    report("wrote", &carried?, json, true)
}

fn import(store: &Store, file: &Path, json: bool) -> Result<(), CommandError> {
    let reader: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let failed = |error| CommandError::message(format!("cannot read `{}`: {error}", file.display()));
        Box::new(File::open(file).map_err(failed)?)
    };
    let session = store.session()?;
    let carried = import_caches(&session, reader, environment::now())?;
    report("brought in", &carried, json, true)
}

/// Says what was carried; what was not, because a build uses it, is an error.
fn report(verb: &str, carried: &Carried, json: bool, lines: bool) -> Result<(), CommandError> {
    rebit_build::describe(&carried.report).iter().for_each(|text| say(format!("note: {text}")));
    if json {
        let caches = carried.caches.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes}));
        output::json(&json!({"caches": caches.collect::<Vec<_>>(), "in_use": carried.in_use}))?;
    } else {
        for (name, bytes) in &carried.caches {
            let text = format!("{verb} {name} ({})", size(*bytes));
            if lines { line(text)? } else { say(text) }
        }
    }
    if carried.in_use.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = carried.in_use.iter().map(|name| format!("`{name}`")).collect();
    Err(CommandError::message(format!("left out, because a build uses it: {}", names.join(", "))))
}

impl From<CacheArchiveError> for CommandError {
    fn from(error: CacheArchiveError) -> Self {
        let hint = crate::error::hint_of(&error);
        let text = Self::new(&error);
        match hint {
            Some(hint) => text.hint(hint),
            None => text,
        }
    }
}
