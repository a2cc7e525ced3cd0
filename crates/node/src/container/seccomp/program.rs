// SPDX-License-Identifier: Apache-2.0
//! A profile as a program of the kernel's classic BPF. Calls are found by their numbers in a tree, so that few
//! instructions decide each one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::profile::{Profile, Verdict};
use super::table;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Places in what a filter sees of a call; of the first argument only the lower half has a meaning to the calls here.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT_AT: u32 = 16;

const KILL_PROCESS: u32 = 0x8000_0000;
const ERROR: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = ERROR | libc::EPERM.unsigned_abs();
const ABSENT: u32 = ERROR | libc::ENOSYS.unsigned_abs();

/// One instruction, as the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub code: u16,
    pub if_true: u8,
    pub if_false: u8,
    pub value: u32,
}

/// The calls of one kind of processor.
pub(super) struct Architecture {
    /// `AUDIT_ARCH_...`.
    pub id: u32,
    /// Name and number of each call.
    pub calls: Vec<(&'static str, u32)>,
}

macro_rules! calls {
    ($module:ident) => {
        syscalls::$module::Sysno::iter().map(|call| (call.name(), call.id().unsigned_abs())).collect::<Vec<_>>()
    };
}

/// Calls of 32-bit ARM beside those of Linux.
#[cfg(any(test, target_arch = "aarch64"))]
pub(super) const ARM_ONLY: [(&str, u32); 3] =
    [("breakpoint", 0xf_0001), ("cacheflush", 0xf_0002), ("set_tls", 0xf_0005)];

/// The kinds of programs this machine runs: those of 64 bits first, then those of 32. The calls of x32 are numbers beyond
/// all others, and there are none.
pub(super) fn architectures() -> [Architecture; 2] {
    #[cfg(target_arch = "x86_64")]
    let kinds = [(0xc000_003e, calls!(x86_64)), (0x4000_0003, calls!(x86))];
    #[cfg(target_arch = "aarch64")]
    let kinds = [(0xc000_00b7, calls!(aarch64)), (0x4000_0028, [calls!(arm), ARM_ONLY.to_vec()].concat())];
    kinds.map(|(id, calls)| Architecture { id, calls })
}

/// The program of a profile, as crun takes it.
pub(crate) fn annotation(profile: &Profile) -> String {
    let bytes: Vec<u8> = compile(profile, &architectures()).iter().flat_map(|one| one.bytes()).collect();
    STANDARD.encode(bytes)
}

impl Instruction {
    fn bytes(&self) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (self.code.to_ne_bytes(), self.value.to_ne_bytes());
        [a, b, self.if_true, self.if_false, c, d, e, f]
    }
}

fn plain(code: u16, value: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, value }
}

/// The program of a profile.
pub(super) fn compile(profile: &Profile, architectures: &[Architecture]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCHITECTURE_AT)];
    for architecture in architectures {
        let block = block(profile, architecture);
        // Over the block, unless it is this one.
        program.push(Instruction { code: IF_EQUAL, if_true: 1, if_false: 0, value: architecture.id });
        program.push(plain(JUMP, block.len() as u32));
        program.extend(block);
    }
    program.push(plain(RETURN, KILL_PROCESS));
    program
}

fn block(profile: &Profile, architecture: &Architecture) -> Vec<Instruction> {
    let spans = spans(profile, &architecture.calls);
    [vec![plain(LOAD, NUMBER_AT)], tree(&spans)].concat()
}

/// Where each span of numbers with one verdict begins. What no call has is refused; what lies beyond all known calls is
/// of a newer kernel, and absent.
fn spans(profile: &Profile, calls: &[(&'static str, u32)]) -> Vec<(u32, Verdict)> {
    let mut calls: Vec<(u32, Verdict)> = calls.iter().map(|(name, number)| (*number, profile.verdict(name))).collect();
    calls.sort_unstable_by_key(|(number, _)| *number);
    let mut spans: Vec<(u32, Verdict)> = vec![(0, Verdict::Refuse)];
    let mut begin = |number: u32, verdict: Verdict| match spans.last_mut() {
        Some((_, last)) if *last == verdict => {}
        Some((start, last)) if *start == number => *last = verdict,
        _ => spans.push((number, verdict)),
    };
    let mut next = 0;
    for (number, verdict) in calls {
        if number > next {
            begin(next, Verdict::Refuse);
        }
        begin(number, verdict);
        next = number + 1;
    }
    begin(next, Verdict::Absent);
    spans
}

/// Decides between spans; the number of the call is loaded.
fn tree(spans: &[(u32, Verdict)]) -> Vec<Instruction> {
    let [(_, verdict)] = spans else {
        let (low, high) = spans.split_at(spans.len() / 2);
        let (value, low, high) = (high.first().map_or(0, |(start, _)| *start), tree(low), tree(high));
        let branch = match u8::try_from(low.len()) {
            Ok(over) => vec![Instruction { code: IF_AT_LEAST, if_true: over, if_false: 0, value }],
            Err(_) => {
                vec![Instruction { code: IF_AT_LEAST, if_true: 0, if_false: 1, value }, plain(JUMP, low.len() as u32)]
            }
        };
        return [branch, low, high].concat();
    };
    answer(*verdict)
}

fn answer(verdict: Verdict) -> Vec<Instruction> {
    let (allow, refuse) = (plain(RETURN, ALLOW), plain(RETURN, REFUSE));
    let load = plain(LOAD, FIRST_ARGUMENT_AT);
    let equal = |value, if_true| Instruction { code: IF_EQUAL, if_true, if_false: 0, value };
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Refuse => vec![refuse],
        Verdict::Absent => vec![plain(RETURN, ABSENT)],
        Verdict::NoNamespaces => vec![load, plain(AND, table::NAMESPACE_FLAGS), equal(0, 1), refuse, allow],
        Verdict::NoVsock => vec![load, equal(table::REFUSED_FAMILY, 1), allow, refuse],
        Verdict::HarmlessPersonality => {
            let known = table::PERSONALITIES;
            let each = known.iter().zip((1..=known.len() as u8).rev()).map(|(value, over)| equal(*value, over));
            std::iter::once(load).chain(each).chain([refuse, allow]).collect()
        }
    }
}
