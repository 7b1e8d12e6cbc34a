//! Blocks of deflate: Huffman codes for the symbols of a block, and the cheapest of the three ways to write it.

const LITERALS: usize = 256;
const LENGTH_CODES: usize = 29;
const SYMBOLS: usize = LITERALS + 1 + LENGTH_CODES;
const DISTANCE_CODES: usize = 30;
const CODE_LENGTHS: usize = 19;
const MAX_BITS: usize = 15;
const END: usize = 256;

const LENGTH_EXTRA: [u8; LENGTH_CODES] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const LENGTH_BASE: [u16; LENGTH_CODES] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
const DISTANCE_EXTRA: [u8; DISTANCE_CODES] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
/// The order in which the lengths of the code for code lengths are written.
const ORDER: [usize; CODE_LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// When a block is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// At so many symbols.
    pub(super) symbols: usize,
    /// Or so many back references.
    pub(super) distances: usize,
    /// Or earlier, when it compresses well though it has few back references.
    pub(super) early: bool,
}

/// A stream of blocks, one of them being filled.
pub(super) struct Blocks {
    limits: Limits,
    /// (distance, byte or length − 3); the distance of a literal is 0.
    symbols: Vec<(u16, u8)>,
    distances: usize,
    symbol_counts: [u16; SYMBOLS],
    distance_counts: [u16; DISTANCE_CODES],
    bits: Bits,
}

impl Blocks {
    pub(super) fn new(limits: Limits) -> Self {
        let mut blocks = Self {
            limits,
            symbols: Vec::with_capacity(limits.symbols),
            distances: 0,
            symbol_counts: [0; SYMBOLS],
            distance_counts: [0; DISTANCE_CODES],
            bits: Bits::default(),
        };
        blocks.clear();
        blocks
    }

    fn clear(&mut self) {
        self.symbols.clear();
        self.distances = 0;
        self.symbol_counts = [0; SYMBOLS];
        self.distance_counts = [0; DISTANCE_CODES];
        self.symbol_counts[END] = 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// Adds a byte; whether the block is full.
    pub(super) fn literal(&mut self, byte: u8) -> bool {
        self.symbols.push((0, byte));
        self.symbol_counts[usize::from(byte)] += 1;
        self.is_full()
    }

    /// Adds a back reference; whether the block is full.
    pub(super) fn back_reference(&mut self, distance: usize, length: usize) -> bool {
        let short = (length - 3) as u8;
        self.symbols.push((distance as u16, short));
        self.distances += 1;
        self.symbol_counts[LITERALS + 1 + length_code(short)] += 1;
        self.distance_counts[distance_code(distance as u16)] += 1;
        self.is_full()
    }

    fn is_full(&self) -> bool {
        self.symbols.len() == self.limits.symbols || self.distances == self.limits.distances
    }

    /// Whether it pays to end the block now, after `input` bytes: asked after each symbol, true seldom.
    pub(super) fn pays(&self, input: isize) -> bool {
        if !self.limits.early || self.symbols.len() & 0xfff != 0 {
            return false;
        }
        let extra = self.distance_counts.iter().zip(DISTANCE_EXTRA);
        let distances: usize =
            extra.map(|(count, extra)| usize::from(*count) * (5 + usize::from(extra))).sum();
        let output = (self.symbols.len() * 8 + distances) >> 3;
        self.distances < self.symbols.len() / 2 && (output as isize) < input / 2
    }

    /// Ends the block. `stored` is its input, unless that is not at hand any more.
    pub(super) fn end(&mut self, stored: Option<&[u8]>, last: bool, out: &mut Vec<u8>) {
        let mut cost = Cost::default();
        let symbols = Code::build(&self.symbol_counts, MAX_BITS, &mut cost, |symbol| {
            let extra = symbol.checked_sub(LITERALS + 1).map_or(0, |code| LENGTH_EXTRA[code]);
            (extra, fixed_length(symbol))
        });
        let distances =
            Code::build(&self.distance_counts, MAX_BITS, &mut cost, |code| (DISTANCE_EXTRA[code], 5));
        let lengths = Lengths::of(&symbols, &distances, &mut cost);
        let fixed = (cost.fixed + 3 + 7) >> 3;
        let dynamic = (cost.dynamic + 3 + 7) >> 3;
        let best = dynamic.min(fixed);
        let header = |kind: u32| (kind << 1) + u32::from(last);
        match stored {
            Some(stored) if stored.len() + 4 <= best => {
                self.bits.put(header(0), 3, out);
                self.bits.pad(out);
                let length = stored.len() as u16;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&(!length).to_le_bytes());
                out.extend_from_slice(stored);
            }
            _ if fixed == best => {
                self.bits.put(header(1), 3, out);
                self.write(&Code::fixed(288, fixed_length), &Code::fixed(DISTANCE_CODES, |_| 5), out);
            }
            _ => {
                self.bits.put(header(2), 3, out);
                lengths.write(&symbols, &distances, &mut self.bits, out);
                self.write(&symbols, &distances, out);
            }
        }
        if last {
            self.bits.pad(out);
        }
        self.clear();
    }

    fn write(&mut self, symbols: &Code, distances: &Code, out: &mut Vec<u8>) {
        let bits = &mut self.bits;
        for (distance, value) in &self.symbols {
            if *distance == 0 {
                symbols.put(usize::from(*value), bits, out);
                continue;
            }
            let code = length_code(*value);
            symbols.put(LITERALS + 1 + code, bits, out);
            let beyond = u32::from(*value) + 3 - u32::from(LENGTH_BASE[code]);
            bits.put(beyond, LENGTH_EXTRA[code], out);
            let code = distance_code(*distance);
            distances.put(code, bits, out);
            let beyond = u32::from(*distance - 1) - distance_base(code);
            bits.put(beyond, DISTANCE_EXTRA[code], out);
        }
        symbols.put(END, bits, out);
    }

    /// Goes to a whole byte as pigz does: by empty fixed blocks of ten bits, or by an empty stored one.
    pub(super) fn align(&mut self, out: &mut Vec<u8>) {
        if self.bits.count % 2 == 1 {
            self.bits.put(0, 3, out);
            self.bits.pad(out);
            out.extend_from_slice(&[0, 0, 0xff, 0xff]);
        }
        while self.bits.count != 0 {
            self.bits.put(2, 10, out);
        }
    }
}

/// The length of a symbol's code in a fixed block.
fn fixed_length(symbol: usize) -> u8 {
    match symbol {
        0..=143 | 280.. => 8,
        144..=255 => 9,
        256..=279 => 7,
    }
}

fn length_code(short: u8) -> usize {
    match short {
        0..=7 => usize::from(short),
        255 => 28,
        _ => {
            let bits = 7 - short.leading_zeros() as usize;
            (bits - 1) * 4 + ((usize::from(short) >> (bits - 2)) & 3)
        }
    }
}

fn distance_code(distance: u16) -> usize {
    let before = distance - 1;
    if before < 4 {
        return usize::from(before);
    }
    let bits = 15 - before.leading_zeros() as usize;
    bits * 2 + ((usize::from(before) >> (bits - 1)) & 1)
}

fn distance_base(code: usize) -> u32 {
    match code {
        0..=3 => code as u32,
        _ => (2 + (code as u32 & 1)) << (code / 2 - 1),
    }
}

/// What a block costs in bits, after its header of three.
#[derive(Default)]
struct Cost {
    dynamic: usize,
    fixed: usize,
}

/// A Huffman code.
struct Code {
    lengths: Vec<u8>,
    codes: Vec<u16>,
    /// The last symbol that has a code.
    last: usize,
}

impl Code {
    /// The code for `counts`, no longer than `most` bits. `price` gives a symbol's extra bits and its fixed length.
    fn build(counts: &[u16], most: usize, cost: &mut Cost, price: impl Fn(usize) -> (u8, u8)) -> Self {
        let mut tree = Tree::new(counts);
        // Two codes at least: a decoder may rely on it.
        while tree.heap.len() < 2 {
            let symbol =
                if tree.last.is_none_or(|last| last < 2) { tree.last.map_or(0, |last| last + 1) } else { 0 };
            if tree.last.is_none_or(|last| last < 2) {
                tree.last = Some(symbol);
            }
            tree.counts[symbol] = 1;
            tree.heap.push(symbol);
            cost.dynamic = cost.dynamic.wrapping_sub(1);
            cost.fixed = cost.fixed.wrapping_sub(usize::from(price(symbol).1));
        }
        let lengths = tree.lengths(most);
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let (extra, fixed) = price(symbol);
            let count = usize::from(tree.counts[symbol]);
            cost.dynamic = cost.dynamic.wrapping_add(count * usize::from(length + extra));
            cost.fixed = cost.fixed.wrapping_add(count * usize::from(fixed + extra));
        }
        Self { codes: codes(&lengths), last: tree.last.unwrap_or(0), lengths }
    }

    fn fixed(count: usize, length: impl Fn(usize) -> u8) -> Self {
        let lengths: Vec<u8> = (0..count).map(length).collect();
        Self { codes: codes(&lengths), last: count - 1, lengths }
    }

    fn put(&self, symbol: usize, bits: &mut Bits, out: &mut Vec<u8>) {
        bits.put(u32::from(self.codes[symbol]), self.lengths[symbol], out);
    }
}

/// Canonical codes, bits reversed as they are written.
fn codes(lengths: &[u8]) -> Vec<u16> {
    let mut counts = [0_u16; MAX_BITS + 1];
    lengths.iter().filter(|length| **length > 0).for_each(|length| counts[usize::from(*length)] += 1);
    let mut next = [0_u16; MAX_BITS + 1];
    for bits in 1..=MAX_BITS {
        next[bits] = (next[bits - 1] + counts[bits - 1]) << 1;
    }
    let code = |length: &u8| {
        let length = usize::from(*length);
        if length == 0 {
            return 0;
        }
        next[length] += 1;
        (next[length] - 1).reverse_bits() >> (16 - length)
    };
    lengths.iter().map(code).collect()
}

/// A Huffman tree being built. Ties are broken by depth, then by the heap's order: that is part of the bytes.
struct Tree {
    counts: Vec<u16>,
    depths: Vec<u8>,
    parents: Vec<usize>,
    heap: Vec<usize>,
    leaves: usize,
    last: Option<usize>,
}

impl Tree {
    fn new(counts: &[u16]) -> Self {
        let leaves = counts.len();
        let heap: Vec<usize> = (0..leaves).filter(|symbol| counts[*symbol] > 0).collect();
        let mut all = counts.to_vec();
        all.resize(2 * leaves, 0);
        let last = heap.last().copied();
        Self { counts: all, depths: vec![0; 2 * leaves], parents: vec![0; 2 * leaves], heap, leaves, last }
    }

    fn smaller(&self, a: usize, b: usize) -> bool {
        (self.counts[a], self.depths[a]) <= (self.counts[b], self.depths[b])
    }

    fn sift(&mut self, mut at: usize) {
        let node = self.heap[at];
        loop {
            let mut child = 2 * at + 1;
            let Some(left) = self.heap.get(child).copied() else { break };
            let mut smallest = left;
            if let Some(right) = self.heap.get(child + 1).copied()
                && self.smaller(right, left)
            {
                (child, smallest) = (child + 1, right);
            }
            if self.smaller(node, smallest) {
                break;
            }
            self.heap[at] = smallest;
            at = child;
        }
        self.heap[at] = node;
    }

    fn pop(&mut self) -> usize {
        let top = self.heap.swap_remove(0);
        if !self.heap.is_empty() {
            self.sift(0);
        }
        top
    }

    /// The length of each symbol's code; those over `most` bits are shortened at the cost of others.
    fn lengths(&mut self, most: usize) -> Vec<u8> {
        for at in (0..self.heap.len() / 2).rev() {
            self.sift(at);
        }
        // Nodes in the order in which they were joined: parents after children.
        let mut joined = Vec::with_capacity(2 * self.leaves);
        let mut node = self.leaves;
        while self.heap.len() >= 2 {
            let a = self.pop();
            let b = self.heap[0];
            joined.extend([a, b]);
            self.counts[node] = self.counts[a] + self.counts[b];
            self.depths[node] = self.depths[a].max(self.depths[b]) + 1;
            (self.parents[a], self.parents[b]) = (node, node);
            self.heap[0] = node;
            self.sift(0);
            node += 1;
        }
        let mut lengths = vec![0_u8; 2 * self.leaves];
        let mut counts = vec![0_usize; most + 1];
        let mut over = 0_isize;
        for node in joined.iter().rev() {
            let wanted = usize::from(lengths[self.parents[*node]]) + 1;
            over += isize::from(wanted > most);
            lengths[*node] = wanted.min(most) as u8;
            if *node < self.leaves {
                counts[wanted.min(most)] += 1;
            }
        }
        if over > 0 {
            while over > 0 {
                let mut bits = most - 1;
                while counts[bits] == 0 {
                    bits -= 1;
                }
                counts[bits] -= 1;
                counts[bits + 1] += 2;
                counts[most] -= 1;
                over -= 2;
            }
            // The rarest symbols get the longest codes.
            let mut leaves = joined.iter().filter(|node| **node < self.leaves);
            for bits in (1..=most).rev() {
                for node in leaves.by_ref().take(counts[bits]) {
                    lengths[*node] = bits as u8;
                }
            }
        }
        lengths.truncate(self.leaves);
        lengths
    }
}

/// The lengths of two codes, run-length coded, and the code for that.
struct Lengths {
    code: Code,
    count: usize,
}

impl Lengths {
    fn of(symbols: &Code, distances: &Code, cost: &mut Cost) -> Self {
        let mut counts = [0_u16; CODE_LENGTHS];
        for code in [symbols, distances] {
            runs(&code.lengths[..=code.last], |symbol, _, _| counts[symbol] += 1);
        }
        let extra = |symbol: usize| (symbol.checked_sub(16).map_or(0, |at| [2, 3, 7][at]), 0);
        let mut own = Cost::default();
        let code = Code::build(&counts, 7, &mut own, extra);
        let count =
            ORDER.iter().rposition(|symbol| code.lengths[*symbol] > 0).map_or(4, |at| (at + 1).max(4));
        cost.dynamic = cost.dynamic.wrapping_add(own.dynamic).wrapping_add(3 * count + 5 + 5 + 4);
        Self { code, count }
    }

    fn write(&self, symbols: &Code, distances: &Code, bits: &mut Bits, out: &mut Vec<u8>) {
        bits.put((symbols.last + 1 - 257) as u32, 5, out);
        bits.put(distances.last as u32, 5, out);
        bits.put((self.count - 4) as u32, 4, out);
        for symbol in &ORDER[..self.count] {
            bits.put(u32::from(self.code.lengths[*symbol]), 3, out);
        }
        for code in [symbols, distances] {
            runs(&code.lengths[..=code.last], |symbol, value, extra| {
                self.code.put(symbol, bits, out);
                bits.put(value, extra, out);
            });
        }
    }
}

/// Goes through code lengths: each is itself, or 16 (the one before, 3 to 6 times), 17 or 18 (zeros, 3 to 10 or 11 to
/// 138 times), with the count in extra bits.
fn runs(lengths: &[u8], mut emit: impl FnMut(usize, u32, u8)) {
    let mut before = None;
    let mut rest = lengths;
    while let Some(length) = rest.first().copied() {
        let (most, least) = match (length, before == Some(length)) {
            (0, _) => (138, 3),
            (_, true) => (6, 3),
            (_, false) => (7, 4),
        };
        let count = rest.iter().take(most).take_while(|other| **other == length).count();
        rest = &rest[count..];
        let symbol = usize::from(length);
        if count < least {
            (0..count).for_each(|_| emit(symbol, 0, 0));
        } else if length == 0 {
            if count <= 10 { emit(17, count as u32 - 3, 3) } else { emit(18, count as u32 - 11, 7) }
        } else {
            let again = if before == Some(length) {
                count
            } else {
                emit(symbol, 0, 0);
                count - 1
            };
            emit(16, again as u32 - 3, 2);
        }
        before = Some(length);
    }
}

/// Bits on their way into bytes, the lowest first.
#[derive(Default)]
struct Bits {
    value: u64,
    count: u8,
}

impl Bits {
    fn put(&mut self, value: u32, count: u8, out: &mut Vec<u8>) {
        self.value |= u64::from(value) << self.count;
        self.count += count;
        while self.count >= 8 {
            out.push(self.value as u8);
            self.value >>= 8;
            self.count -= 8;
        }
    }

    /// Fills the byte up with zeros.
    fn pad(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            out.push(self.value as u8);
        }
        (self.value, self.count) = (0, 0);
    }
}
