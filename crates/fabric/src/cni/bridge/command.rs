// SPDX-License-Identifier: Apache-2.0
//! `ecs-bridge` as a plugin.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{MTU_DEFAULT, Want, connect, disconnect, is_there, look, plan};
use crate::cni::call::{Call, Command, is_interface_name};
use crate::cni::exec;
use crate::cni::ipam::{self, Ipam};
use crate::cni::spec::{CniError, Interface, Ip, Outcome, RouteTo};
use crate::cni::{Fault, describe};
use crate::kernel::{Namespace, Netlink};

/// The configuration. Unknown keys are ignored; `isGateway` too, because the bridge always has the gateway's address.
#[derive(Debug, Deserialize)]
pub(in crate::cni) struct Config {
    #[serde(default)]
    bridge: String,
    #[serde(default)]
    mtu: u32,
    #[serde(default, rename = "hairpinMode")]
    hairpin: bool,
    #[serde(default, rename = "isDefaultGateway")]
    default_route: bool,
    #[serde(default, rename = "forceAddress")]
    force_address: bool,
    #[serde(default, rename = "ipMasq")]
    ip_masq: bool,
    /// Pins of the program that guards the port; passed by a node of Berth.
    #[serde(default, rename = "portGuard")]
    guard: Option<PathBuf>,
    #[serde(default)]
    ipam: Value,
}

impl Config {
    pub(in crate::cni) fn of(call: &Call) -> Result<Self, CniError> {
        let config: Self = call.config_as()?;
        if config.ip_masq && matches!(call.command, Command::Add | Command::Check) {
            return Err(CniError::config("ipMasq is not offered: tasks reach the world through their own interface")
                .with_details("remove ipMasq or set it to false"));
        }
        Ok(config)
    }

    fn bridge(&self) -> Result<&str, CniError> {
        let name = Some(self.bridge.as_str()).filter(|name| is_interface_name(name));
        name.ok_or_else(|| CniError::config(format!("\"bridge\" must name a bridge, not {:?}", self.bridge)))
    }

    /// Name of the IPAM plugin; `None` when the configuration has none.
    fn ipam_kind(&self) -> Option<&str> {
        self.ipam.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty())
    }

    pub(in crate::cni) fn want(&self, call: &Call, namespace: &Path, leased: &Outcome) -> Result<Want, CniError> {
        let gateways = leased.ips.iter().map(|ip| match ip.gateway {
            Some(gateway) if gateway.is_ipv4() == ip.address.addr().is_ipv4() => Ok((ip.address, gateway)),
            Some(gateway) => Err(CniError::new(
                CniError::FAILED,
                format!("the IPAM plugin gave {} the gateway {gateway}, which is of another family", ip.address),
            )),
            None => Err(CniError::new(CniError::FAILED, format!("the IPAM plugin gave {} no gateway", ip.address))),
        });
        Ok(Want {
            bridge: self.bridge()?.to_owned(),
            container_if: call.if_name.clone(),
            namespace: namespace.to_owned(),
            mtu: if self.mtu == 0 { MTU_DEFAULT } else { self.mtu },
            addresses: gateways.collect::<Result<_, _>>()?,
            routes: leased.routes.clone(),
            default_route: self.default_route,
            hairpin: self.hairpin,
            force_address: self.force_address,
            guard: self.guard.clone(),
        })
    }
}

/// Executes a call.
pub(in crate::cni) fn run(call: &Call) -> Result<Option<Value>, CniError> {
    match call.command {
        Command::Add => add(call).map(|outcome| Some(outcome.to_json(call.version))),
        Command::Check => check(call).map(|()| None),
        Command::Del => del(call).map(|()| None),
        Command::Gc | Command::Status => {
            let config = Config::of(call)?;
            config.bridge()?;
            match config.ipam_kind() {
                Some(kind) => delegate(call, kind, call.command).map(|_| None),
                None => Ok(None),
            }
        }
    }
}

fn add(call: &Call) -> Result<Outcome, CniError> {
    let config = Config::of(call)?;
    config.bridge()?;
    let kind = config.ipam_kind().ok_or_else(|| CniError::config("\"ipam\" with a \"type\" is required"))?;
    let namespace = Namespace::open(call.required_netns()?)?;
    let leased = delegate(call, kind, Command::Add)?;
    let connected = config.want(call, namespace.path(), &leased.outcome).and_then(|want| {
        let routes: Vec<RouteTo> = want.gateway_routes().map(|(dst, gw)| RouteTo { dst, gw }).collect();
        Ok((connect(&namespace, &want)?, routes))
    });
    let (connected, gateway_routes) = match connected {
        Ok(connected) => connected,
        // An address that an interface still has stays leased.
        Err(failed) if leased.stood || is_there(&namespace, &call.if_name) => return Err(failed),
        Err(failed) => {
            return Err(match delegate(call, kind, Command::Del) {
                Ok(_) => failed,
                Err(undo) => failed.with_details(format!("freeing the address failed, too: {undo}")),
            });
        }
    };
    let host = |name: &str, mac| Interface { name: name.to_owned(), mac, sandbox: None };
    let sandbox = call.netns.as_ref().map(|path| path.display().to_string());
    let ips = leased.outcome.ips.into_iter().map(|ip| Ip { interface: Some(2), ..ip });
    Ok(Outcome {
        interfaces: vec![
            host(&config.bridge, connected.bridge_mac),
            host(&connected.host_if, connected.host_mac),
            Interface { name: call.if_name.clone(), mac: Some(connected.mac), sandbox },
        ],
        ips: ips.collect(),
        routes: leased.outcome.routes.into_iter().chain(gateway_routes).collect(),
    })
}

/// True if the lease exists and a new ADD would change nothing.
fn check(call: &Call) -> Result<(), CniError> {
    let config = Config::of(call)?;
    if let Some(kind) = config.ipam_kind() {
        delegate(call, kind, Command::Check)?;
    }
    let previous = call.config.get("prevResult").ok_or_else(|| CniError::config("CHECK needs prevResult"))?;
    let mut previous = Outcome::from_json(previous)?;
    let is_ours = |ip: &Ip| {
        let interface = ip.interface.and_then(|index| previous.interfaces.get(index));
        interface.is_none_or(|interface| interface.name == call.if_name)
    };
    let ours: Vec<_> = previous.ips.iter().filter(|ip| is_ours(ip)).cloned().collect();
    previous.ips = ours;
    let namespace = Namespace::open(call.required_netns()?)?;
    let want = config.want(call, namespace.path(), &previous)?;
    let mut host = Netlink::open()?;
    let seen = look(&mut host, &mut namespace.netlink()?, &want)?;
    let missing = plan(&want, &seen)?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.iter().map(ToString::to_string).collect();
    Err(Fault::Differs { what: call.if_name.clone(), missing }.into())
}

/// Removes the pair first and the lease last. A namespace that has ended took the pair with it.
fn del(call: &Call) -> Result<(), CniError> {
    let config = Config::of(call)?;
    let cut = match call.netns.as_deref().map(Namespace::open) {
        Some(Ok(namespace)) => disconnect(&namespace, &call.if_name, config.guard.as_deref()),
        Some(Err(fault)) if is_gone(&fault) => Ok(()),
        Some(Err(fault)) => Err(Fault::Kernel(fault)),
        None => Ok(()),
    };
    // While its interface exists an address must stay leased.
    cut.map_err(CniError::from)?;
    match config.ipam_kind() {
        Some(kind) => delegate(call, kind, Command::Del).map(drop),
        None => Ok(()),
    }
}

/// True if there is no file, the file of an ended process, or a file whose mount is gone.
pub(in crate::cni) fn is_gone(fault: &crate::kernel::Fault) -> bool {
    use crate::kernel::Fault as Kernel;
    match fault {
        Kernel::NotANamespace { .. } => true,
        Kernel::OpenNamespace { .. } => {
            [libc::ENOENT, libc::ESRCH, libc::ENOTDIR, libc::EINVAL].into_iter().any(|errno| fault.is_errno(errno))
        }
        _ => false,
    }
}

/// The answer of an IPAM plugin, and whether it repeats an earlier answer.
struct Leased {
    outcome: Outcome,
    stood: bool,
}

/// Calls the IPAM plugin with this call's input and environment. `ecs-ipam` is this same program: when `CNI_PATH` has
/// no other one, it is called as a function, which saves a process.
fn delegate(call: &Call, kind: &str, command: Command) -> Result<Leased, CniError> {
    match exec::find(kind, &call.plugin_path) {
        Some(path) if !is_this_program(&path) => execute(&path, command, call),
        Some(_) | None if kind == "ecs-ipam" => call_own(call, command),
        _ => {
            let searched = call.plugin_path.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
            Err(CniError::new(CniError::FAILED, format!("IPAM plugin {kind:?} is not in CNI_PATH"))
                .with_details(format!("searched {searched:?}")))
        }
    }
}

fn call_own(call: &Call, command: Command) -> Result<Leased, CniError> {
    let ipam = Ipam::from_env();
    let mut leased = Leased { outcome: Outcome::default(), stood: false };
    match command {
        Command::Add => {
            let (outcome, stood) = ipam::command::add(&ipam, call)?;
            leased = Leased { outcome, stood };
        }
        Command::Del => ipam::command::del(&ipam, call)?,
        Command::Check => ipam::command::check(&ipam, call)?,
        Command::Gc => ipam::command::gc(&ipam, call)?,
        Command::Status => ipam::command::status(&ipam)?,
    }
    Ok(leased)
}

fn execute(path: &Path, command: Command, call: &Call) -> Result<Leased, CniError> {
    let environment = [("CNI_COMMAND".to_owned(), command.as_str().to_owned())];
    let answered = exec::run_plugin(path, &environment, &call.config, exec::DELEGATE_LIMIT);
    match answered {
        Ok(answer) => {
            let outcome = if command == Command::Add { Outcome::from_json(&answer)? } else { Outcome::default() };
            Ok(Leased { outcome, stood: false })
        }
        Err(exec::PluginFault::Refused { error, .. }) => Err(error),
        Err(fault) => Err(CniError::new(CniError::FAILED, describe(&fault))),
    }
}

/// True if the path leads to the executable of this process, under any name.
fn is_this_program(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: PathBuf| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    id(path.to_owned()).is_some_and(|one| Some(one) == id(PathBuf::from("/proc/self/exe")))
}
