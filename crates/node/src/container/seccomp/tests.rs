// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use oci_spec::runtime::{Capability, LinuxSyscall};

use super::profile::Verdict;
use super::program::{Instruction, architectures, compile};
use super::*;

/// Calls whose verdict depends on an argument.
const BY_ARGUMENT: [&str; 3] = ["clone", "personality", "socket"];

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split_ascii_whitespace()
}

/// A table that Debian brings, for containers of Podman, as names by the capabilities they need: those without a condition
/// on an argument.
fn of_debian() -> Vec<(Option<String>, String)> {
    let text = std::fs::read("/usr/share/containers/seccomp.json")
        .expect("the package golang-github-containers-common is installed (scripts/prepare does so)");
    let table: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut found = Vec::new();
    for rule in table["syscalls"].as_array().unwrap() {
        let has_arguments = rule["args"].as_array().is_some_and(|arguments| !arguments.is_empty());
        if rule["action"] != "SCMP_ACT_ALLOW" || has_arguments {
            continue;
        }
        let capability = rule["includes"]["caps"][0].as_str().map(|name| name.trim_start_matches("CAP_").to_owned());
        let names = rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        found.extend(names.map(|name| (capability.clone(), name)));
    }
    found
}

/// Podman's containers have namespaces of users, in which many calls are harmless that are not in ours. They are refused
/// without the capability here, as by Docker.
const ONLY_DEBIAN: &str =
    "clone clone3 fsconfig fsmount fsopen fspick get_mempolicy keyctl mbind mount mount_setattr move_mount
    open_tree pidfd_getfd pivot_root reboot set_mempolicy setns syslog umount umount2 unshare
    fstatat64 readdir socket syscall timerfd query_module s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
    set_mempolicy_home_node sync_file_range2";

/// Calls of kernels newer than Debian's table, and those Docker allows by now.
const ONLY_OURS: &str = "cachestat fchmodat2 futex_requeue futex_wait futex_waitv futex_wake getxattrat io_pgetevents
    io_pgetevents_time64 listmount listxattrat map_shadow_stack mseal removexattrat setxattrat statmount uretprobe vmsplice";

#[test]
fn the_table_differs_from_debians_where_it_is_said() {
    let theirs = of_debian();
    let always = Profile::of(|_| false);
    let differs = |name: &str, list: &str| words(list).any(|word| word == name);
    for (capability, name) in &theirs {
        let ours = match capability {
            None => always.verdict(name),
            Some(capability) => Profile::of(|held| held.to_string() == *capability).verdict(name),
        };
        let is_allowed = ours == Verdict::Allow || BY_ARGUMENT.contains(&name.as_str());
        assert!(is_allowed || differs(name, ONLY_DEBIAN), "{name} with {capability:?} is refused");
        assert!(capability.is_none() || always.verdict(name) != Verdict::Allow, "{name} needs {capability:?}");
    }
    for name in &always.allowed {
        assert!(theirs.iter().any(|(_, known)| known == name) || differs(name, ONLY_OURS), "{name} is allowed");
    }
}

#[test]
fn every_name_is_a_call_of_some_processor_and_none_is_named_twice() {
    let known: BTreeSet<&str> = (syscalls::x86_64::Sysno::iter().map(|call| call.name()))
        .chain(syscalls::x86::Sysno::iter().map(|call| call.name()))
        .chain(syscalls::aarch64::Sysno::iter().map(|call| call.name()))
        .chain(syscalls::arm::Sysno::iter().map(|call| call.name()))
        .chain(super::program::ARM_ONLY.map(|(name, _)| name))
        .collect();
    for list in std::iter::once(table::ALWAYS).chain(table::WITH.map(|(_, names)| names)) {
        let names: Vec<&str> = words(list).collect();
        let unknown: Vec<&&str> = names.iter().filter(|name| !known.contains(**name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let is_conditional = |name: &&str| list == table::ALWAYS && BY_ARGUMENT.contains(name);
        assert!(!names.iter().any(is_conditional));
    }
}

/// Does what the kernel does with a filter.
fn run(program: &[Instruction], architecture: u32, number: u32, argument: u32) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let one = program[at];
        at += 1;
        let branch = |is_true: bool| usize::from(if is_true { one.if_true } else { one.if_false });
        match one.code {
            0x20 => accumulator = [number, architecture, 0, 0, argument, 0][one.value as usize / 4],
            0x54 => accumulator &= one.value,
            0x05 => at += one.value as usize,
            0x15 => at += branch(accumulator == one.value),
            0x35 => at += branch(accumulator >= one.value),
            0x06 => return one.value,
            other => panic!("{other:#x}"),
        }
    }
}

const ALLOWED: u32 = 0x7fff_0000;
const REFUSED: u32 = 0x0005_0001;
const ABSENT: u32 = 0x0005_0026;

#[test]
fn the_program_decides_each_number_of_each_processor_as_the_profile_does() {
    for held in [None, Some(Capability::SysAdmin), Some(Capability::SysTime)] {
        let profile = Profile::of(|capability| Some(capability) == held);
        let kinds = architectures();
        let program = compile(&profile, &kinds);
        assert!(program.len() < 4096, "the kernel takes no more");
        for kind in &kinds {
            let last = kind.calls.iter().map(|(_, number)| *number).max().unwrap();
            for number in 0..=last {
                let name = kind.calls.iter().find(|(_, known)| *known == number).map(|(name, _)| *name);
                let wanted = match name.map(|name| profile.verdict(name)) {
                    // Of these the argument is 0.
                    Some(Verdict::Allow | Verdict::NoNamespaces | Verdict::NoVsock | Verdict::HarmlessPersonality) => {
                        ALLOWED
                    }
                    Some(Verdict::Refuse) | None => REFUSED,
                    Some(Verdict::Absent) => ABSENT,
                };
                assert_eq!(run(&program, kind.id, number, 0), wanted, "{number}: {name:?} with {held:?}");
            }
            for beyond in [last + 1, 0x4000_0000, 0x4000_0001, u32::MAX] {
                assert_eq!(run(&program, kind.id, beyond, 0), ABSENT);
            }
        }
        assert_eq!(run(&program, 1, 0, 0), 0x8000_0000, "another processor");
    }
}

#[test]
fn arguments_decide_where_a_call_is_half_harmless() {
    let kinds = architectures();
    let program = compile(&Profile::of(|_| false), &kinds);
    for kind in &kinds {
        let decide = |name: &str, argument: u32| {
            let (_, number) = kind.calls.iter().find(|(known, _)| *known == name).unwrap();
            run(&program, kind.id, *number, argument)
        };
        assert_eq!(decide("clone", 0x0100_0011), ALLOWED, "a thread");
        for flag in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(decide("clone", flag | 0x11), REFUSED, "{flag:#x}");
        }
        assert_eq!((decide("socket", 2), decide("socket", 40)), (ALLOWED, REFUSED));
        assert_eq!((decide("personality", 0x2_0008), decide("personality", u32::MAX)), (ALLOWED, ALLOWED));
        assert_eq!(decide("personality", 0x0040_0000), REFUSED, "without random addresses");
    }
}

#[test]
fn both_forms_say_the_same() {
    for held in [None, Some(Capability::SysAdmin)] {
        let profile = Profile::of(|capability| Some(capability) == held);
        let written = profile.written(false).unwrap();
        let rules = written.syscalls().as_deref().unwrap();
        let names = |rule: &LinuxSyscall| rule.names().clone();
        let plain: BTreeSet<String> = rules.iter().filter(|rule| rule.args().is_none()).flat_map(names).collect();
        let allowed: BTreeSet<String> = profile.allowed.iter().map(|&name| name.to_owned()).collect();
        let absent = (profile.verdict("clone3") == Verdict::Absent).then(|| "clone3".to_owned());
        assert_eq!(plain, allowed.into_iter().chain(absent).collect());
        let conditional: BTreeSet<String> = rules.iter().filter(|rule| rule.args().is_some()).flat_map(names).collect();
        assert!(conditional.iter().all(|name| profile.verdict(name) != Verdict::Allow));
        assert_eq!(*written.flags(), None);
        assert_eq!(profile.written(true).unwrap().flags().as_ref().unwrap().len(), 2);
    }
}
