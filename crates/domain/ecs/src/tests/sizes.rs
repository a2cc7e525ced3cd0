// SPDX-License-Identifier: Apache-2.0
//! Sizes of tasks: every pair, and every way to write one.
#![allow(clippy::unwrap_used)]

use expect_test::expect;
use serde_json::json;

use super::{World, fargate_definition, merged};

/// AWS's table: CPU units, and memory in MiB from, to and by steps of.
const TABLE: [(u32, u32, u32, u32); 8] = [
    (256, 512, 512, 512),
    (256, 1024, 2048, 1024),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

const CPUS: [u32; 10] = [128, 256, 384, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];

const MEMORY_MIB_MAX: usize = 128 * 1024;

fn is_in_table(cpu: u32, memory: u32) -> bool {
    TABLE
        .iter()
        .any(|(units, from, to, step)| *units == cpu && (*from..=*to).contains(&memory) && memory.is_multiple_of(*step))
}

/// Registers for Fargate with this size, and answers how that ends.
fn end(world: &World, cpu: &str, memory: &str) -> String {
    let request = merged(fargate_definition(), json!({"cpu": cpu, "memory": memory}));
    match world.decide("RegisterTaskDefinition", &request, &world.env()) {
        Ok(change) => {
            let shown = &change.reply["taskDefinition"];
            format!("{} {}", shown["cpu"].as_str().unwrap(), shown["memory"].as_str().unwrap())
        }
        Err(refusal) => refusal.to_string(),
    }
}

/// How the size in these units must end.
fn expected(cpu: u32, memory: u32) -> String {
    match is_in_table(cpu, memory) {
        true => format!("{cpu} {memory}"),
        false => format!(
            "ClientException: No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the \
             Amazon ECS documentation for the valid values."
        ),
    }
}

/// A number of 1/1024, as a decimal: `0.25`, `1`.
fn wholes(units: u32) -> String {
    (f64::from(units) / 1024.0).to_string()
}

#[test]
fn fargate_has_exactly_the_pairs_of_the_table() {
    let world = World::with_cluster();
    let mut accepted = 0;
    for cpu in CPUS {
        for memory in (0..=MEMORY_MIB_MAX).step_by(512) {
            let memory = u32::try_from(memory).unwrap();
            assert_eq!(end(&world, &cpu.to_string(), &memory.to_string()), expected(cpu, memory));
            accepted += usize::from(is_in_table(cpu, memory));
        }
        // Beside each step there is nothing.
        for memory in (512..=MEMORY_MIB_MAX).step_by(512).flat_map(|memory| [memory - 1, memory + 1]) {
            let memory = u32::try_from(memory).unwrap();
            assert_eq!(end(&world, &cpu.to_string(), &memory.to_string()), expected(cpu, memory));
        }
    }
    assert_eq!(accepted, 74);
}

#[test]
fn a_pair_is_the_same_in_every_form() {
    let world = World::with_cluster();
    for cpu in CPUS {
        let vcpus = wholes(cpu);
        let short = vcpus.trim_start_matches('0');
        let cpu_forms = [format!("{vcpus} vCPU"), format!("{vcpus}vcpu"), format!("{short} VCPU"), format!(" {cpu} ")];
        for memory in (512..=MEMORY_MIB_MAX).step_by(512) {
            let memory = u32::try_from(memory).unwrap();
            let gb = wholes(memory);
            let short = gb.trim_start_matches('0');
            let memory_forms = [format!("{gb}GB"), format!("{gb} GB"), format!("{short} gb"), format!("{short}Gb ")];
            // Every form meets every other one in the course of the steps.
            for (at, form) in cpu_forms.iter().enumerate() {
                let memory_form = &memory_forms[(at + memory as usize / 512) % memory_forms.len()];
                assert_eq!(end(&world, form, memory_form), expected(cpu, memory), "{form:?} {memory_form:?}");
            }
        }
    }
}

#[test]
fn a_size_is_understood_in_every_form_and_answered_in_one() {
    let mut world = World::with_cluster();
    let mut found = String::new();
    for (cpu, memory) in [
        ("256", "1024"),
        (".25vcpu", "1gb"),
        (".25 vCPU", "1 GB"),
        ("0.25 vcpu", "1.0 gb"),
        (" 256 ", "1 GB "),
        ("0.5 vCPU", "1GB"),
        ("1vcpu", ".5 GB"),
        ("-256", "512"),
        ("256.0", "512"),
        ("vcpu", "512"),
        (".0001 vcpu", "512"),
        ("9999999999", "512"),
        ("256", "512 MB"),
        ("256", ""),
    ] {
        let answer =
            world.call("RegisterTaskDefinition", merged(fargate_definition(), json!({"cpu": cpu, "memory": memory})));
        let shown = answer.map_or_else(
            |words| words,
            |answer| format!("{} {}", answer["taskDefinition"]["cpu"], answer["taskDefinition"]["memory"]),
        );
        found.push_str(&format!("{cpu:?} {memory:?}: {shown}\n"));
    }
    expect![[r#"
        "256" "1024": "256" "1024"
        ".25vcpu" "1gb": "256" "1024"
        ".25 vCPU" "1 GB": "256" "1024"
        "0.25 vcpu" "1.0 gb": "256" "1024"
        " 256 " "1 GB ": "256" "1024"
        "0.5 vCPU" "1GB": "512" "1024"
        "1vcpu" ".5 GB": ClientException: No Fargate configuration exists for given values: 1024 CPU, 512 memory. See the Amazon ECS documentation for the valid values.
        "-256" "512": ClientException: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        "256.0" "512": ClientException: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        "vcpu" "512": ClientException: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        ".0001 vcpu" "512": ClientException: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        "9999999999" "512": ClientException: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        "256" "512 MB": ClientException: Invalid 'memory' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
        "256" "": ClientException: Invalid 'memory' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
    "#]].assert_eq(&found);
}
