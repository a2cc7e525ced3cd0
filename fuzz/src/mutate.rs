// SPDX-License-Identifier: Apache-2.0
//! Derives inputs from inputs by changes of bytes, words and numbers; the same seed always gives the same inputs.
//!
//! Not here: coverage guidance, which libFuzzer provides.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Longest input.
pub const BYTES_MAX: usize = 16 * 1024;

/// Possible numbers of changes for one input.
const CHANGES_LOG_MAX: u32 = 3;

/// Numbers at the limits of types, ports, prefixes and settings.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "31",
    "32",
    "128",
    "255",
    "65535",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "1e999",
    "0.1",
];

/// A generator of inputs for a target.
pub struct Mutator<'a> {
    inputs: &'a [Vec<u8>],
    words: &'a [Vec<u8>],
    random: ChaCha8Rng,
}

impl<'a> Mutator<'a> {
    /// Starts from these inputs and words; the seed determines everything else.
    pub fn new(inputs: &'a [Vec<u8>], words: &'a [Vec<u8>], seed: u64) -> Self {
        Self { inputs, words, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.inputs.choose(&mut self.random).cloned().unwrap_or_default();
        // Half of the inputs keep their form, and so reach code behind the parser.
        let keeps_form = self.random.random_bool(0.5);
        for _ in 0..1 << self.random.random_range(0..=CHANGES_LOG_MAX) {
            let at = self.random.random_range(0..=input.len());
            match keeps_form {
                true if self.random.random_bool(0.3) => self.renumber(&mut input, at),
                true => self.replace(&mut input, at),
                false => self.change(&mut input, at),
            }
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, at: usize) {
        let end = self.random.random_range(at..=input.len().min(at + 32));
        match self.random.random_range(0..10) {
            0 if at < input.len() => input[at] ^= 1 << self.random.random_range(0..8),
            1 if at < input.len() => input[at] = self.random.random(),
            2 => drop(input.drain(at..end)),
            3 => input.extend_from_within(at..end),
            4 => {
                let piece = input[at..end].to_vec();
                let times = self.random.random_range(1..=64);
                input.splice(at..at, piece.repeat(times));
            }
            5 => self.splice(input, at),
            6 => self.renumber(input, at),
            7 => self.replace(input, at),
            _ => {
                if let Some(word) = self.words.choose(&mut self.random) {
                    input.splice(at..at, word.iter().copied());
                }
            }
        }
    }

    /// Replaces the rest by a piece of another input.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(other) = self.inputs.choose(&mut self.random) else { return };
        let from = self.random.random_range(0..=other.len());
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    }

    /// Replaces the next number.
    fn renumber(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(first) = input[at..].iter().position(u8::is_ascii_digit).map(|offset| at + offset) else { return };
        let length = input[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS.choose(&mut self.random).copied().unwrap_or_default();
        input.splice(first..first + length, number.bytes());
    }

    /// Replaces the next text in quotation marks by a word, or the next word where there is no such text.
    fn replace(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(word) = self.words.choose(&mut self.random) else { return };
        let find =
            |from: usize, sought: fn(&u8) -> bool| input[from..].iter().position(sought).map(|offset| from + offset);
        let quotes =
            find(at, |byte| *byte == b'"').and_then(|open| Some((open, find(open + 1, |byte| *byte == b'"')?)));
        let (from, to) = match quotes {
            Some((open, close)) => (open + 1, close),
            None => {
                let from = find(at, |byte| b" &=\n".contains(byte)).map_or(at, |before| before + 1);
                (from, find(from, |byte| b" &=\n".contains(byte)).unwrap_or(input.len()))
            }
        };
        let word: Vec<u8> = word.iter().copied().filter(|byte| *byte != b'"').collect();
        input.splice(from..to, word);
    }
}
