// SPDX-License-Identifier: Apache-2.0
//! Checks that this machine has what the fabric needs. Each finding names the check and the remedy. Except for a
//! mounted bpffs, all objects of the checks are temporary: they are made in a namespace and in pins that are removed
//! again.

use std::fs;

use aya::programs::SchedClassifier;
use nix::sched::{CloneFlags, unshare};

use crate::bpf::load::Tried;
use crate::bpf::{attach, endpoint, load, pins, port};
use crate::kernel::netlink::VethPair;
use crate::kernel::{Namespace, Netlink, sysctl};

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Short name.
    pub name: &'static str,
    /// True if the requirement is met.
    pub ok: bool,
    /// True if Berth works without it, with a disadvantage.
    pub optional: bool,
    /// The finding.
    pub what: String,
    /// The remedy; empty if there is none.
    pub cure: &'static str,
}

/// Checks the kernel features and capabilities that the fabric needs.
pub fn check() -> Vec<Finding> {
    let mut findings = vec![root(), bpffs()];
    findings.extend(CAPABILITIES.map(|(name, bit)| capability(name, bit)));
    findings.extend(on_a_thread_in_its_own_namespace());
    findings.push(reverse_path_filter());
    findings
}

const CAPABILITIES: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_BPF", 39)];

fn finding(name: &'static str, seen: Result<String, String>, cure: &'static str) -> Finding {
    match seen {
        Ok(what) => Finding { name, ok: true, optional: false, what, cure: "" },
        Err(what) => Finding { name, ok: false, optional: false, what, cure },
    }
}

fn root() -> Finding {
    let uid = nix::unistd::geteuid();
    let seen = if uid.is_root() { Ok("running as root".to_owned()) } else { Err(format!("running as uid {uid}")) };
    finding("root", seen, "run berth as root (sudo berth ...)")
}

fn capability(name: &'static str, bit: u32) -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let seen = if mask >> bit & 1 == 1 { Ok("effective".to_owned()) } else { Err("not effective".to_owned()) };
    finding(name, seen, "run with full privileges; in a container, use --privileged or add the capability")
}

/// Checked with a loaded program: the setting is visible only in the machine's own network namespace.
fn jit(program: &SchedClassifier) -> Finding {
    let seen = match program.info().map(|info| info.size_jitted()) {
        Ok(0) => Err("off: every packet would be interpreted".to_owned()),
        Ok(_) => Ok("on".to_owned()),
        Err(e) => said::<(), _>(Err(e), ""),
    };
    finding("eBPF JIT", seen, "sysctl -w net.core.bpf_jit_enable=1, on a kernel with CONFIG_BPF_JIT")
}

fn bpffs() -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let seen = if pins::is_bpffs_mounted() {
        Ok("mounted at /sys/fs/bpf".to_owned())
    } else if known.lines().any(|line| line.ends_with("\tbpf")) {
        Ok("not mounted yet; berth mounts it".to_owned())
    } else {
        Err("the kernel does not know the file system".to_owned())
    };
    finding("bpffs", seen, "use a kernel with CONFIG_BPF_SYSCALL")
}

/// Performs the real operations in a private namespace.
fn on_a_thread_in_its_own_namespace() -> Vec<Finding> {
    let tried = std::thread::Builder::new().name("doctor".into()).spawn(|| match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => try_data_path(),
        Err(e) => vec![finding("network namespaces", Err(e.to_string()), NAMESPACES)],
    });
    let failed = |what: String| vec![finding("network namespaces", Err(what), NAMESPACES)];
    match tried.map(std::thread::JoinHandle::join) {
        Ok(Ok(findings)) => findings,
        Ok(Err(_)) => failed("the trial thread ended early".to_owned()),
        Err(e) => failed(format!("no thread for the trial: {e}")),
    }
}

const NAMESPACES: &str = "run as root on a kernel with CONFIG_NET_NS";
const DEVICE: &str = "berth-doctor";

fn try_data_path() -> Vec<Finding> {
    let mut findings = vec![finding("network namespaces", Ok("can be made".to_owned()), NAMESPACES), cubic()];
    let pair = VethPair { name: DEVICE, peer_name: "berth-peer", ..VethPair::default() };
    let veth = Netlink::open().and_then(|mut netlink| netlink.create_veth(&pair));
    let made = veth.is_ok();
    findings.push(finding("veth", said(veth, "a pair can be made"), "use a kernel with CONFIG_VETH"));
    let cure = "use Linux 6.1 or later with CONFIG_BPF_SYSCALL, and run as root: the program needs \
                bpf_redirect_peer";
    match load::try_load() {
        Ok(Tried { port: mut program, steps, took }) => {
            let steps = steps.map_or_else(String::new, |steps| format!(" after {steps} steps"));
            let accepted =
                format!("the verifier accepts the programs{steps}; a first load takes {} ms", took.as_millis());
            findings.push(finding("eBPF data path", Ok(accepted), cure));
            findings.push(jit(&program));
            if made {
                let attached = attach::attach(&mut program, DEVICE);
                let cure = "use a kernel with CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF and CONFIG_NET_CLS_ACT";
                findings.push(finding("clsact", said(attached, "the program can be attached"), cure));
            }
        }
        Err(e) => findings.push(finding("eBPF data path", said::<(), _>(Err(e), ""), cure)),
    }
    let ports = said(port::try_load(), "the verifier accepts the program");
    findings.push(finding("eBPF bridge ports", ports, cure));
    findings.push(socket_lookup());
    findings
}

/// The path of tasks to the metadata endpoint.
fn socket_lookup() -> Finding {
    let lo = Netlink::open().and_then(|mut netlink| match netlink.link_by_name("lo")? {
        Some(lo) => netlink.set_up(lo.index),
        None => Ok(()),
    });
    let seen = match lo {
        Ok(()) => said(endpoint::try_lead(), "connections can be led to a socket"),
        Err(fault) => said::<(), _>(Err(fault), ""),
    };
    finding("eBPF socket lookup", seen, "use Linux 6.1 or later with CONFIG_BPF_SYSCALL and CONFIG_BPF_STREAM_PARSER")
}

/// A strict filter for all devices cannot be relaxed for the host's primary interface alone.
fn reverse_path_filter() -> Finding {
    let key = "net.ipv4.conf.all.rp_filter";
    let seen = match Namespace::of_current_thread().and_then(|here| sysctl::read(&here, key)).as_deref() {
        Ok("1") => Err(format!("{key} is 1 (strict): ports of network mode bridge are not reached from a VPC")),
        Ok(_) => Ok("each device decides for itself".to_owned()),
        Err(fault) => Err(fault.to_string()),
    };
    let cure = "sysctl -w net.ipv4.conf.all.rp_filter=0 (or 2), and keep the strict filter on the devices that need it";
    Finding { optional: true, ..finding("reverse path filter", seen, cure) }
}

/// Tasks that must keep the machine's own congestion control work, but slower.
fn cubic() -> Finding {
    let set = Namespace::of_current_thread().and_then(|here| sysctl::set_congestion_control(&here, "cubic"));
    let cure = "in the machine's own network namespace: sysctl -w \
                net.ipv4.tcp_allowed_congestion_control=\"reno cubic\"";
    Finding { optional: true, ..finding("cubic", said(set, "namespaces may choose it"), cure) }
}

/// The error with its causes, in one line.
fn said<T, E: std::error::Error>(seen: Result<T, E>, good: &str) -> Result<String, String> {
    match seen {
        Ok(_) => Ok(good.to_owned()),
        Err(e) => {
            let causes = std::iter::successors(e.source(), |cause| cause.source());
            Err(causes.fold(e.to_string(), |text, cause| format!("{text}: {cause}")))
        }
    }
}
