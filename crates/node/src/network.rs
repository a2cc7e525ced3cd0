// SPDX-License-Identifier: Apache-2.0
//! The network room as the node uses it: one thread that owns the fabric, and the plugins around it.
//!
//! Everything that touches the fabric's maps goes through the thread, in order: an intent is programmed before what it
//! needs is plugged. Namespaces and plugins hold no shared state and run on threads for blocking work.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use berth_fabric::cni::{bridge, describe, eni, exec};
use berth_fabric::kernel::Namespace;
use berth_fabric::primary::{self, PrimaryConfig};
use berth_fabric::{Fabric, FabricConfig, Fault as DataPathFault, Inner, Swept, ports};
use berth_types::intent::{EniIntent, HostIntent};
use berth_types::{EniId, FaultPoints, HostId, MacAddress};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::blocking::blocking;
use crate::fault::{NetworkFault, all_of};
use crate::{Fault, NodeConfig, Step, step};

/// Interface to the host's bridge, inside a task.
pub(crate) const BRIDGE_IF: &str = "ecs-eth0";
/// A task's interface, created in place (Fargate).
const ENI_IF: &str = "eth1";
/// A task's interface, moved in by `ecs-eni` (EC2 launch type).
const MOVED_ENI_IF: &str = "eth0";
/// Version of the CNI specification we call plugins with.
const CNI_VERSION: &str = "1.0.0";
/// Pattern of the names of interfaces in the host's namespace.
pub(crate) const HOST_DEVICES: &str = "eni*";
/// Where tasks look for metadata.
pub(crate) const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

/// How a namespace is connected to the host's bridge, and so how it is disconnected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wiring {
    /// Not at all.
    Bare,
    /// By the library; the lease has the namespace's name.
    Library,
    /// By the executables; the lease has the interface's hardware address, the container is the pause container.
    Plugins(MacAddress, String),
}

type Job = Box<dyn FnOnce(&mut Fabric) + Send>;

/// The network of this host.
pub(crate) struct NodeNetwork {
    jobs: mpsc::Sender<Job>,
    settings: Arc<Settings>,
}

struct Settings {
    netns_dir: PathBuf,
    ipam_file: PathBuf,
    cni_dir: PathBuf,
    block_imds: bool,
    /// Pins of what guards the ports of the host's bridges.
    port_guard: PathBuf,
    fault_points: FaultPoints<Step>,
}

impl Settings {
    fn bridge(&self) -> bridge::BridgeConfig {
        bridge::BridgeConfig::ecs().guarded(&self.port_guard)
    }

    fn pass(&self, step: Step) {
        step::pass(&self.fault_points, step);
    }
}

impl NodeNetwork {
    /// Opens the fabric on its thread and gives the host the address tasks find metadata at.
    pub async fn open(config: &NodeConfig, host: HostId) -> Result<Self, Fault> {
        let fabric = FabricConfig { instance: config.instance.clone(), run_dir: config.run_dir.clone(), host };
        let settings = Arc::new(Settings {
            netns_dir: config.netns_dir(),
            ipam_file: config.ipam_file(),
            cni_dir: config.cni_dir.clone(),
            block_imds: config.block_imds,
            port_guard: ports::directory(&config.instance),
            fault_points: config.fault_points.clone(),
        });
        let (jobs, queue) = mpsc::channel::<Job>();
        let (opened, is_open) = oneshot::channel();
        let thread = std::thread::Builder::new().name("fabric".to_owned()).spawn(move || {
            let mut fabric = match open_fabric(fabric) {
                Ok(fabric) => fabric,
                Err(fault) => return drop(opened.send(Err(fault))),
            };
            opened.send(Ok(())).ok();
            queue.into_iter().for_each(|job| job(&mut fabric));
        });
        thread.map_err(Fault::system("start the fabric's thread"))?;
        is_open.await.unwrap_or(Err(Fault::Ended("fabric thread")))?;
        Ok(Self { jobs, settings })
    }

    async fn on_fabric<T: Send + 'static>(
        &self,
        step: &'static str,
        on: String,
        work: impl FnOnce(&mut Fabric) -> Result<T, NetworkFault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |fabric| drop(answer.send(work(fabric))));
        self.jobs.send(job).map_err(|_| Fault::Ended("fabric thread"))?;
        let result = answered.await.map_err(|_| Fault::Ended("fabric thread"))?;
        result.map_err(Fault::network(step, &on))
    }

    /// Programs the data path according to the intent, without a world that the host has no room for.
    pub async fn program(&self, intent: Arc<HostIntent>) -> Result<(), Fault> {
        let on = "the data path".to_owned();
        let program = move |fabric: &mut Fabric| match fabric.program(&intent) {
            Err(fault @ (DataPathFault::PoolInUse { .. } | DataPathFault::WorldNameTaken { .. })) => {
                tracing::error!(%fault, "the way to the world stays closed");
                let intent = HostIntent { worlds: BTreeMap::new(), ..HostIntent::clone(&intent) };
                Ok(fabric.program(&intent).map(drop)?)
            }
            done => Ok(done.map(drop)?),
        };
        self.on_fabric("program", on, program).await
    }

    /// Leads connections to an address and port of the host to a socket that listens elsewhere.
    pub async fn lead(&self, address: SocketAddrV4, listener: &impl AsFd) -> Result<(), Fault> {
        let listener = listener.as_fd().try_clone_to_owned().map_err(Fault::system("keep the listener"))?;
        let lead = move |fabric: &mut Fabric| Ok(fabric.lead(address, &listener)?);
        self.on_fabric("lead connections to", address.to_string(), lead).await
    }

    /// Interfaces that are plugged.
    pub async fn plugged(&self) -> Result<Vec<EniId>, Fault> {
        self.on_fabric("list", "interfaces".to_owned(), |fabric| Ok(fabric.plugged()?)).await
    }

    /// Every interface of which something is on this host.
    pub async fn present(&self) -> Result<BTreeSet<EniId>, Fault> {
        self.on_fabric("list", "interfaces".to_owned(), |fabric| Ok(fabric.present()?)).await
    }

    /// Removes the data path's entries of interfaces that are gone.
    pub async fn collect(&self) -> Result<(), Fault> {
        let on = "the data path".to_owned();
        self.on_fabric("clean", on, |fabric| Ok(fabric.collect()?)).await
    }

    /// Removes dead flows and gives their rows back.
    pub async fn sweep(&self) -> Result<Swept, Fault> {
        let on = "the flow table".to_owned();
        self.on_fabric("sweep", on, |fabric| Ok(fabric.sweep()?)).await
    }

    /// Removes a namespace that is in no journal, with its pair to the host's bridge.
    pub async fn remove_stray_namespace(&self, namespace: &str) -> Result<(), Fault> {
        let path = self.path(namespace);
        step_of("remove namespace", namespace.to_owned(), move || {
            Ok(unbridge(&path).and_then(|()| Namespace::delete(&path))?)
        })
        .await
    }

    /// Unplugs an interface; an absent one counts as unplugged.
    pub async fn unplug(&self, id: &EniId) -> Result<(), Fault> {
        let of = id.clone();
        self.on_fabric("unplug", id.to_string(), move |fabric| Ok(fabric.unplug(&of)?)).await
    }

    /// Makes the interface inside the namespace, ready to be used (Fargate tasks and standalone interfaces).
    pub async fn plug_in_place(&self, id: &EniId, wanted: &EniIntent, namespace: &str) -> Result<(), Fault> {
        let (of, plugged, path) = (id.clone(), wanted.clone(), self.path(namespace));
        self.on_fabric("plug", id.to_string(), move |fabric| {
            let ns = Namespace::open(&path)?;
            let inner = Inner::InNamespace { ns: &ns, name: ENI_IF };
            Ok(fabric.plug(&of, &plugged, inner)?)
        })
        .await?;
        self.settings.pass(Step::InterfacePlugged);
        let (config, path) = (self.eni_config(wanted), self.path(namespace));
        step_of("configure", id.to_string(), move || {
            let ns = Namespace::open(&path)?;
            Ok(eni::configure_in_place(&ns, ENI_IF, &config)?)
        })
        .await?;
        self.settings.pass(Step::InterfaceConfigured);
        Ok(())
    }

    /// Makes the interface in the host's namespace and runs the plugins that bring it, and a pair to the bridge, into
    /// the task (EC2 launch type). Answers the task's address on the bridge.
    pub async fn plug_host_first(
        &self,
        id: &EniId,
        wanted: &EniIntent,
        namespace: &str,
        container_id: &str,
    ) -> Result<Ipv4Addr, Fault> {
        let (of, plugged) = (id.clone(), wanted.clone());
        self.on_fabric("plug", id.to_string(), move |fabric| {
            let name = host_device(&of);
            Ok(fabric.plug(&of, &plugged, Inner::HostNamespace { name: &name })?)
        })
        .await?;
        self.settings.pass(Step::InterfaceOnHost);
        let call = PluginCall {
            settings: self.settings.clone(),
            namespace: self.path(namespace),
            container_id: container_id.to_owned(),
        };
        let (input, mac) = (eni_input(id, wanted, self.settings.block_imds), wanted.mac);
        step_of("run the plugins for", id.to_string(), move || {
            call.run("ecs-eni", "ADD", MOVED_ENI_IF, &input, exec::SETUP_LIMIT)?;
            call.settings.pass(Step::InterfaceMoved);
            let input = bridge_input(mac, &call.settings.port_guard);
            let result = call.run("ecs-bridge", "ADD", BRIDGE_IF, &input, exec::SETUP_LIMIT)?;
            call.settings.pass(Step::BridgeJoined);
            bridge_address(&result).ok_or_else(|| NetworkFault::NoBridgeAddress(result.to_string()))
        })
        .await
    }

    /// Makes the host's primary interface in the host's namespace, with routes of its own.
    pub async fn plug_on_host(&self, id: &EniId, wanted: &EniIntent) -> Result<(), Fault> {
        let (of, plugged, device) = (id.clone(), wanted.clone(), host_device(id));
        self.on_fabric("plug", id.to_string(), move |fabric| {
            Ok(fabric.plug(&of, &plugged, Inner::HostNamespace { name: &host_device(&of) })?)
        })
        .await?;
        self.settings.pass(Step::InterfacePlugged);
        let config = PrimaryConfig {
            address: wanted.address,
            router: wanted.subnet_cidr.gateway(),
            vpc_cidrs: wanted
                .vpc_cidrs
                .iter()
                .filter_map(|cidr| Ipv4Net::new(cidr.network(), cidr.prefix()).ok())
                .collect(),
        };
        step_of("configure", id.to_string(), move || Ok(primary::configure(&device, &config)?)).await?;
        self.settings.pass(Step::InterfaceConfigured);
        Ok(())
    }

    /// Removes the host's primary interface and its routes; an absent one counts as removed.
    pub async fn unplug_from_host(&self, id: &EniId) -> Result<(), Fault> {
        let device = host_device(id);
        step_of("remove the routes of", id.to_string(), move || {
            let link = berth_fabric::kernel::Netlink::open()?.link_by_name(&device)?;
            Ok(link.map_or(Ok(()), |link| primary::forget(link.index))?)
        })
        .await?;
        self.unplug(id).await
    }

    /// Removes routing rules of primary interfaces that are gone.
    pub async fn forget_lost_primaries(&self, present: Vec<EniId>) -> Result<(), Fault> {
        step_of("remove routing rules of", "lost interfaces".to_owned(), move || {
            let links = berth_fabric::kernel::Netlink::open()?.links()?;
            let names: BTreeSet<String> = present.iter().map(host_device).collect();
            let kept: Vec<u32> =
                links.iter().filter(|link| names.contains(&link.name)).map(|link| link.index).collect();
            Ok(primary::forget_others(&kept)?)
        })
        .await
    }

    /// Makes a namespace with `lo` up.
    pub async fn make_namespace(&self, namespace: &str) -> Result<(), Fault> {
        let path = self.path(namespace);
        step_of("make namespace", namespace.to_owned(), move || Ok(make_namespace(&path)?)).await
    }

    /// Connects a namespace to the host's bridge; answers its address there.
    pub async fn wire(&self, namespace: &str) -> Result<Ipv4Addr, Fault> {
        let (path, lease, settings) = (self.path(namespace), namespace.to_owned(), self.settings.clone());
        step_of("wire namespace", namespace.to_owned(), move || {
            let ns = Namespace::open(&path)?;
            let config = settings.bridge();
            let added = bridge::add(&ns, BRIDGE_IF, &lease, &config, &settings.ipam_file)?;
            match added.address.addr() {
                IpAddr::V4(address) => Ok(address),
                IpAddr::V6(address) => Err(NetworkFault::NotIpv4(address)),
            }
        })
        .await
    }

    /// Guards the ports of connected namespaces that an earlier version of the node left without, and forgets ports that
    /// are gone. A port that cannot be guarded is reported: its task may speak for others at the metadata endpoint.
    pub async fn guard(&self, connected: Vec<(String, Ipv4Addr)>) -> Result<(), Fault> {
        let (settings, dir) = (self.settings.clone(), self.settings.netns_dir.clone());
        step_of("guard the ports of", bridge::BRIDGE_DEFAULT.to_owned(), move || {
            let links = berth_fabric::kernel::Netlink::open().and_then(|mut host| host.links());
            let links = links?;
            let guarded = ports::forget_lost(&settings.port_guard, &links)?;
            for (name, address) in connected.into_iter().filter(|(_, address)| !guarded.contains(address)) {
                // A namespace that is gone has no port.
                let Ok(namespace) = Namespace::open(&dir.join(&name)) else { continue };
                if let Err(fault) = bridge::guard(&namespace, BRIDGE_IF, address, &settings.bridge()) {
                    let cause = describe(&fault);
                    tracing::error!(namespace = name, %address, cause, "its port is not guarded; stop its task");
                }
            }
            Ok(())
        })
        .await
    }

    /// Disconnects and removes a namespace. Absent parts count as removed.
    pub async fn remove_namespace(&self, namespace: &str, wiring: Option<Wiring>) -> Result<(), Fault> {
        let (path, lease, settings) = (self.path(namespace), namespace.to_owned(), self.settings.clone());
        step_of("remove namespace", namespace.to_owned(), move || {
            let unwired = unwire(&path, &lease, wiring.unwrap_or(Wiring::Bare), settings);
            let removed = Namespace::delete(&path).map_err(NetworkFault::from);
            unwired.and(removed)
        })
        .await
    }

    fn path(&self, namespace: &str) -> PathBuf {
        self.settings.netns_dir.join(namespace)
    }

    fn eni_config(&self, wanted: &EniIntent) -> eni::EniConfig {
        eni::EniConfig {
            mac: wanted.mac,
            addresses: vec![with_prefix(wanted)],
            gateways: vec![IpAddr::V4(wanted.subnet_cidr.gateway())],
            mtu: Some(wanted.mtu),
            vpc_cidrs: wanted.vpc_cidrs.iter().map(|cidr| net(cidr.network(), cidr.prefix())).collect(),
            // A Fargate task is on no instance of its owner, whose metadata it could ask for.
            block_instance_metadata: true,
            stay_down: false,
        }
    }
}

fn open_fabric(config: FabricConfig) -> Result<Fabric, Fault> {
    let on = "the host's network";
    let instance = config.instance.clone();
    let fabric = Fabric::open(config).map_err(Fault::network("open", on))?;
    ports::install(&instance).map_err(Fault::network("guard", on))?;
    let address = METADATA_ADDRESS;
    bridge::serve_credentials_address(&bridge::BridgeConfig::ecs(), address).map_err(Fault::network("prepare", on))?;
    Ok(fabric)
}

/// Removes what is left of the instance's data path, namespaces and leases.
pub(crate) fn destroy(config: &NodeConfig, host: HostId) -> Result<(), Fault> {
    let on = config.instance.as_str();
    let fabric = FabricConfig { instance: config.instance.clone(), run_dir: config.run_dir.clone(), host };
    let opened = Fabric::open(fabric).map_err(Fault::network("open the fabric of", on));
    let destroyed = opened.and_then(|fabric| fabric.destroy().map_err(Fault::network("destroy the fabric of", on)));
    let dir = config.netns_dir();
    let files = std::fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let deleted = files.map(|path| {
        unbridge(&path).map_err(Fault::network("disconnect a namespace of", on))?;
        Namespace::delete(&path).map_err(Fault::network("remove a namespace of", on))
    });
    let deleted = all_of(deleted.collect::<Vec<_>>());
    let unbridged = remove_bridge().map_err(Fault::network("remove the bridge of", on));
    let unrouted = primary::forget_others(&[]).map_err(Fault::network("remove routing rules of", on));
    all_of([destroyed, deleted, crate::folders::remove_file(&config.ipam_file()), unbridged, unrouted])
}

/// Disconnects a namespace from the bridge at once: the kernel removes the ends of a deleted namespace later.
fn unbridge(path: &Path) -> Result<(), berth_fabric::kernel::Fault> {
    let Ok(namespace) = Namespace::open(path) else { return Ok(()) };
    let mut inside = namespace.netlink()?;
    match inside.link_by_name(BRIDGE_IF)? {
        Some(link) => inside.delete_link(&link.name),
        None => Ok(()),
    }
}

/// Removes the bridge if nothing is connected to it: another instance may use it in the same namespace.
fn remove_bridge() -> Result<(), berth_fabric::kernel::Fault> {
    let mut host = berth_fabric::kernel::Netlink::open()?;
    let links = host.links()?;
    let Some(found) = links.iter().find(|link| link.name == bridge::BRIDGE_DEFAULT) else { return Ok(()) };
    match links.iter().any(|link| link.bridge == Some(found.index)) {
        true => Ok(()),
        false => host.delete_link(bridge::BRIDGE_DEFAULT),
    }
}

fn make_namespace(path: &Path) -> Result<(), berth_fabric::kernel::Fault> {
    let namespace = Namespace::create(path)?;
    let mut inside = namespace.netlink()?;
    match inside.link_by_name("lo")? {
        Some(lo) => inside.set_up(lo.index),
        None => Ok(()),
    }
}

fn unwire(path: &Path, lease: &str, wiring: Wiring, settings: Arc<Settings>) -> Result<(), NetworkFault> {
    match wiring {
        Wiring::Bare => Ok(()),
        Wiring::Library => {
            let namespace = Namespace::open(path).ok();
            let config = settings.bridge();
            Ok(bridge::del(namespace.as_ref(), BRIDGE_IF, lease, &config, &settings.ipam_file)?)
        }
        Wiring::Plugins(mac, container_id) => {
            let bridge_input = bridge_input(mac, &settings.port_guard);
            let call = PluginCall { settings, namespace: path.to_owned(), container_id };
            let input = json!({"cniVersion": CNI_VERSION, "name": "ecs", "type": "ecs-eni", "eni": "gone",
                "mac": mac, "ip-addresses": ["169.254.0.1/32"]});
            let bridge = call.run("ecs-bridge", "DEL", BRIDGE_IF, &bridge_input, exec::CLEANUP_LIMIT);
            let eni = call.run("ecs-eni", "DEL", MOVED_ENI_IF, &input, exec::CLEANUP_LIMIT);
            bridge.and(eni).map(drop)
        }
    }
}

/// A call of a plugin executable.
struct PluginCall {
    settings: Arc<Settings>,
    namespace: PathBuf,
    container_id: String,
}

impl PluginCall {
    fn run(
        &self,
        plugin: &str,
        command: &str,
        if_name: &str,
        input: &Value,
        limit: std::time::Duration,
    ) -> Result<Value, NetworkFault> {
        let dir = &self.settings.cni_dir;
        let environment = [
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", self.container_id.clone()),
            ("CNI_NETNS", self.namespace.display().to_string()),
            ("CNI_IFNAME", if_name.to_owned()),
            ("CNI_PATH", dir.display().to_string()),
            ("IPAM_DB_PATH", self.settings.ipam_file.display().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value));
        Ok(exec::run_plugin(&dir.join(plugin), &environment, input, limit)?)
    }
}

fn eni_input(id: &EniId, wanted: &EniIntent, block_imds: bool) -> Value {
    json!({
        "cniVersion": CNI_VERSION,
        "name": "ecs",
        "type": "ecs-eni",
        "eni": id,
        "mac": wanted.mac,
        "ip-addresses": [with_prefix(wanted).to_string()],
        "gateway-ip-addresses": [wanted.subnet_cidr.gateway().to_string()],
        "vpc-cidrs": wanted.vpc_cidrs,
        "mtu": wanted.mtu,
        "block-instance-metadata": block_imds,
    })
}

fn bridge_input(mac: MacAddress, port_guard: &Path) -> Value {
    json!({
        "cniVersion": CNI_VERSION,
        "name": "ecs",
        "type": "ecs-bridge",
        "bridge": bridge::BRIDGE_DEFAULT,
        "portGuard": port_guard,
        "ipam": {
            "type": "ecs-ipam",
            "id": mac,
            "ipv4-subnet": "169.254.172.0/22",
            "ipv4-routes": [{"dst": format!("{METADATA_ADDRESS}/32")}],
        },
    })
}

fn bridge_address(result: &Value) -> Option<Ipv4Addr> {
    let text = result.get("ips")?.get(0)?.get("address")?.as_str()?;
    text.split('/').next()?.parse().ok()
}

fn with_prefix(wanted: &EniIntent) -> IpNet {
    net(wanted.address, wanted.subnet_cidr.prefix())
}

fn net(address: Ipv4Addr, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(address, prefix))
}

/// Name of an interface while it is in the host's namespace: the end of its id, as long as the kernel allows.
/// Name of an interface in the host's namespace, one of [`HOST_DEVICES`].
fn host_device(id: &EniId) -> String {
    let id = id.as_str();
    format!("eni{}", &id[id.len().saturating_sub(12).max(4)..])
}

/// A step of the network, away from the runtime.
async fn step_of<T: Send + 'static>(
    step: &'static str,
    on: String,
    work: impl FnOnce() -> Result<T, NetworkFault> + Send + 'static,
) -> Result<T, Fault> {
    blocking("network worker", move || work().map_err(Fault::network(step, &on))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_types::intent::{Plug, Standalone};
    use berth_types::{GroupSetId, Ipv4Cidr, SubnetId, Vni};
    use expect_test::expect;

    #[test]
    fn plugins_get_what_the_interface_needs() {
        let cidr = |prefix| Ipv4Cidr::containing(Ipv4Addr::new(10, 0, 0, 0), prefix).expect("a prefix");
        let wanted = EniIntent {
            vni: Vni(1),
            vpc: None,
            subnet: SubnetId::from_bits(1),
            subnet_cidr: cidr(24),
            vpc_cidrs: vec![cidr(16)],
            mac: MacAddress([2, 0, 0, 1, 2, 3]),
            address: Ipv4Addr::new(10, 0, 0, 35),
            group_set: GroupSetId(1),
            source_dest_check: true,
            mtu: 9001,
            plug: Plug::Standalone(Standalone::seat("x".to_owned())),
            rate: None,
        };
        let id = EniId::from_bits(0xabcd);
        expect![[r#"{"block-instance-metadata":true,"cniVersion":"1.0.0","eni":"eni-0000000000000abcd","gateway-ip-addresses":["10.0.0.1"],"ip-addresses":["10.0.0.35/24"],"mac":"02:00:00:01:02:03","mtu":9001,"name":"ecs","type":"ecs-eni","vpc-cidrs":["10.0.0.0/16"]}"#]]
            .assert_eq(&eni_input(&id, &wanted, true).to_string());
        assert_eq!(host_device(&id), "eni00000000abcd");
        let result = json!({"ips": [{"address": "169.254.172.3/22"}]});
        assert_eq!(bridge_address(&result), Some(Ipv4Addr::new(169, 254, 172, 3)));
    }
}
