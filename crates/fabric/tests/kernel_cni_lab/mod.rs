// SPDX-License-Identifier: Apache-2.0
//! A host and containers made of namespaces, which are removed with the value. Needs root; without it every test fails.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use berth_fabric::kernel::netlink::VethPair;
use berth_fabric::kernel::{Namespace, Netlink};
use berth_types::MacAddress;
use serde_json::Value;
use tempfile::TempDir;

pub struct Lab {
    dir: TempDir,
    pub host: Namespace,
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Namespace::create(&dir.path().join("netns/host")).unwrap();
        up(&host, "lo");
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        for name in ["ecs-eni", "vpc-eni", "ecs-bridge", "ecs-ipam", "berth-cni"] {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_berth-cni-under-test"), plugins.join(name)).unwrap();
        }
        Self { dir, host }
    }

    pub fn container(&self, name: &str) -> Namespace {
        let namespace = Namespace::create(&self.dir.path().join("netns").join(name)).unwrap();
        up(&namespace, "lo");
        namespace
    }

    pub fn ipam_db(&self) -> PathBuf {
        self.dir.path().join("ipam/leases.db")
    }

    pub fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// An interface that leads nowhere.
    pub fn stub(&self, namespace: &Namespace, name: &str, mac: MacAddress) {
        let nowhere = Namespace::create(&self.dir.path().join("netns/nowhere")).unwrap();
        let links = nowhere.netlink().unwrap().links().unwrap().len();
        let pair = VethPair {
            name,
            mac: Some(mac),
            peer_name: &format!("far{links}"),
            peer_ns: Some(nowhere.as_fd()),
            ..VethPair::default()
        };
        namespace.netlink().unwrap().create_veth(&pair).unwrap();
    }

    /// Runs a closure in the host's namespace.
    pub fn on_host<T>(&self, work: impl FnOnce() -> T) -> T {
        self.host.inside(work).unwrap()
    }

    /// The environment of a plugin call.
    pub fn environment(&self, command: &str, netns: &Path, if_name: &str) -> BTreeMap<String, String> {
        let pairs = [
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", "pause-1".to_owned()),
            ("CNI_NETNS", netns.display().to_string()),
            ("CNI_IFNAME", if_name.to_owned()),
            ("CNI_PATH", self.plugins().display().to_string()),
            ("CNI_ARGS", String::new()),
            ("IPAM_DB_PATH", self.ipam_db().display().to_string()),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// Runs a plugin on the host.
    pub fn run(&self, plugin: &str, environment: &BTreeMap<String, String>, input: &str) -> Output {
        self.on_host(|| {
            let mut child = Command::new(self.plugins().join(plugin))
                .env_clear()
                .envs(environment)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        })
    }

    /// Runs a plugin that must succeed; its result.
    #[track_caller]
    pub fn succeed(&self, plugin: &str, command: &str, netns: &Path, if_name: &str, config: &Value) -> Value {
        let output = self.run(plugin, &self.environment(command, netns, if_name), &config.to_string());
        assert!(output.status.success(), "{plugin} {command} failed: {}", String::from_utf8_lossy(&output.stdout));
        if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).unwrap() }
    }

    /// Runs a plugin that must fail; its error.
    #[track_caller]
    pub fn fail(&self, plugin: &str, command: &str, netns: &Path, if_name: &str, config: &Value) -> Value {
        let output = self.run(plugin, &self.environment(command, netns, if_name), &config.to_string());
        assert_eq!(output.status.code(), Some(1), "{plugin} {command}: {}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.dir.path().join("netns")).into_iter().flatten().flatten() {
            if let Err(fault) = Namespace::delete(&entry.path()) {
                eprintln!("left behind: {fault}");
            }
        }
    }
}

pub fn up(namespace: &Namespace, link: &str) {
    let mut netlink = namespace.netlink().unwrap();
    let index = netlink.link_by_name(link).unwrap().unwrap().index;
    netlink.set_up(index).unwrap();
}

pub fn mac(text: &str) -> MacAddress {
    text.parse().unwrap()
}

/// Links except `lo`, their addresses, and the routes of a namespace, one per line, without random parts.
pub fn show(namespace: &Namespace) -> String {
    let mut netlink = namespace.netlink().unwrap();
    let mut links = netlink.links().unwrap();
    links.retain(|link| link.name != "lo" && !is_fallback_tunnel(&link.name));
    links.sort_by(|a, b| a.name.cmp(&b.name));
    let mut lines = Vec::new();
    for link in &links {
        let state = if link.is_up { "up" } else { "down" };
        let kind = link.kind.as_deref().unwrap_or("device");
        lines.push(format!("{} {kind} {} mtu {} {state}", link.name, link.mac.unwrap(), link.mtu));
        let addresses = netlink.addresses(link.index).unwrap();
        let shown = addresses.iter().filter(|address| address.addr().is_ipv4());
        lines.extend(shown.map(|address| format!("  {address}")));
    }
    lines.extend(routes(&mut netlink));
    lines.join("\n") + "\n"
}

fn routes(netlink: &mut Netlink) -> Vec<String> {
    let links = netlink.links().unwrap();
    let routes = netlink.routes().unwrap();
    let local = "fe80::/10".parse::<ipnet::IpNet>().unwrap();
    let multicast = "ff00::/8".parse::<ipnet::IpNet>().unwrap();
    let mut lines: Vec<_> = routes
        .iter()
        .filter(|route| !local.contains(&route.dst) && !multicast.contains(&route.dst))
        .map(|route| {
            let mut line = route.to_string();
            for link in &links {
                line = line.replace(&format!("dev #{} ", link.index), &format!("dev {} ", link.name));
                if let Some(start) = line.strip_suffix(&format!("dev #{}", link.index)) {
                    line = format!("{start}dev {}", link.name);
                }
            }
            line
        })
        .collect();
    lines.sort();
    lines
}

/// Devices some kernels put into every namespace.
fn is_fallback_tunnel(name: &str) -> bool {
    matches!(name, "tunl0" | "sit0" | "gre0" | "gretap0" | "erspan0" | "ip_vti0" | "ip6_vti0" | "ip6tnl0" | "ip6gre0")
}
