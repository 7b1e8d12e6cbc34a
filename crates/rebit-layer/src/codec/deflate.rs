//! The deflate encoders of zlib, of GNU gzip and of pigz, as functions of their input.
//!
//! Layers that came from outside were compressed by somebody's zlib or gzip. To give such a blob back without
//! keeping it, its compressor has to be run again, and the one that is installed may be another one by then. So it is
//! written here once more, and frozen: hash chains over a window of 32 KiB, greedy (levels 1 to 3) or lazy (4 to 9)
//! matching by the well-known table of efforts, blocks coded in the cheapest of the three ways. The two families
//! are the same but for when they end a block and what they do in the last few bytes ([`Flavour`]).
//!
//! The bytes depend on nothing but the input and the level: not on the sizes of writes, since nothing is matched before
//! the window is full or the input ends. They are part of the recipe format (`docs/format/recipe.md`).

mod block;
mod pigz;

pub(crate) use pigz::Pigz;

use block::{Blocks, Limits};

const WINDOW: usize = 1 << 15;
const MASK: usize = WINDOW - 1;
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 258;
/// Matching needs that much input ahead, unless there is no more.
const AHEAD: usize = MAX_MATCH + MIN_MATCH + 1;
/// The furthest match.
const MAX_DISTANCE: usize = WINDOW - AHEAD;
/// A match of three bytes further back than this costs more than its bytes.
const TOO_FAR: usize = 4096;

/// Whose encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// zlib 1.2 and 1.3, as most libraries and languages have it.
    Zlib,
    /// GNU gzip 1.x.
    Gnu,
}

/// How hard a level tries: (good, lazy, nice, chain).
///
/// A match of `good` bytes quarters the search for a better one, one of `lazy` ends it (greedy levels: the most bytes
/// of a match that are entered into the chains), one of `nice` is taken at once; `chain` places are looked at.
const EFFORTS: [(usize, usize, usize, usize); 9] = [
    (4, 4, 8, 4),
    (4, 5, 16, 8),
    (4, 6, 32, 32),
    (4, 4, 16, 16),
    (8, 16, 32, 32),
    (8, 16, 128, 128),
    (8, 32, 128, 256),
    (32, 128, 258, 1024),
    (32, 258, 258, 4096),
];

/// One raw deflate stream being made.
pub(crate) struct Deflate {
    flavour: Flavour,
    level: u8,
    effort: (usize, usize, usize, usize),
    /// Two windows: the upper half is moved down when the whole has been matched.
    window: Box<[u8]>,
    /// The latest place of each hash, and the place before each place; 0 is none.
    head: Box<[u16]>,
    previous: Box<[u16]>,
    /// The place being matched, and how many bytes are known from there on.
    at: usize,
    ahead: usize,
    /// Where the block began; negative once that was moved out.
    block_start: isize,
    /// Places before `at` that are not in the chains yet, since what follows them was not known.
    unhashed: usize,
    match_start: usize,
    match_length: usize,
    previous_length: usize,
    available: bool,
    blocks: Blocks,
}

impl Deflate {
    /// A stream of `level` 1 to 9.
    pub(crate) fn new(flavour: Flavour, level: u8) -> Self {
        let limits = match flavour {
            Flavour::Zlib => Limits { symbols: 16383, distances: usize::MAX, early: false },
            Flavour::Gnu => Limits { symbols: 32767, distances: 32768, early: level > 2 },
        };
        Self {
            flavour,
            level,
            effort: EFFORTS[usize::from(level.clamp(1, 9) - 1)],
            window: vec![0; 2 * WINDOW + AHEAD].into(),
            head: vec![0; WINDOW].into(),
            previous: vec![0; WINDOW].into(),
            at: 0,
            ahead: 0,
            block_start: 0,
            unhashed: 0,
            match_start: 0,
            match_length: MIN_MATCH - 1,
            previous_length: MIN_MATCH - 1,
            available: false,
            blocks: Blocks::new(limits),
        }
    }

    /// Lets matches reach back into `dictionary`, at most a window of bytes before the stream.
    fn set_dictionary(&mut self, dictionary: &[u8]) {
        let dictionary = &dictionary[dictionary.len().saturating_sub(WINDOW)..];
        self.window[..dictionary.len()].copy_from_slice(dictionary);
        let known = dictionary.len().saturating_sub(MIN_MATCH - 1);
        for place in 0..known {
            self.insert(place);
        }
        (self.at, self.block_start) = (dictionary.len(), dictionary.len() as isize);
        self.unhashed = dictionary.len() - known;
    }

    /// Takes input; `out` gets the blocks that it completes.
    pub(crate) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            let end = self.at + self.ahead;
            let (now, later) = input.split_at(input.len().min(2 * WINDOW - end));
            self.window[end..end + now.len()].copy_from_slice(now);
            self.ahead += now.len();
            input = later;
            if self.at + self.ahead == 2 * WINDOW {
                self.hash_unhashed();
                self.run(false, out);
                self.slide();
            }
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.rest(out);
        self.end_block(true, out);
    }

    /// Matches all input there is, and ends the block unless it is empty.
    fn flush_block(&mut self, out: &mut Vec<u8>) {
        self.rest(out);
        if !self.blocks.is_empty() {
            self.end_block(false, out);
        }
    }

    fn rest(&mut self, out: &mut Vec<u8>) {
        self.hash_unhashed();
        self.run(false, out);
        if self.at >= WINDOW + MAX_DISTANCE {
            self.slide();
        }
        // gzip clears two bytes behind the input, so that hashes of what is not there are the same each time.
        let end = self.at + self.ahead;
        self.window[end..end + MIN_MATCH - 1].fill(0);
        self.run(true, out);
        if std::mem::take(&mut self.available) {
            self.blocks.literal(self.window[self.at - 1]);
        }
    }

    fn run(&mut self, ends: bool, out: &mut Vec<u8>) {
        while self.ahead >= AHEAD || (ends && self.ahead > 0) {
            if self.flavour == Flavour::Zlib && self.ahead < AHEAD && self.at >= WINDOW + MAX_DISTANCE {
                self.slide();
            }
            if self.level < 4 { self.greedy(out) } else { self.lazy(out) }
        }
    }

    fn greedy(&mut self, out: &mut Vec<u8>) {
        let place = self.chain();
        if self.may_match(place) {
            self.match_length = self.longest(place);
        }
        let full;
        if self.match_length >= MIN_MATCH {
            let length = self.match_length;
            full = self.tally_match(self.at - self.match_start, length);
            self.ahead -= length;
            let enough = self.flavour == Flavour::Gnu || self.ahead >= MIN_MATCH;
            if length <= self.effort.1 && enough {
                for place in self.at + 1..self.at + length {
                    self.insert(place);
                }
            }
            self.at += length;
            self.match_length = 0;
        } else {
            full = self.blocks.literal(self.window[self.at])
                || self.blocks.pays(self.at as isize - self.block_start);
            self.ahead -= 1;
            self.at += 1;
        }
        if full {
            self.end_block(false, out);
        }
    }

    fn lazy(&mut self, out: &mut Vec<u8>) {
        let place = self.chain();
        let (previous_length, previous_match) = (self.match_length, self.match_start);
        self.previous_length = previous_length;
        self.match_length = MIN_MATCH - 1;
        if previous_length < self.effort.1 && self.may_match(place) {
            self.match_length = self.longest(place);
            if self.match_length == MIN_MATCH && self.at - self.match_start > TOO_FAR {
                self.match_length = MIN_MATCH - 1;
            }
        }
        if previous_length >= MIN_MATCH && self.match_length <= previous_length {
            let last = (self.at + self.ahead).saturating_sub(MIN_MATCH);
            let full = self.tally_match(self.at - 1 - previous_match, previous_length);
            for place in self.at + 1..self.at + previous_length - 1 {
                if self.flavour == Flavour::Gnu || place <= last {
                    self.insert(place);
                }
            }
            self.ahead -= previous_length - 1;
            self.at += previous_length - 1;
            self.available = false;
            self.match_length = MIN_MATCH - 1;
            if full {
                self.end_block(false, out);
            }
            return;
        }
        if self.available {
            let full = self.blocks.literal(self.window[self.at - 1])
                || self.blocks.pays(self.at as isize - self.block_start);
            if full {
                self.end_block(false, out);
            }
        }
        self.available = true;
        self.at += 1;
        self.ahead -= 1;
    }

    fn tally_match(&mut self, distance: usize, length: usize) -> bool {
        let full = self.blocks.back_reference(distance, length);
        full || self.blocks.pays(self.at as isize - self.block_start)
    }

    /// Enters the place being matched into the chains; returns the place before it with the same hash.
    fn chain(&mut self) -> usize {
        if self.flavour == Flavour::Zlib && self.ahead < MIN_MATCH {
            return 0;
        }
        self.insert(self.at)
    }

    fn insert(&mut self, place: usize) -> usize {
        let Some([a, b, c]) = self.window.get(place..place + 3) else { return 0 };
        let hash = ((usize::from(*a) << 10) ^ (usize::from(*b) << 5) ^ usize::from(*c)) & MASK;
        let before = std::mem::replace(&mut self.head[hash], place as u16);
        self.previous[place & MASK] = before;
        usize::from(before)
    }

    fn hash_unhashed(&mut self) {
        while self.unhashed > 0 && self.ahead + self.unhashed >= MIN_MATCH {
            self.insert(self.at - self.unhashed);
            self.unhashed -= 1;
        }
    }

    fn may_match(&self, place: usize) -> bool {
        let room = self.flavour == Flavour::Zlib || self.at <= 2 * WINDOW - AHEAD;
        place != 0 && self.at - place <= MAX_DISTANCE && room
    }

    /// The longest match among the places chained to `place`, no longer than the input.
    fn longest(&mut self, mut place: usize) -> usize {
        let (good, _, mut nice, mut chain) = self.effort;
        let mut best = self.previous_length;
        if best >= good {
            chain >>= 2;
        }
        if self.flavour == Flavour::Zlib {
            nice = nice.min(self.ahead);
        }
        let limit = self.at.saturating_sub(MAX_DISTANCE);
        let window = &self.window[..2 * WINDOW + AHEAD];
        let Some(scan) = window.get(self.at..self.at + MAX_MATCH) else { return MIN_MATCH - 1 };
        let mut end = [scan[best - 1], scan[best]];
        loop {
            let last = place + best;
            // Most places fail at the end of what is to be beaten.
            if window[last] == end[1]
                && window[last - 1] == end[0]
                && window[place] == scan[0]
                && let Some(candidate) = window.get(place..place + MAX_MATCH)
            {
                let length = common(candidate, scan);
                if length > best {
                    self.match_start = place;
                    best = length;
                    if length >= nice {
                        break;
                    }
                    end = [scan[best - 1], scan[best]];
                }
            }
            place = usize::from(self.previous[place & MASK]);
            chain -= 1;
            if place <= limit || chain == 0 {
                break;
            }
        }
        best.min(self.ahead)
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW..2 * WINDOW, 0);
        self.at -= WINDOW;
        self.match_start = self.match_start.wrapping_sub(WINDOW);
        self.block_start -= WINDOW as isize;
        for place in self.head.iter_mut().chain(self.previous.iter_mut()) {
            *place = place.saturating_sub(WINDOW as u16);
        }
    }

    fn end_block(&mut self, last: bool, out: &mut Vec<u8>) {
        let start = usize::try_from(self.block_start).ok();
        let stored = start.map(|start| &self.window[start..self.at]);
        self.blocks.end(stored, last, out);
        self.block_start = self.at as isize;
    }
}

/// How many bytes two stretches of [`MAX_MATCH`] bytes have in common at their start.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    for (at, (a, b)) in a_words.iter().zip(b_words).enumerate() {
        let different = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if different != 0 {
            return at * 8 + different.trailing_zeros() as usize / 8;
        }
    }
    a_words.len() * 8 + a_rest.iter().zip(b_rest).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
pub(crate) mod tests;
