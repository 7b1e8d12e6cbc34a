//! The encoders that a recipe may name.
//!
//! A name stands for exact bytes, for ever: what is behind it is either code of this crate that does not change, or a
//! dependency pinned to a version that is part of the name. A name that is not known here is refused.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::codec::deflate::{Deflate, Flavour, Pigz};

/// The version of libzstd that replays are made with; another one is another encoder.
const LIBZSTD: &str = "1.5.7";

/// What made a part of a blob out of a part of a tar stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoder {
    /// Nothing: the bytes themselves.
    Plain,
    /// The deflate of a segment of layer format 1: libdeflate 1.26.1, level 3.
    Libdeflate,
    /// zlib's deflate, level 1 to 9: Python, Java, PHP, nginx and most else.
    Zlib(u8),
    /// GNU gzip's deflate, level 1 to 9.
    Gnu(u8),
    /// pigz's deflate with two threads or more, level 1 to 9.
    Pigz(u8),
    /// A whole Zstandard frame by libzstd.
    Zstd {
        /// The level, 1 to 9.
        level: u8,
        /// Whether its multi-threaded encoder made it, as the program `zstd` does by default.
        threads: bool,
        /// Whether the frame says how long its content is.
        sized: bool,
        /// Whether the frame ends with a checksum.
        checked: bool,
    },
}

impl Encoder {
    /// What people call it.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Plain => "no compression".to_owned(),
            Self::Libdeflate => "rebit's deflate (libdeflate level 3)".to_owned(),
            Self::Zlib(level) => format!("zlib level {level}"),
            Self::Gnu(level) => format!("GNU gzip level {level}"),
            Self::Pigz(level) => format!("pigz level {level}"),
            Self::Zstd { level, threads, .. } => {
                format!("zstd {LIBZSTD} level {level}{}", if threads { ", multi-threaded" } else { "" })
            }
        }
    }

    /// The most plain bytes that it takes at once; `None` for those that stream.
    pub(crate) fn most(self) -> Option<u64> {
        (self == Self::Libdeflate).then_some(16 << 20)
    }

    /// Starts a part of `plain` bytes.
    ///
    /// # Errors
    /// The encoder's own.
    pub(crate) fn start(self, plain: Option<u64>) -> io::Result<Box<dyn Encode>> {
        Ok(match self {
            Self::Plain => Box::new(Unchanged),
            Self::Libdeflate => Box::new(Whole(Vec::new())),
            Self::Zlib(level) => Box::new(Deflate::new(Flavour::Zlib, level)),
            Self::Gnu(level) => Box::new(Deflate::new(Flavour::Gnu, level)),
            Self::Pigz(level) => Box::new(Pigz::new(level)),
            Self::Zstd { level, threads, sized, checked } => {
                use zstd::zstd_safe::{CCtx, CParameter};
                let fail = |code| io::Error::other(zstd::zstd_safe::get_error_name(code));
                let mut context = CCtx::create();
                for parameter in [
                    CParameter::CompressionLevel(i32::from(level)),
                    CParameter::ChecksumFlag(checked),
                    CParameter::ContentSizeFlag(sized),
                    CParameter::NbWorkers(u32::from(threads)),
                ] {
                    context.set_parameter(parameter).map_err(fail)?;
                }
                if sized {
                    context.set_pledged_src_size(plain).map_err(fail)?;
                }
                Box::new(ZstdFrame(context))
            }
        })
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Libdeflate => f.write_str("libdeflate-1.26.1 3"),
            Self::Zlib(level) => write!(f, "zlib-v1 {level}"),
            Self::Gnu(level) => write!(f, "gzip-v1 {level}"),
            Self::Pigz(level) => write!(f, "pigz-v1 {level}"),
            Self::Zstd { level, threads, sized, checked } => {
                write!(f, "zstd-{LIBZSTD} {level}")?;
                for (is, word) in [(threads, "threads"), (sized, "size"), (checked, "checksum")] {
                    if *is {
                        write!(f, " {word}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Encoder {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut words = name.split(' ');
        let family = words.next().unwrap_or_default();
        let mut level = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0_u8);
        let encoder = match family {
            "plain" => Self::Plain,
            "libdeflate-1.26.1" => Self::Libdeflate,
            "zlib-v1" => Self::Zlib(level()),
            "gzip-v1" => Self::Gnu(level()),
            "pigz-v1" => Self::Pigz(level()),
            _ if family.strip_prefix("zstd-") == Some(LIBZSTD) => {
                let level = level();
                let words: Vec<&str> = words.collect();
                let has = |word| words.contains(&word);
                Self::Zstd { level, threads: has("threads"), sized: has("size"), checked: has("checksum") }
            }
            _ => return Err(()),
        };
        let level = match encoder {
            Self::Plain | Self::Libdeflate => 1,
            Self::Zlib(level) | Self::Gnu(level) | Self::Pigz(level) | Self::Zstd { level, .. } => level,
        };
        // One name for one encoder, and the library that is linked is the one that is named.
        let exact = encoder.to_string() == name && (1..=9).contains(&level);
        let linked = !matches!(encoder, Self::Zstd { .. }) || zstd::zstd_safe::version_string() == LIBZSTD;
        if exact && linked { Ok(encoder) } else { Err(()) }
    }
}

/// A part of a blob being made. The bytes do not depend on the sizes of the pushes.
pub(crate) trait Encode: Send {
    /// Takes plain bytes, and gives what it completes.
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()>;

    /// Ends the part.
    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()>;

    /// Gives as much as it can of what it has taken, for a look; the end of it may differ from what would come.
    fn peek(&mut self, _out: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}

struct Unchanged;

impl Encode for Unchanged {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(plain);
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}

/// A segment, which libdeflate sees as a whole.
struct Whole(Vec<u8>);

impl Encode for Whole {
    fn push(&mut self, plain: &[u8], _out: &mut Vec<u8>) -> io::Result<()> {
        self.0.extend_from_slice(plain);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(&crate::codec::deflate_segment(&self.0)?);
        Ok(())
    }
}

impl Encode for Deflate {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.push(plain, out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.finish(out);
        Ok(())
    }
}

impl Encode for Pigz {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.push(plain, out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.finish(out);
        Ok(())
    }
}

struct ZstdFrame(zstd::zstd_safe::CCtx<'static>);

impl ZstdFrame {
    fn run(
        &mut self,
        plain: &[u8],
        out: &mut Vec<u8>,
        end: zstd::zstd_safe::zstd_sys::ZSTD_EndDirective,
    ) -> io::Result<()> {
        use zstd::zstd_safe::{InBuffer, OutBuffer, get_error_name, zstd_sys::ZSTD_EndDirective};
        let mut input = InBuffer::around(plain);
        let mut buffer = vec![0_u8; 128 << 10];
        loop {
            let mut output = OutBuffer::around(buffer.as_mut_slice());
            let left = self.0.compress_stream2(&mut output, &mut input, end);
            let left = left.map_err(|code| io::Error::other(get_error_name(code)))?;
            out.extend_from_slice(output.as_slice());
            let taken = input.pos() == plain.len();
            if taken && (left == 0 || end == ZSTD_EndDirective::ZSTD_e_continue) {
                return Ok(());
            }
        }
    }
}

impl Encode for ZstdFrame {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.run(plain, out, zstd::zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_continue)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.run(&[], out, zstd::zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_end)
    }

    fn peek(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.run(&[], out, zstd::zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush)
    }
}
