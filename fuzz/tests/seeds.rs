// SPDX-License-Identifier: Apache-2.0
//! Every target with its corpus, and with inputs derived from it with fixed seeds.
//!
//! A failure names target, seed and number, and prints the input in hex. To keep an input, put it into
//! `fuzz/corpus/TARGET/`: `xxd -r -p`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use berth_fuzz::mutate::Mutator;
use berth_fuzz::{corpus, target};

const SEEDS: [u64; 4] = [1, 2, 3, 4];

#[track_caller]
fn check(name: &str, inputs_per_seed: usize) {
    let target = target(name).unwrap();
    let files = corpus::inputs(name).unwrap();
    assert!(files.len() >= 3, "corpus/{name} has too few inputs to begin with");
    for (file, input) in &files {
        run(target.run, input, || format!("corpus/{name}/{file}"));
    }
    let inputs: Vec<Vec<u8>> = files.into_iter().map(|(_, input)| input).collect();
    let words = corpus::words(name).unwrap();
    for seed in SEEDS {
        let mut mutator = Mutator::new(&inputs, &words, seed);
        for number in 0..inputs_per_seed {
            let input = mutator.input();
            run(target.run, &input, || format!("target {name}, seed {seed}, input {number}"));
        }
    }
}

#[track_caller]
fn run(law: fn(&[u8]), input: &[u8], what: impl Fn() -> String) {
    if catch_unwind(AssertUnwindSafe(|| law(input))).is_err() {
        let hex = input.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        panic!("{} breaks a law (above); in hex:\n{hex}", what());
    }
}

#[test]
fn requests_are_decoded_or_refused_in_aws_forms() {
    check("wire", 3000);
}

#[test]
fn task_definitions_come_back_as_they_were_registered() {
    check("task-definition", 5000);
}

#[test]
fn expressions_and_their_negations_divide_the_instances() {
    check("expression", 3000);
}

#[test]
fn plans_of_plugins_come_to_an_end() {
    check("cni", 10_000);
}

#[test]
fn image_documents_name_their_blobs_by_digests() {
    check("manifest", 5000);
}

#[test]
fn the_verdict_header_agrees_with_the_plain_reading() {
    check("verdict", 1200);
}
