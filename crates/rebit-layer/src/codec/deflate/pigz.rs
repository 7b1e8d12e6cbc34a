//! pigz: blocks of 128 KiB, each deflated on its own with the 32 KiB before it as dictionary.

use rayon::prelude::*;

use super::{Deflate, Flavour, WINDOW};

const BLOCK: usize = 128 << 10;
/// Blocks that are deflated at the same time.
const TOGETHER: usize = 16;

/// One raw deflate stream as pigz makes it with more than one thread.
pub(crate) struct Pigz {
    level: u8,
    /// The dictionary of the next block, then input; at most [`TOGETHER`] blocks and a bit.
    input: Vec<u8>,
    dictionary: usize,
}

impl Pigz {
    /// A stream of `level` 1 to 9.
    pub(crate) fn new(level: u8) -> Self {
        Self { level, input: Vec::new(), dictionary: 0 }
    }

    /// Takes input; `out` gets the blocks that are known not to be the last.
    pub(crate) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            // One byte more than the blocks shows that the last of them is not the last of all.
            let room = self.dictionary + TOGETHER * BLOCK + 1 - self.input.len();
            let (now, later) = input.split_at(input.len().min(room));
            self.input.extend_from_slice(now);
            input = later;
            if now.len() == room {
                self.encode(false, out);
            }
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.encode(true, out);
    }

    fn encode(&mut self, ends: bool, out: &mut Vec<u8>) {
        let (start, level) = (self.dictionary, self.level);
        let whole = self.input.len() - start - usize::from(!ends);
        let count = whole.div_ceil(BLOCK).max(1);
        let input = &self.input;
        let encode = |number: usize| {
            let from = start + number * BLOCK;
            let to = (from + BLOCK).min(start + whole);
            let last = ends && number + 1 == count;
            block(level, &input[from.saturating_sub(WINDOW)..from], &input[from..to], last)
        };
        let parts: Vec<Vec<u8>> = (0..count).into_par_iter().map(encode).collect();
        parts.iter().for_each(|part| out.extend_from_slice(part));
        let done = start + whole;
        let keep = done.min(WINDOW);
        self.input.drain(..done - keep);
        self.dictionary = keep;
    }
}

/// One block; all but the last end at a whole byte.
fn block(level: u8, dictionary: &[u8], input: &[u8], last: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stream = Deflate::new(Flavour::Zlib, level);
    stream.set_dictionary(dictionary);
    stream.push(input, &mut out);
    if last {
        stream.finish(&mut out);
    } else {
        stream.flush_block(&mut out);
        stream.blocks.align(&mut out);
    }
    out
}
