//! `-o type=TYPE,dest=PATH`.

use std::path::PathBuf;

use rebit_image::transport::ArchiveForm;
use rebit_oci::Reference;

use crate::error::CommandError;

/// Where a built image goes besides the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BuildOutput {
    /// Nowhere.
    Store,
    /// An OCI archive.
    OciArchive(PathBuf),
    /// An OCI layout directory.
    OciLayout(PathBuf),
    /// An archive for `docker load`.
    DockerArchive(PathBuf),
    /// An archive on standard output.
    Stdout(ArchiveForm),
    /// The files of the image in a directory.
    Local(PathBuf),
    /// Registries, by the names that are given here, else by those of the image.
    Registry(Vec<Reference>),
}

impl BuildOutput {
    /// Whether the image itself goes to standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout(_))
    }
}

/// Reads the flag's value.
pub(crate) fn parse(text: &str) -> Result<BuildOutput, CommandError> {
    let wrong = |reason: &str| CommandError::usage(format!("`--output {text}`: {reason}"));
    if !text.contains('=') {
        return Ok(BuildOutput::Local(PathBuf::from(text)));
    }
    let (mut kind, mut dest, mut tar, mut names, mut push) = (None, None, true, Vec::new(), None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("type", value)) => kind = Some(value),
            Some(("dest", value)) => dest = Some(PathBuf::from(value)),
            Some(("tar", "true" | "1")) => tar = true,
            Some(("tar", "false" | "0")) => tar = false,
            Some(("name", value)) => names.push(super::store_name(value)?),
            Some(("push", "true" | "1")) => push = Some(true),
            Some(("push", "false" | "0")) => push = Some(false),
            _ => return Err(wrong(&format!("`{field}` is not supported"))),
        }
    }
    let kind = kind.ok_or_else(|| wrong("there is no type"))?;
    let is_registry = kind == "registry" || (kind == "image" && push == Some(true));
    match (kind, push) {
        _ if is_registry && dest.is_some() => {
            return Err(wrong("a registry has no dest; -t or name says where"));
        }
        ("registry", None | Some(true)) | ("image", Some(true)) => return Ok(BuildOutput::Registry(names)),
        ("image", _) if names.is_empty() && dest.is_none() => return Ok(BuildOutput::Store),
        (_, Some(_)) => return Err(wrong("`push` is not supported for this type")),
        _ if !names.is_empty() => {
            return Err(wrong("`name` is not supported for this type; -t names the image"));
        }
        _ => {}
    }
    let to = &dest;
    let dest = || to.clone().ok_or_else(|| wrong("there is no dest"));
    match kind {
        "store" => Ok(BuildOutput::Store),
        "oci" if tar && dest()?.as_os_str() == "-" => Ok(BuildOutput::Stdout(ArchiveForm::Oci)),
        "docker" if dest()?.as_os_str() == "-" => Ok(BuildOutput::Stdout(ArchiveForm::Docker)),
        _ if to.as_ref().is_some_and(|dest| dest.as_os_str() == "-") => {
            Err(wrong("only an archive (oci, docker) can go to standard output"))
        }
        "oci" if tar => Ok(BuildOutput::OciArchive(dest()?)),
        "oci" => Ok(BuildOutput::OciLayout(dest()?)),
        "docker" => Ok(BuildOutput::DockerArchive(dest()?)),
        "local" => Ok(BuildOutput::Local(dest()?)),
        other => Err(wrong(&format!(
            "type `{other}` is not supported; oci, docker, local, registry and store are"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        let check = |text: &str, expected| assert_eq!(parse(text).unwrap(), expected, "{text}");
        check("out", BuildOutput::Local("out".into()));
        check("type=local,dest=out", BuildOutput::Local("out".into()));
        check("type=oci,dest=a.tar", BuildOutput::OciArchive("a.tar".into()));
        check("dest=a,type=oci,tar=false", BuildOutput::OciLayout("a".into()));
        check("type=docker,dest=a.tar", BuildOutput::DockerArchive("a.tar".into()));
        check("type=store", BuildOutput::Store);
        check("type=registry", BuildOutput::Registry(Vec::new()));
        let name = vec!["localhost:5000/a:1".parse().unwrap()];
        check("type=image,name=localhost:5000/a:1,push=true", BuildOutput::Registry(name));
        check("type=image", BuildOutput::Store);
        check("type=oci,dest=-", BuildOutput::Stdout(ArchiveForm::Oci));
        check("type=docker,dest=-", BuildOutput::Stdout(ArchiveForm::Docker));
        for text in [
            "type=oci",
            "dest=a",
            "type=registry,dest=a",
            "type=registry,push=false",
            "type=oci,dest=a,name=b",
            "type=image,name=a",
            "type=oci,dest=a,x=y",
            "type=tar,dest=a",
            "type=local,dest=-",
        ] {
            assert_eq!(parse(text).unwrap_err().exit.code(), 2, "{text}");
        }
    }
}
