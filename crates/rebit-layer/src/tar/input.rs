//! What a tar archive is read from: a stream that may want to know which of its bytes are whole files.

use std::io::{self, Read};

use rebit_oci::ObjectId;

/// A stream that is told where contents are.
pub(crate) trait TarInput: Read {
    /// What is read next is the content of a file, as it is stored. `large`: it is over 1 MiB or so, and will be kept
    /// as an object.
    fn begin_content(&mut self, _large: bool) {}

    /// What was read since then is the content of `object`.
    fn end_content(&mut self, _object: &ObjectId, _length: u64) {}
}

/// A stream that does not want to know.
pub(crate) struct Unsplit<'a>(pub(crate) &'a mut dyn Read);

impl Read for Unsplit<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl TarInput for Unsplit<'_> {}
