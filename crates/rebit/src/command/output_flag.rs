//! `-o type=TYPE,dest=PATH`.

use std::path::PathBuf;

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
    /// The files of the image in a directory.
    Local(PathBuf),
}

/// Reads the flag's value.
pub(crate) fn parse(text: &str) -> Result<BuildOutput, CommandError> {
    let wrong = |reason: &str| CommandError::usage(format!("`--output {text}`: {reason}"));
    if !text.contains('=') {
        return Ok(BuildOutput::Local(PathBuf::from(text)));
    }
    let (mut kind, mut dest, mut tar) = (None, None, true);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("type", value)) => kind = Some(value),
            Some(("dest", value)) => dest = Some(PathBuf::from(value)),
            Some(("tar", "true" | "1")) => tar = true,
            Some(("tar", "false" | "0")) => tar = false,
            _ => return Err(wrong(&format!("`{field}` is not supported"))),
        }
    }
    let kind = kind.ok_or_else(|| wrong("there is no type"))?;
    let dest = || dest.clone().ok_or_else(|| wrong("there is no dest"));
    match kind {
        "store" => Ok(BuildOutput::Store),
        "oci" if tar => Ok(BuildOutput::OciArchive(dest()?)),
        "oci" => Ok(BuildOutput::OciLayout(dest()?)),
        "docker" => Ok(BuildOutput::DockerArchive(dest()?)),
        "local" => Ok(BuildOutput::Local(dest()?)),
        other => Err(wrong(&format!("type `{other}` is not supported; oci, docker, local and store are"))),
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
        for text in ["type=oci", "dest=a", "type=registry,dest=a", "type=oci,dest=a,x=y", "type=tar,dest=a"] {
            assert_eq!(parse(text).unwrap_err().exit.code(), 2, "{text}");
        }
    }
}
