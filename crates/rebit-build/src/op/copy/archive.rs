//! Archives among the sources of `ADD`.

use rebit_layer::codec::decode::{self, DecodeLimits};
use rebit_layer::tar::read::ReadOptions;
use rebit_layer::{Metadata, Tree, read_layer};
use rebit_oci::ObjectId;
use rebit_oci::object::Objects;

use crate::error::StepProblem;

/// The tree in an archive, or `None` when the file is none.
pub(super) fn unpack(
    object: &ObjectId,
    objects: &dyn Objects,
    epoch: i64,
) -> Result<Option<Tree>, StepProblem> {
    let mut content = decode::open(objects.open(object)?, DecodeLimits::default())
        .map_err(|source| StepProblem::Archive { source: Box::new(source) })?;
    let mut start = vec![0; 512];
    let mut filled = 0;
    while filled < start.len() {
        match std::io::Read::read(&mut content, &mut start[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            // What cannot be decompressed is no archive: it is copied as it is.
            Err(_) => return Ok(None),
        }
    }
    start.truncate(filled);
    if !is_tar_header(&start) {
        return Ok(None);
    }
    let mut reader = std::io::Read::chain(std::io::Cursor::new(start), content);
    let options = ReadOptions::archive();
    let read = read_layer(&mut reader, &Tree::with_root(Metadata::directory(epoch)), objects, &options)
        .map_err(|source| StepProblem::Archive { source: Box::new(source) })?;
    Ok(Some(read.tree))
}

/// Whether a block is a tar header: its checksum field holds the sum of its bytes, the field itself taken as blanks.
pub(super) fn is_tar_header(block: &[u8]) -> bool {
    let Some(field) = block.get(148..156).filter(|_| block.len() == 512) else { return false };
    let digits: String = field.iter().map(|byte| char::from(*byte)).collect();
    let digits = digits.trim_matches([' ', '\0']);
    let blanks = field.len() as u32 * u32::from(b' ');
    let sum = block.iter().map(|byte| u32::from(*byte)).sum::<u32>()
        - field.iter().map(|b| u32::from(*b)).sum::<u32>();
    u32::from_str_radix(digits, 8).is_ok_and(|stated| stated == sum + blanks)
}
