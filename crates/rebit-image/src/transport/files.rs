//! Named files of a place: a directory's or an archive's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::tar_scan::{self, Scan, ScanError};
use crate::ImageError;

/// A file that was opened, and its length.
pub(crate) type Opened<'a> = (Box<dyn Read + Send + 'a>, u64);

/// Files by name. Names are relative, with `/` between components.
pub(crate) trait Files: Send + Sync + std::fmt::Debug {
    /// The place in words, for messages.
    fn place(&self) -> String;

    /// Opens a file; `None` when there is none of that name.
    fn open(&self, name: &str) -> Result<Option<Opened<'_>>, ImageError>;

    /// The length of a file; `None` when there is none of that name.
    fn stat(&self, name: &str) -> Result<Option<u64>, ImageError>;

    /// The names of all regular files, sorted.
    fn names(&self) -> Result<Vec<String>, ImageError>;

    /// Whether the files are in one archive.
    fn is_archive(&self) -> bool;
}

/// Reads a small file whole.
pub(crate) fn read_small(files: &dyn Files, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
    let Some((mut reader, size)) = files.open(name)? else { return Ok(None) };
    if size > limit {
        return Err(ImageError::Limit {
            what: format!("the size of `{name}` in `{}`", files.place()),
            limit,
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let read = reader.by_ref().take(limit).read_to_end(&mut bytes);
    read.map_err(|source| ImageError::CorruptEntry {
        entry: name.to_owned(),
        place: files.place(),
        reason: source.to_string(),
    })?;
    Ok(Some(bytes))
}

/// The files of a directory. Symbolic links are not followed.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(crate) fn open(root: &Path) -> Result<Self, ImageError> {
        let metadata = fs::metadata(root).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                ImageError::NotFound { what: "an image layout".to_owned(), place: root.display().to_string() }
            }
            _ => ImageError::io("open", root, source),
        })?;
        if !metadata.is_dir() {
            return Err(ImageError::io("open", root, io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn collect(&self, prefix: &str, depth: usize, names: &mut Vec<String>) -> Result<(), ImageError> {
        let directory = self.path(prefix);
        let entries = fs::read_dir(&directory).map_err(|e| ImageError::io("list", &directory, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| ImageError::io("list", &directory, e))?;
            let kind = entry.file_type().map_err(|e| ImageError::io("list", &directory, e))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if kind.is_dir() && depth > 0 {
                self.collect(&format!("{name}/"), depth - 1, names)?;
            } else if kind.is_file() {
                names.push(name);
            }
        }
        Ok(())
    }
}

impl Files for Directory {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn open(&self, name: &str) -> Result<Option<Opened<'_>>, ImageError> {
        // The size first: opening what is no regular file could wait for ever.
        let Some(_) = self.stat(name)? else { return Ok(None) };
        let path = self.path(name);
        let file = File::open(&path).map_err(|e| ImageError::io("open", &path, e))?;
        let size = file.metadata().map_err(|e| ImageError::io("open", &path, e))?.len();
        Ok(Some((Box::new(file), size)))
    }

    fn stat(&self, name: &str) -> Result<Option<u64>, ImageError> {
        let path = self.path(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(ImageError::CorruptEntry {
                entry: name.to_owned(),
                place: self.place(),
                reason: "it is not a regular file".to_owned(),
            }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(ImageError::io("open", &path, error)),
        }
    }

    fn names(&self) -> Result<Vec<String>, ImageError> {
        let mut names = Vec::new();
        self.collect("", 2, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }

    fn is_archive(&self) -> bool {
        false
    }
}

/// The files of an archive, read where they are.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    file: File,
    files: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    /// Opens and scans the archive.
    pub(crate) fn open(path: &Path) -> Result<Self, ImageError> {
        let (file, scan) = open_scan(path)?;
        Self::from_scan(path, file, &scan)
    }

    pub(crate) fn from_scan(path: &Path, file: File, scan: &Scan) -> Result<Self, ImageError> {
        let files = tar_scan::by_name(scan).map_err(|entry| ImageError::CorruptEntry {
            entry,
            place: path.display().to_string(),
            reason: "it is there twice".to_owned(),
        })?;
        Ok(Self { path: path.to_owned(), file, files })
    }
}

/// Opens an archive and finds its entries.
pub(crate) fn open_scan(path: &Path) -> Result<(File, Scan), ImageError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            ImageError::NotFound { what: "an archive".to_owned(), place: path.display().to_string() }
        }
        _ => ImageError::io("open", path, source),
    })?;
    let metadata = file.metadata().map_err(|e| ImageError::io("open", path, e))?;
    if !metadata.is_file() {
        return Err(ImageError::Unsupported {
            what: format!("reading an archive from `{}`, which is not a regular file,", path.display()),
        });
    }
    let mut start = [0; 6];
    let count = file.read_at(&mut start, 0).map_err(|e| ImageError::io("read", path, e))?;
    let format = rebit_layer::codec::decode::Format::sniff(start.get(..count).unwrap_or_default());
    if format != rebit_layer::codec::decode::Format::Plain {
        let what = format!("the {}-compressed archive `{}`", format.name(), path.display());
        return Err(ImageError::Unsupported { what });
    }
    let scan = tar_scan::scan(&file, metadata.len()).map_err(|error| scan_error(path, error))?;
    Ok((file, scan))
}

fn scan_error(path: &Path, error: ScanError) -> ImageError {
    match error {
        ScanError::Corrupt { entry, reason } => {
            ImageError::CorruptEntry { entry, place: path.display().to_string(), reason }
        }
        ScanError::Limit { what, limit } => {
            ImageError::Limit { what: format!("{what} in `{}`", path.display()), limit }
        }
        ScanError::Io { source } => ImageError::io("read", path, source),
    }
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Files for Archive {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self, name: &str) -> Result<Option<Opened<'_>>, ImageError> {
        Ok(self.files.get(name).map(|(offset, size)| {
            let section = Section { file: &self.file, at: *offset, left: *size };
            (Box::new(section) as Box<dyn Read + Send + '_>, *size)
        }))
    }

    fn stat(&self, name: &str) -> Result<Option<u64>, ImageError> {
        Ok(self.files.get(name).map(|(_, size)| *size))
    }

    fn names(&self) -> Result<Vec<String>, ImageError> {
        Ok(self.files.keys().cloned().collect())
    }

    fn is_archive(&self) -> bool {
        true
    }
}
