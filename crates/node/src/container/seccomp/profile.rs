// SPDX-License-Identifier: Apache-2.0
//! The system calls of a container, in runc's form: by names.

use std::collections::BTreeSet;

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};

use super::table;

/// The decision about a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The call is made.
    Allow,
    /// The call fails with EPERM.
    Refuse,
    /// The call fails with ENOSYS, so that the caller tries an older one.
    Absent,
    /// `clone`: refused with a flag that makes a namespace.
    NoNamespaces,
    /// `socket`: refused for [`table::REFUSED_FAMILY`].
    NoVsock,
    /// `personality`: refused but for [`table::PERSONALITIES`].
    HarmlessPersonality,
}

/// The system calls that a container may make.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(super) allowed: BTreeSet<&'static str>,
}

impl Profile {
    /// The profile of a container with these capabilities.
    pub fn of(has: impl Fn(Capability) -> bool) -> Self {
        let with = table::WITH.iter().filter(|(capability, _)| has(*capability)).map(|(_, names)| *names);
        let allowed = std::iter::once(table::ALWAYS).chain(with).flat_map(str::split_ascii_whitespace).collect();
        Self { allowed }
    }

    /// The decision about the call with this name.
    pub fn verdict(&self, name: &str) -> Verdict {
        match name {
            name if self.allowed.contains(name) => Verdict::Allow,
            "clone" => Verdict::NoNamespaces,
            // Its flags are in memory, where no filter sees them.
            "clone3" => Verdict::Absent,
            "socket" => Verdict::NoVsock,
            "personality" => Verdict::HarmlessPersonality,
            _ => Verdict::Refuse,
        }
    }

    /// As the runtime specification has it. Refused calls are written to the kernel's log if that is wanted.
    pub fn written(&self, is_logged: bool) -> Result<LinuxSeccomp, OciSpecError> {
        let names = self.allowed.iter().map(|&name| name.to_owned()).collect();
        let mut rules = vec![rule(names, LinuxSeccompAction::ScmpActAllow)];
        let mut allow = |name: &str, operator, value: u32| {
            let mut rule = rule(vec![name.to_owned()], LinuxSeccompAction::ScmpActAllow);
            rule.set_args(Some(vec![first_argument(operator, value)?]));
            rules.push(rule);
            Ok::<_, OciSpecError>(())
        };
        if self.verdict("clone") == Verdict::NoNamespaces {
            allow("clone", LinuxSeccompOperator::ScmpCmpMaskedEq, table::NAMESPACE_FLAGS)?;
        }
        allow("socket", LinuxSeccompOperator::ScmpCmpNe, table::REFUSED_FAMILY)?;
        for personality in table::PERSONALITIES {
            allow("personality", LinuxSeccompOperator::ScmpCmpEq, personality)?;
        }
        if self.verdict("clone3") == Verdict::Absent {
            let mut absent = rule(vec!["clone3".to_owned()], LinuxSeccompAction::ScmpActErrno);
            absent.set_errno_ret(Some(libc::ENOSYS.unsigned_abs()));
            rules.push(absent);
        }
        let mut written = LinuxSeccompBuilder::default()
            .default_action(LinuxSeccompAction::ScmpActErrno)
            .default_errno_ret(libc::EPERM.unsigned_abs())
            .architectures(ARCHITECTURES.to_vec())
            .syscalls(rules)
            .build()?;
        // runc before 1.2 takes no flags at all. Those given replace the default one, the second.
        written.set_flags(is_logged.then(|| {
            vec![LinuxSeccompFilterFlag::SeccompFilterFlagLog, LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow]
        }));
        Ok(written)
    }
}

fn rule(names: Vec<String>, action: LinuxSeccompAction) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names).set_action(action);
    rule
}

/// A condition on a call's first argument. Of one with a mask, none of its bits is set.
fn first_argument(operator: LinuxSeccompOperator, value: u32) -> Result<LinuxSeccompArg, OciSpecError> {
    LinuxSeccompArgBuilder::default().index(0usize).op(operator).value(u64::from(value)).value_two(0u64).build()
}

/// Programs of 32 bits run beside those of 64.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [Arch; 2] = [Arch::ScmpArchX86_64, Arch::ScmpArchX86];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [Arch; 2] = [Arch::ScmpArchAarch64, Arch::ScmpArchArm];
