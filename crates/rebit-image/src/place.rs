//! Where an image is or goes: the words that skopeo uses for it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rebit_oci::Reference;
use rebit_oci::reference::ParseReferenceError;

/// A place for images.
///
/// The text forms are those of containers-transports(5), and `store:` for the store. A path ends at the
/// first colon, so that it cannot have one itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `store:NAME`: an image of the store by name or digest, as the user wrote it.
    Store {
        /// Checked to be a [`Reference`] or hexadecimal digits, and kept as written.
        name: String,
    },
    /// `oci:DIR[:TAG]`: an image layout in a directory.
    Oci {
        /// The directory.
        path: PathBuf,
        /// The value of `org.opencontainers.image.ref.name`.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: an image layout in a tar file.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The value of `org.opencontainers.image.ref.name`.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:NAME[:TAG]]`: what `docker save` writes.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The image's name.
        name: Option<Reference>,
    },
    /// `docker://NAME[:TAG][@DIGEST]`: an image at its registry.
    Registry {
        /// The image's name.
        name: Reference,
    },
}

/// Why a text is not a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePlaceError {
    /// The text before the colon names no kind of place.
    #[error("`{text}` does not say what kind of place it is")]
    NoTransport {
        /// The text as given, cut to 300 characters.
        text: String,
    },
    /// The kind of place is known, but this version cannot use it.
    #[error("`{transport}:` in `{text}` is not supported")]
    Unsupported {
        /// The kind of place.
        transport: String,
        /// The text as given, cut to 300 characters.
        text: String,
    },
    /// The path is empty.
    #[error("`{text}` has no path")]
    NoPath {
        /// The text as given, cut to 300 characters.
        text: String,
    },
    /// The tag cannot be one.
    #[error("`{tag}` cannot be the tag of an image layout")]
    Tag {
        /// The tag, cut to 300 characters.
        tag: String,
    },
    /// The name is not an image name.
    #[error("the place has no valid image name")]
    Name {
        /// The cause.
        #[from]
        source: ParseReferenceError,
    },
}

/// What other programs have and this one has not.
const FOREIGN: [&str; 6] = ["docker-daemon", "containers-storage", "dir", "sif", "ostree", "atomic"];

impl Place {
    /// Reads a place where a bare name means an image of the store.
    ///
    /// # Errors
    /// [`ParsePlaceError`].
    pub fn parse_or_name(text: &str) -> Result<Self, ParsePlaceError> {
        match text.parse() {
            Err(ParsePlaceError::NoTransport { .. }) => Self::store(text),
            parsed => parsed,
        }
    }

    fn store(name: &str) -> Result<Self, ParsePlaceError> {
        if !is_digest_text(name) {
            name.parse::<Reference>()?;
        }
        Ok(Self::Store { name: name.to_owned() })
    }

    /// The path of a file or directory; `None` for the store and for a registry.
    #[must_use]
    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            Self::Store { .. } | Self::Registry { .. } => None,
            Self::Oci { path, .. } | Self::OciArchive { path, .. } | Self::DockerArchive { path, .. } => {
                Some(path)
            }
        }
    }
}

/// Whether `text` is (the start of) a digest: `sha256:` and hexadecimal digits.
fn is_digest_text(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        (1..=64).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

impl FromStr for Place {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cut = || text.chars().take(300).collect::<String>();
        let no_transport = || ParsePlaceError::NoTransport { text: cut() };
        let (transport, rest) = text.split_once(':').ok_or_else(no_transport)?;
        let path_and_rest = || match rest.split_once(':') {
            Some((path, rest)) => (path, Some(rest)),
            None => (rest, None),
        };
        let path = |path: &str| match path {
            "" => Err(ParsePlaceError::NoPath { text: cut() }),
            path => Ok(PathBuf::from(path)),
        };
        match transport {
            "store" => Self::store(rest),
            "oci" => {
                let (at, tag) = path_and_rest();
                Ok(Self::Oci { path: path(at)?, tag: tag.map(layout_tag).transpose()? })
            }
            "oci-archive" => {
                let (at, tag) = path_and_rest();
                Ok(Self::OciArchive { path: path(at)?, tag: tag.map(layout_tag).transpose()? })
            }
            "docker-archive" => {
                let (at, name) = path_and_rest();
                Ok(Self::DockerArchive { path: path(at)?, name: name.map(str::parse).transpose()? })
            }
            // `docker:5000/name` is a name on a registry host.
            "docker" if rest.starts_with("//") => {
                Ok(Self::Registry { name: rest.trim_start_matches('/').parse()? })
            }
            other if FOREIGN.contains(&other) => {
                Err(ParsePlaceError::Unsupported { transport: other.to_owned(), text: cut() })
            }
            _ => Err(no_transport()),
        }
    }
}

/// Checks the alphabet of the image-spec's `ref.name`, a little more freely.
fn layout_tag(tag: &str) -> Result<String, ParsePlaceError> {
    let holds = !tag.is_empty()
        && tag.len() <= 512
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:@+/".contains(&b));
    if holds {
        Ok(tag.to_owned())
    } else {
        Err(ParsePlaceError::Tag { tag: tag.chars().take(300).collect() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, tag) = match self {
            Self::Store { name } => return write!(f, "store:{name}"),
            Self::Registry { name } => return write!(f, "docker://{name}"),
            Self::Oci { path, tag } => ("oci", path, tag.clone()),
            Self::OciArchive { path, tag } => ("oci-archive", path, tag.clone()),
            Self::DockerArchive { path, name } => {
                ("docker-archive", path, name.as_ref().map(Reference::familiar))
            }
        };
        write!(f, "{transport}:{}", path.display())?;
        tag.map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_skopeo_writes_them() {
        let check = |text: &str, expected: &str| {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), expected);
            assert_eq!(place.to_string().parse(), Ok(place));
        };
        check("store:busybox", "store:busybox");
        check("store:sha256:0123abcd", "store:sha256:0123abcd");
        check("oci:dir", "oci:dir");
        check("oci:/a/b:v1", "oci:/a/b:v1");
        check("oci:dir:docker.io/library/a:1", "oci:dir:docker.io/library/a:1");
        check("oci-archive:a.tar:x", "oci-archive:a.tar:x");
        check("docker-archive:a.tar", "docker-archive:a.tar");
        check("docker-archive:a.tar:debian", "docker-archive:a.tar:debian:latest");
        check("docker://busybox", "docker://docker.io/library/busybox:latest");
        check("docker://r.io:5000/x:1", "docker://r.io:5000/x:1");
        check("docker-archive:a.tar:r.io:5000/x:1", "docker-archive:a.tar:r.io:5000/x:1");
    }

    #[test]
    fn a_bare_name_is_an_image_of_the_store_only_where_that_is_allowed() {
        let store = |name: &str| Ok(Place::Store { name: name.to_owned() });
        for name in [
            "busybox",
            "debian:12",
            "localhost:5000/a:1",
            "docker:5000",
            "a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(Place::parse_or_name(name), store(name));
            assert!(matches!(name.parse::<Place>(), Err(ParsePlaceError::NoTransport { .. })), "{name}");
        }
        assert!(matches!(Place::parse_or_name("Bad Name"), Err(ParsePlaceError::Name { .. })));
    }

    #[test]
    fn what_is_not_a_place_says_why() {
        let parse = |text: &str| Place::parse_or_name(text).unwrap_err();
        assert!(matches!(parse("docker://"), ParsePlaceError::Name { .. }));
        assert!(matches!(parse("dir:/x"), ParsePlaceError::Unsupported { .. }));
        assert!(matches!(parse("oci:"), ParsePlaceError::NoPath { .. }));
        assert!(matches!(parse("oci-archive::tag"), ParsePlaceError::NoPath { .. }));
        assert!(matches!(parse("oci:a:"), ParsePlaceError::Tag { .. }));
        assert!(matches!(parse("oci:a:b c"), ParsePlaceError::Tag { .. }));
        assert!(matches!(parse("docker-archive:a:B"), ParsePlaceError::Name { .. }));
        assert!(matches!(parse("store:"), ParsePlaceError::Name { .. }));
    }
}
