//! Sizes of tasks: every pair, and every way to write one.

use expect_test::expect;
use serde_json::json;

use super::{World, fargate_definition, merged};
use crate::ecs::register_task_definition;

#[test]
fn fargate_has_exactly_the_pairs_of_the_table() {
    let mut world = World::new();
    let mut found = String::new();
    for cpu in [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768] {
        let mut accepted: Vec<u32> = Vec::new();
        for memory in (256..=131_072).step_by(256) {
            let request = merged(fargate_definition(), json!({"cpu": cpu.to_string(), "memory": memory.to_string()}));
            match world.write(register_task_definition, request) {
                Ok(_) => accepted.push(memory),
                Err(words) => assert_eq!(
                    words,
                    format!(
                        "ClientException: No Fargate configuration exists for given values: {cpu} CPU, {memory} \
                         memory. See the Amazon ECS documentation for the valid values."
                    )
                ),
            }
        }
        found.push_str(&format!("{cpu}: {} {accepted:?}\n", accepted.len()));
    }
    expect![[r#"
        128: 0 []
        256: 3 [512, 1024, 2048]
        512: 4 [1024, 2048, 3072, 4096]
        1024: 7 [2048, 3072, 4096, 5120, 6144, 7168, 8192]
        2048: 13 [4096, 5120, 6144, 7168, 8192, 9216, 10240, 11264, 12288, 13312, 14336, 15360, 16384]
        4096: 23 [8192, 9216, 10240, 11264, 12288, 13312, 14336, 15360, 16384, 17408, 18432, 19456, 20480, 21504, 22528, 23552, 24576, 25600, 26624, 27648, 28672, 29696, 30720]
        8192: 12 [16384, 20480, 24576, 28672, 32768, 36864, 40960, 45056, 49152, 53248, 57344, 61440]
        16384: 12 [32768, 40960, 49152, 57344, 65536, 73728, 81920, 90112, 98304, 106496, 114688, 122880]
        32768: 0 []
    "#]].assert_eq(&found);
}

#[test]
fn a_size_is_understood_in_every_form_and_answered_in_one() {
    let mut world = World::new();
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
            world.write(register_task_definition, merged(fargate_definition(), json!({"cpu": cpu, "memory": memory})));
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
