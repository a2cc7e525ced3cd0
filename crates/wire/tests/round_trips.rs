// SPDX-License-Identifier: Apache-2.0
//! Properties of encoding and decoding, for the input of every operation.
#![allow(clippy::unwrap_used)]

use berth_shapes::{Input, Slot, Structure, Timestamp, for_each_operation};
use berth_wire::{RequestParts, compose, decode, route};
use proptest::prelude::*;

/// A stream of random choices (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn text(&mut self) -> String {
        const ODD: &[&str] = &["a", "Z", " ", "+", "%", "&", "=", "é", "☃", "🚀", "\"", "\\", "\n", "<", ".", "0", ";"];
        (0..1 + self.below(6)).map(|_| ODD[self.below(ODD.len() as u64) as usize]).collect()
    }
}

fn fill(slot: Slot<'_>, dice: &mut Dice) {
    match slot {
        Slot::Text(value) => *value = dice.text(),
        Slot::Integer(value) => *value = dice.roll() as i32,
        Slot::Long(value) => *value = dice.roll() as i64,
        Slot::Double(value) => *value = dice.roll() as i32 as f64 / 8.0,
        Slot::Boolean(value) => *value = dice.below(2) == 0,
        Slot::Timestamp(value) => *value = Timestamp(dice.below(4_000_000_000_000) as i64),
        Slot::Blob(value) => *value = dice.text().into_bytes(),
        Slot::Structure(value) => fill_structure(value, dice, false),
        Slot::List(value) => (0..1 + dice.below(3)).for_each(|_| fill(value.push(), dice)),
        Slot::Map(value) => (0..1 + dice.below(3)).for_each(|_| {
            let key = dice.text();
            fill(value.entry(&key), dice);
        }),
    }
}

/// Every required member and some others. A structure gets at least one member: forms cannot express "empty".
fn fill_structure(structure: &mut dyn Structure, dice: &mut Dice, required: bool) {
    let members = structure.shape().members;
    let always = if members.is_empty() { 0 } else { dice.below(members.len() as u64) as usize };
    for (index, member) in members.iter().enumerate() {
        if index == always || (required && member.required) || dice.below(3) == 0 {
            fill(structure.slot(index).unwrap(), dice);
        }
    }
}

fn round_trip<I: Input + PartialEq + std::fmt::Debug>(seed: u64) {
    let mut input = I::default();
    fill_structure(&mut input, &mut Dice(seed), true);
    let request = compose(&input, "localhost").unwrap();
    let call = route(&RequestParts::of(&request)).unwrap();
    assert_eq!(call.operation.id, I::OPERATION);
    assert_eq!(decode::<I>(&call).as_ref(), Ok(&input));
}

macro_rules! round_trips {
    ($(($id:ident, $module:ident, $input:ident))*) => {
        fn round_trip_of_all(seed: u64) {
            $(round_trip::<berth_shapes::$module::$input>(seed);)*
        }

        fn read_with_all(body: &[u8]) {
            $(read::<berth_shapes::$module::$input>(body);)*
        }
    };
}
for_each_operation!(round_trips);

/// Decodes bytes as the body of an operation; they may be refused, but must not cause a panic.
fn read<I: Input>(body: &[u8]) {
    let row = I::OPERATION.row();
    let mut request = compose(&I::default(), "localhost").unwrap();
    let form = format!("Action={}&Version=2016-11-15&", row.name);
    let mut whole = if row.required_members.is_empty() && request.body().starts_with(b"Action") {
        form.into_bytes()
    } else {
        Vec::new()
    };
    whole.extend_from_slice(body);
    *request.body_mut() = whole.into();
    if let Ok(call) = route(&RequestParts::of(&request))
        && call.operation.id == I::OPERATION
        && let Err(refusal) = decode::<I>(&call)
    {
        assert!(!refusal.message.is_empty());
    }
}

/// A valid body with some bytes changed reaches deeper than random bytes do.
fn mutated<I: Input>(seed: u64) {
    let dice = &mut Dice(seed);
    let mut input = I::default();
    fill_structure(&mut input, dice, true);
    let mut request = compose(&input, "localhost").unwrap();
    let mut body = request.body().to_vec();
    for _ in 0..1 + dice.below(3) {
        if !body.is_empty() {
            let at = dice.below(body.len() as u64) as usize;
            body[at] = b"{}[]\",:.&=%10nt\xff"[dice.below(16) as usize];
        }
    }
    *request.body_mut() = body.into();
    if let Ok(call) = route(&RequestParts::of(&request))
        && call.operation.id == I::OPERATION
    {
        let _ = decode::<I>(&call);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reading_undoes_writing(seed: u64) {
        round_trip_of_all(seed);
    }

    #[test]
    fn readers_never_panic_on_noise(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_with_all(&body);
    }

    #[test]
    fn readers_never_panic_on_text(body in "[\\[\\]{}\":,.&=a-zA-Z0-9%]{0,120}") {
        read_with_all(body.as_bytes());
    }

    #[test]
    fn readers_never_panic_on_almost_valid_bodies(seed: u64) {
        mutated::<berth_shapes::ecs::RegisterTaskDefinitionRequest>(seed);
        mutated::<berth_shapes::ecs::RunTaskRequest>(seed);
        mutated::<berth_shapes::ec2::AuthorizeSecurityGroupIngressRequest>(seed);
        mutated::<berth_shapes::ec2::CreateNetworkInterfaceRequest>(seed);
    }
}
