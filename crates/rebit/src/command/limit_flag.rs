//! `--ulimit`, `--shm-size`, `--allow` and `--annotation`: words of the command line as values of a plan.

use std::collections::BTreeMap;

use rebit_build::graph::RunLimits;
use rebit_sandbox::{Resource, ResourceLimit};

use crate::error::CommandError;
use crate::flags::BuildSource;

/// What steps may use of the machine.
pub(crate) fn limits(source: &BuildSource) -> Result<RunLimits, CommandError> {
    let mut ulimits = source.ulimits.iter().map(|text| ulimit(text)).collect::<Result<Vec<_>, _>>()?;
    // The order of the flags says nothing, and a later one of the same name takes the place of an earlier one.
    ulimits.reverse();
    ulimits.sort_by_key(|limit| limit.resource);
    ulimits.dedup_by_key(|limit| limit.resource);
    Ok(RunLimits { shm_size: source.shm_size, ulimits })
}

/// Reads `NAME=SOFT[:HARD]`; -1 and `unlimited` are no limit.
fn ulimit(text: &str) -> Result<ResourceLimit, CommandError> {
    let wrong = |reason: String| CommandError::usage(format!("`--ulimit {text}`: {reason}"));
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("it is not NAME=SOFT[:HARD]".to_owned()))?;
    let known = Resource::NAMES.iter().filter(|(known, _)| *known != "as");
    let found = known.clone().find(|(known, _)| *known == name);
    let Some((_, resource)) = found else {
        let names: Vec<&str> = known.map(|(name, _)| *name).collect();
        return Err(wrong(format!("`{name}` is no resource")).hint(format!("{} are", names.join(", "))));
    };
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        text => text.parse().map(Some).map_err(|_| wrong(format!("`{text}` is not a number"))),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err(wrong("the soft limit is above the hard one".to_owned()));
    }
    Ok(ResourceLimit { resource: *resource, soft, hard })
}

/// Whether `RUN --security=insecure` is allowed. The network of the host is what steps have in any case.
pub(crate) fn allow_insecure(source: &BuildSource) -> Result<bool, CommandError> {
    let mut insecure = false;
    for word in source.allow.iter().flat_map(|words| words.split(',')) {
        match word {
            "security.insecure" => insecure = true,
            "network.host" => {}
            other => {
                return Err(CommandError::usage(format!("`--allow {other}`: there is no such permission"))
                    .hint("security.insecure and network.host are"));
            }
        }
    }
    Ok(insecure)
}

/// Reads `[manifest:]NAME=VALUE`.
pub(crate) fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let mut annotations = BTreeMap::new();
    for text in texts {
        let wrong = |reason: &str| CommandError::usage(format!("`--annotation {text}`: {reason}"));
        let (name, value) = text.split_once('=').ok_or_else(|| wrong("it is not NAME=VALUE"))?;
        let name = match name.split_once(':') {
            Some(("manifest", name)) => name,
            Some((place, _))
                if matches!(
                    place.split('[').next(),
                    Some("index" | "index-descriptor" | "manifest" | "manifest-descriptor")
                ) =>
            {
                return Err(wrong("an image of one platform has annotations in its manifest only"));
            }
            _ => name,
        };
        if name.is_empty() {
            return Err(wrong("its name is empty"));
        }
        annotations.insert(name.to_owned(), value.to_owned());
    }
    Ok(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_a_name_and_one_or_two_numbers() {
        let check = |text: &str, expected: Option<(Resource, Option<u64>, Option<u64>)>| {
            let found = ulimit(text).ok().map(|limit| (limit.resource, limit.soft, limit.hard));
            assert_eq!(found, expected, "{text}");
        };
        check("nofile=1024", Some((Resource::OpenFiles, Some(1024), Some(1024))));
        check("nofile=1024:2048", Some((Resource::OpenFiles, Some(1024), Some(2048))));
        check("core=-1", Some((Resource::Core, None, None)));
        check("stack=8388608:unlimited", Some((Resource::Stack, Some(8 << 20), None)));
        for wrong in ["nofile", "files=1", "nofile=", "nofile=x", "nofile=2:1", "nofile=-1:1", "nofile=1:2:3"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn annotations_are_the_manifests() {
        let read = |text: &str| annotations(&[text.to_owned()]).ok();
        let one = |name: &str, value: &str| Some(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert_eq!(read("a=b"), one("a", "b"));
        assert_eq!(read("manifest:a=b=c"), one("a", "b=c"));
        assert_eq!(read("org.x:y=1"), one("org.x:y", "1"));
        for wrong in ["a", "=b", "manifest:=b", "index:a=b", "manifest[linux/amd64]:a=b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
