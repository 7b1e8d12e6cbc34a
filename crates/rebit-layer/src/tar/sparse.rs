//! The maps of sparse files: where the stored bytes go in the whole file.

use std::collections::BTreeMap;

use tar::Header;

use super::BLOCK;
use super::read::ReadError;
use super::stream::{Meta, Stream};

/// Most pieces of a sparse file.
const MAX_SPARSE: u64 = 1 << 20;

impl Stream<'_> {
    /// Finds the map of a sparse file and its full size.
    pub(super) fn sparse(
        &mut self,
        header: &Header,
        records: &BTreeMap<Vec<u8>, Vec<u8>>,
        meta: &mut Meta,
    ) -> Result<(), ReadError> {
        let map = if meta.type_flag == b'S' {
            meta.type_flag = b'0';
            self.gnu_sparse_map(header, meta)?
        } else if let Some(size) = self.decimal(records, b"GNU.sparse.realsize")? {
            meta.size = size;
            self.pax_sparse_map_in_body()?
        } else if let Some(size) = self.decimal(records, b"GNU.sparse.size")? {
            meta.size = size;
            let list = records.get(&b"GNU.sparse.map"[..]).map(Vec::as_slice).unwrap_or_default();
            self.sparse_numbers(list.split(|byte| *byte == b','))?
        } else {
            return Ok(());
        };
        let mut end = 0_u64;
        for (offset, length) in &map {
            let next = offset.checked_add(*length);
            match next {
                Some(next) if *offset >= end && next <= meta.size => end = next,
                _ => return self.malformed("its sparse map is not in order"),
            }
        }
        if map.iter().map(|(_, length)| length).sum::<u64>() != self.rest {
            return self.malformed("its sparse map does not fit its size");
        }
        meta.sparse = Some(map);
        Ok(())
    }

    /// The old GNU format: four pieces in the header, 21 in each block that follows.
    fn gnu_sparse_map(&mut self, header: &Header, meta: &mut Meta) -> Result<Vec<(u64, u64)>, ReadError> {
        let Some(gnu) = header.as_gnu() else { return self.malformed("a sparse entry without a GNU header") };
        meta.size = self.number(gnu.real_size(), "size")?;
        let mut map = Vec::new();
        let add = |this: &Self, map: &mut Vec<(u64, u64)>, piece: &tar::GnuSparseHeader| {
            if !piece.is_empty() {
                let offset = this.number(piece.offset(), "sparse map")?;
                map.push((offset, this.number(piece.length(), "sparse map")?));
            }
            Ok(())
        };
        for piece in &gnu.sparse {
            add(self, &mut map, piece)?;
        }
        let mut extended = gnu.is_extended();
        while extended {
            let mut block = tar::GnuExtSparseHeader::new();
            let mut bytes = [0; BLOCK];
            if !self.read_block(&mut bytes)? {
                return Err(ReadError::Truncated { entry: self.name() });
            }
            block.as_mut_bytes().copy_from_slice(&bytes);
            for piece in block.sparse() {
                add(self, &mut map, piece)?;
            }
            if map.len() as u64 > MAX_SPARSE {
                return Err(self.limit("pieces of a sparse file", MAX_SPARSE));
            }
            extended = block.is_extended();
        }
        Ok(map)
    }

    /// pax format 1.0: the map is decimal lines at the start of the content, padded to whole blocks.
    fn pax_sparse_map_in_body(&mut self) -> Result<Vec<(u64, u64)>, ReadError> {
        let mut text = Vec::new();
        loop {
            if self.rest < BLOCK as u64 || text.len() as u64 > MAX_SPARSE * 40 {
                return self.malformed("its sparse map is not complete");
            }
            let mut block = [0; BLOCK];
            self.read_block(&mut block)?;
            self.rest -= BLOCK as u64;
            text.extend_from_slice(&block);
            let mut lines = text.split(|byte| *byte == b'\n');
            let first = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse::<u64>().ok());
            let Some(count) = first.filter(|count| *count <= MAX_SPARSE) else {
                return self.malformed("its sparse map is not valid");
            };
            // Newlines that are there: the count and two for each piece.
            if text.iter().filter(|byte| **byte == b'\n').count() as u64 > count * 2 {
                let numbers = text.split(|byte| *byte == b'\n').skip(1);
                return self.sparse_numbers(numbers.take(usize::try_from(count * 2).unwrap_or(0)));
            }
        }
    }

    fn sparse_numbers<'n>(
        &self,
        numbers: impl Iterator<Item = &'n [u8]>,
    ) -> Result<Vec<(u64, u64)>, ReadError> {
        let parsed: Option<Vec<u64>> = numbers
            .filter(|text| !text.is_empty())
            .map(|text| std::str::from_utf8(text).ok()?.parse().ok())
            .collect();
        match parsed {
            Some(numbers) if numbers.len() % 2 == 0 && numbers.len() as u64 <= 2 * MAX_SPARSE => {
                let (pairs, _) = numbers.as_chunks::<2>();
                Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
            }
            _ => self.malformed("its sparse map is not valid"),
        }
    }
}
