//! The blocks of a directory: sorted entries, then their names.

use super::format::BLOCK;

/// Bytes of an entry without its name.
const ENTRY: usize = 12;

/// A directory and what it names.
pub(super) struct Directory<'a> {
    entries: Vec<Entry<'a>>,
}

/// One name.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    name: &'a [u8],
    /// The number of its inode.
    pub(super) inode: usize,
    kind: u8,
}

impl<'a> Directory<'a> {
    /// A directory that has nothing but itself and the one above.
    pub(super) fn new(own: usize, above: usize) -> Self {
        let kind = super::format::DIRECTORY;
        let entries = vec![Entry { name: b".", inode: own, kind }, Entry { name: b"..", inode: above, kind }];
        Self { entries }
    }

    /// Adds a name.
    pub(super) fn add(&mut self, name: &'a [u8], inode: usize, kind: u8) {
        self.entries.push(Entry { name, inode, kind });
    }

    pub(super) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    fn in_order(&self) -> Vec<Entry<'a>> {
        let mut entries = self.entries.clone();
        entries.sort_by_key(|entry| entry.name);
        entries
    }

    /// Bytes of the content.
    pub(super) fn size(&self) -> u64 {
        let blocks = blocks(&self.in_order());
        let last = blocks.last().map_or(0, |block| bytes(block));
        (blocks.len().saturating_sub(1) * BLOCK + last) as u64
    }

    /// The content, given where each inode is.
    pub(super) fn content(&self, nid: &impl Fn(usize) -> u64) -> Vec<u8> {
        let entries = self.in_order();
        let mut content = Vec::new();
        for block in blocks(&entries) {
            content.resize(content.len().next_multiple_of(BLOCK), 0);
            let mut name_at = block.len() * ENTRY;
            for entry in &block {
                content.extend(nid(entry.inode).to_le_bytes());
                content.extend(u16::try_from(name_at).unwrap_or_default().to_le_bytes());
                content.extend([entry.kind, 0]);
                name_at += entry.name.len();
            }
            block.iter().for_each(|entry| content.extend(entry.name));
        }
        content
    }
}

fn bytes(block: &[Entry<'_>]) -> usize {
    block.iter().map(|entry| ENTRY + entry.name.len()).sum()
}

/// As many entries for each block as fit, in order.
fn blocks<'a>(entries: &[Entry<'a>]) -> Vec<Vec<Entry<'a>>> {
    let mut blocks: Vec<Vec<Entry<'a>>> = vec![Vec::new()];
    let mut used = 0;
    for entry in entries {
        let more = ENTRY + entry.name.len();
        if used + more > BLOCK {
            blocks.push(Vec::new());
            used = 0;
        }
        used += more;
        if let Some(block) = blocks.last_mut() {
            block.push(*entry);
        }
    }
    blocks
}
