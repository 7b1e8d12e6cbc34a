//! Image archives, written (`docs/format/image.md`, "Archives").

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rebit_oci::{Digest, json, manifest};
use serde::Serialize;

use super::layout_index::{LayoutIndex, OCI_LAYOUT};
use super::layout_source::blob_name;
use super::publish::{Temporary, directory_of, sync_directory};
use super::tar_scan::BLOCK;
use super::{Document, ImageDocuments, ImageNames, Sink};
use crate::ImageError;

/// Which programs an archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveForm {
    /// An image layout as a tar file.
    Oci,
    /// The same, and the `manifest.json` that `docker load` reads.
    Docker,
}

/// An entry of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerManifest {
    pub(crate) config: String,
    pub(crate) repo_tags: Vec<String>,
    pub(crate) layers: Vec<String>,
}

impl DockerManifest {
    /// The entry for an image whose blobs are in an image layout.
    pub(crate) fn of(image: &ImageDocuments, repo_tags: Vec<String>) -> Result<Self, ImageError> {
        let mut layers = Vec::new();
        for layer in image.manifest.value().layers() {
            layers.push(blob_name(&manifest::digest(layer)?));
        }
        Ok(Self { config: blob_name(&image.config.digest()), repo_tags, layers })
    }
}

/// Where an archive is written.
enum Output<'w> {
    File { temporary: Temporary, target: PathBuf },
    Writer(Box<dyn Write + 'w>),
}

/// An image archive being written: `oci-archive:` or `docker-archive:`.
pub struct ArchiveSink<'w> {
    output: Output<'w>,
    form: ArchiveForm,
    index: LayoutIndex,
    docker: Vec<DockerManifest>,
    last: Option<Digest>,
}

impl fmt::Debug for ArchiveSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveSink")
            .field("form", &self.form)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl ArchiveSink<'static> {
    /// Starts an archive that will replace the file at `path` once it is whole. A symbolic link stays, and what it leads to is
    /// replaced; a device or pipe is written to as the bytes come.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn create(path: &Path, form: ArchiveForm) -> Result<Self, ImageError> {
        let io = |action| move |error| ImageError::io(action, path, error);
        let target = match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => fs::canonicalize(path).map_err(io("resolve"))?,
            _ => path.to_owned(),
        };
        match fs::metadata(&target) {
            Ok(found) if found.is_dir() => Err(io("replace")(io::ErrorKind::IsADirectory.into())),
            Ok(found) if !found.is_file() => {
                let file = fs::File::options().write(true).open(&target).map_err(io("open"))?;
                Ok(Self::over(Output::Writer(Box::new(file)), form))
            }
            _ => {
                let temporary = Temporary::create(directory_of(&target))?;
                Ok(Self::over(Output::File { temporary, target }, form))
            }
        }
    }
}

impl<'w> ArchiveSink<'w> {
    /// Starts an archive that goes to a stream. What was written stays written when the work fails.
    #[must_use]
    pub fn to_writer(writer: Box<dyn Write + 'w>, form: ArchiveForm) -> Self {
        Self::over(Output::Writer(writer), form)
    }

    fn over(output: Output<'w>, form: ArchiveForm) -> Self {
        Self { output, form, index: LayoutIndex::new(), docker: Vec::new(), last: None }
    }

    fn io(&self, source: io::Error) -> ImageError {
        match &self.output {
            Output::File { temporary, .. } => ImageError::io("write", temporary.path(), source),
            Output::Writer(_) => ImageError::io("write", Path::new("the output"), source),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let written = match &mut self.output {
            Output::File { temporary, .. } => temporary.file().and_then(|mut file| file.write_all(bytes)),
            Output::Writer(writer) => writer.write_all(bytes),
        };
        written.map_err(|error| self.io(error))
    }

    fn write_padding(&mut self, size: u64) -> Result<(), ImageError> {
        let padding = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or(0);
        self.write([0; BLOCK as usize].get(..padding).unwrap_or_default())
    }

    fn write_entry(&mut self, name: &str, content: &[u8]) -> Result<(), ImageError> {
        self.write(&header(name, content.len() as u64))?;
        self.write(content)?;
        self.write_padding(content.len() as u64)
    }

    /// The directories of the blobs, before the first one. An unprivileged skopeo can unpack an archive only when
    /// the directories are entries of it: those it has to make itself it wants to give to root.
    fn directories(&mut self) -> Result<(), ImageError> {
        if self.last.is_some() {
            return Ok(());
        }
        self.write(&header("blobs/", 0))?;
        self.write(&header("blobs/sha256/", 0))
    }

    fn trailer(&mut self) -> Result<(), ImageError> {
        self.directories()?;
        let unwritable =
            |source| rebit_oci::document::DocumentError::Unwritable { kind: "image index", source };
        let index = std::mem::replace(&mut self.index, LayoutIndex::new()).sealed().map_err(unwritable)?;
        self.write_entry("index.json", &index)?;
        if self.form == ArchiveForm::Docker {
            let manifests = json::to_canonical(&self.docker).map_err(unwritable)?;
            self.write_entry("manifest.json", &manifests)?;
        }
        self.write_entry("oci-layout", OCI_LAYOUT)?;
        self.write(&[0; 2 * BLOCK as usize])
    }
}

impl Sink for ArchiveSink<'_> {
    fn put_blob(&mut self, digest: &Digest, size: u64, reader: &mut dyn Read) -> Result<(), ImageError> {
        if self.last.is_some_and(|last| last >= *digest) {
            // Entries are sorted; `copy` hands blobs over so.
            return Err(ImageError::Unsupported { what: "writing blobs out of order".to_owned() });
        }
        self.directories()?;
        self.last = Some(*digest);
        self.write(&header(&blob_name(digest), size))?;
        let mut buffer = vec![0; 256 << 10];
        let mut written = 0_u64;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ImageError::blob(*digest, error)),
            };
            self.write(buffer.get(..count).unwrap_or_default())?;
            written += count as u64;
        }
        super::layout_source::check_size(digest, size, written)?;
        self.write_padding(size)
    }

    fn put_image(&mut self, image: &ImageDocuments, names: &ImageNames) -> Result<(), ImageError> {
        self.index.put(image, names);
        let tagged = names.references.iter().filter(|name| name.tag().is_some() && name.digest().is_none());
        self.docker.push(DockerManifest::of(image, tagged.map(ToString::to_string).collect())?);
        Ok(())
    }

    fn put_index(&mut self, top: &Document, names: &ImageNames) -> Result<(), ImageError> {
        if self.form == ArchiveForm::Docker {
            return Err(ImageError::Unsupported { what: "an image index in a Docker archive".to_owned() });
        }
        self.index.put_index(top, names);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ImageError> {
        self.trailer()?;
        match self.output {
            Output::File { temporary, target } => {
                temporary.publish(&target)?;
                sync_directory(directory_of(&target))
            }
            Output::Writer(mut writer) => {
                writer.flush().map_err(|source| ImageError::io("write", Path::new("the output"), source))
            }
        }
    }
}

/// The header of a regular file, or of a directory when the name ends in `/`: owner 0:0, time 0, names empty.
fn header(name: &str, size: u64) -> [u8; BLOCK as usize] {
    const OCTAL_LIMIT: u64 = 1 << 33;
    let mut header = [0; BLOCK as usize];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = header.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    // Every name that is written here is shorter than the field.
    put(0, name.as_bytes());
    let directory = name.ends_with('/');
    put(100, if directory { b"0000755\0" } else { b"0000644\0" });
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < OCTAL_LIMIT {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, if directory { b"5" } else { b"0" });
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    if let Some(field) = header.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    #[test]
    fn links_pipes_and_directories_are_not_replaced() {
        use std::io::Read as _;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str| {
            super::Sink::finish(Box::new(super::ArchiveSink::create(&path(name), super::ArchiveForm::Oci)?))
        };
        std::fs::write(path("file"), "old").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        write("link").unwrap();
        assert!(path("link").is_symlink() && std::fs::read(path("file")).unwrap().len() > 1024);
        std::fs::create_dir(path("directory")).unwrap();
        assert!(write("directory").is_err() && path("directory").is_dir());
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        let pipe = path("pipe");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::fs::File::open(pipe).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        });
        write("pipe").unwrap();
        assert_eq!(reader.join().unwrap(), std::fs::read(path("file")).unwrap());
    }

    use super::*;

    #[test]
    fn headers_are_plain_ustar() {
        // I-22, I-23
        let check = |size: u64| {
            let bytes = header("blobs/sha256/x", size);
            let parsed = tar::Header::from_byte_slice(&bytes);
            assert!(parsed.as_ustar().is_some());
            assert_eq!(parsed.path_bytes().as_ref(), b"blobs/sha256/x");
            assert_eq!(
                (parsed.size().unwrap(), parsed.mode().unwrap(), parsed.mtime().unwrap()),
                (size, 0o644, 0)
            );
            assert_eq!((parsed.uid().unwrap(), parsed.gid().unwrap()), (0, 0));
            assert_eq!(parsed.entry_type(), tar::EntryType::Regular);
            let mut again = parsed.clone();
            again.set_cksum();
            assert_eq!(again.cksum().unwrap(), parsed.cksum().unwrap());
        };
        let directory = header("blobs/", 0);
        let parsed = tar::Header::from_byte_slice(&directory);
        assert_eq!((parsed.entry_type(), parsed.mode().unwrap()), (tar::EntryType::Directory, 0o755));
        for size in [0, 1, (1 << 33) - 1, 1 << 33, 1 << 40] {
            check(size);
        }
    }
}
