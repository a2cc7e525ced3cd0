// SPDX-License-Identifier: Apache-2.0
//! The CNI chain as the agent runs it: `ecs-eni`, then `ecs-bridge` (which runs `ecs-ipam`); compared with the plugins
//! of the CNI project that do the same work, `host-device` with `static` and `bridge` with `host-local`, if Debian's
//! package `containernetworking-plugins` is installed. Both move a device into the container, for which the kernel
//! waits until every processor has passed a quiet state (`rcu_barrier`): this is most of the time of either, and cannot
//! be avoided. So a process that only moves a device (`ip link set DEVICE netns`) is measured in every round, too, and
//! the chains are also compared without this time.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use berth_fabric::kernel::netlink::{Netlink, VethPair};
use berth_fabric::kernel::netns::Namespace;
use berth_types::MacAddress;

use crate::table;

const OFFICIAL: &str = "/usr/lib/cni";
/// Time for the kernel to remove the namespace of the previous chain, which would delay the next one.
const SETTLE: Duration = Duration::from_millis(150);

/// Times of one kind of chain, in milliseconds.
#[derive(Default)]
struct Times {
    add_ms: Vec<f64>,
    del_ms: Vec<f64>,
}

/// Measures and prints.
pub fn run(plugins: &Path, rounds: u32) -> Result<()> {
    let folder = std::path::PathBuf::from(format!("/run/berth-bench-cni-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = std::thread::scope(|scope| {
        // The chain works on "the host's namespace": a separate one, so that no bridge is left on this machine.
        let chains = scope.spawn(|| -> Result<Measured> {
            let host = Namespace::create(&folder.join("host"))?;
            host.inside(|| measure(plugins, &folder, rounds))?
        });
        chains.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
    });
    Namespace::delete(&folder.join("host"))?;
    std::fs::remove_dir_all(&folder)?;
    report(outcome?);
    Ok(())
}

/// The chains to compare.
struct Measured {
    ours: Times,
    official: Option<Times>,
    /// Milliseconds of a process that only moves one device.
    move_ms: Vec<f64>,
}

fn measure(plugins: &Path, folder: &Path, rounds: u32) -> Result<Measured> {
    let official = Path::new(OFFICIAL).join("bridge").exists().then(Times::default);
    let mut measured = Measured { ours: Times::default(), official, move_ms: Vec::new() };
    for round in 0..rounds {
        measured.move_ms.push(move_alone(folder, round)?);
        chain(plugins, folder, round, &mut measured.ours)?;
        if let Some(times) = &mut measured.official {
            official_chain(folder, round, times)?;
        }
    }
    Ok(measured)
}

fn move_alone(folder: &Path, round: u32) -> Result<f64> {
    let path = folder.join("moved");
    let task = Namespace::create(&path)?;
    let (device, far) = (format!("mov{round}"), format!("off{round}"));
    let mut netlink = Netlink::open()?;
    netlink.create_veth(&VethPair { name: &far, peer_name: &device, ..VethPair::default() })?;
    std::thread::sleep(SETTLE);
    let begin = Instant::now();
    let moved = Command::new("ip").args(["link", "set", &device, "netns"]).arg(&path).status().context("start ip")?;
    let took_ms = begin.elapsed().as_secs_f64() * 1e3;
    ensure!(moved.success(), "ip could not move {device}");
    drop(task);
    Namespace::delete(&path)?;
    netlink.delete_link(&far)?;
    Ok(took_ms)
}

fn chain(plugins: &Path, folder: &Path, round: u32, times: &mut Times) -> Result<()> {
    let path = folder.join("task");
    let task = Namespace::create(&path)?;
    let mac = MacAddress([2, round as u8, 1, 2, 3, 4]);
    let device = format!("eni{round}");
    let mut netlink = Netlink::open()?;
    let far = format!("far{round}");
    netlink.create_veth(&VethPair { name: &far, peer_name: &device, peer_mac: Some(mac), ..VethPair::default() })?;
    let bridge = format!(
        r#"{{"cniVersion":"0.3.0","name":"bench","type":"ecs-bridge","bridge":"ecs-bridge","ipam":{{"type":"ecs-ipam","id":"{mac}","ipv4-subnet":"169.254.172.0/22","ipv4-routes":[{{"dst":"169.254.170.2/32"}}]}}}}"#
    );
    let eni = format!(
        r#"{{"cniVersion":"0.3.0","name":"bench","type":"ecs-eni","eni":"eni-1","mac":"{mac}","ip-addresses":["10.9.0.10/24"],"gateway-ip-addresses":["10.9.0.1"]}}"#
    );
    std::thread::sleep(SETTLE);
    let begin = Instant::now();
    plugin(&plugins.join("ecs-eni"), plugins, "ADD", &path, "eth0", folder, &eni)?;
    plugin(&plugins.join("ecs-bridge"), plugins, "ADD", &path, "ecs-eth0", folder, &bridge)?;
    times.add_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    let begin = Instant::now();
    plugin(&plugins.join("ecs-bridge"), plugins, "DEL", &path, "ecs-eth0", folder, &bridge)?;
    plugin(&plugins.join("ecs-eni"), plugins, "DEL", &path, "eth0", folder, &eni)?;
    times.del_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    drop(task);
    Namespace::delete(&path)?;
    netlink.delete_link(&far)?;
    Ok(())
}

fn official_chain(folder: &Path, round: u32, times: &mut Times) -> Result<()> {
    let path = folder.join("official");
    let task = Namespace::create(&path)?;
    let plugins = Path::new(OFFICIAL);
    let leases = folder.join("host-local");
    let (device, far) = (format!("dev{round}"), format!("away{round}"));
    let mut netlink = Netlink::open()?;
    netlink.create_veth(&VethPair { name: &far, peer_name: &device, ..VethPair::default() })?;
    let host_device = format!(
        r#"{{"cniVersion":"0.4.0","name":"bench","type":"host-device","device":"{device}","ipam":{{"type":"static","addresses":[{{"address":"10.9.0.10/24","gateway":"10.9.0.1"}}],"routes":[{{"dst":"0.0.0.0/0"}}]}}}}"#
    );
    let config = format!(
        r#"{{"cniVersion":"0.4.0","name":"bench{round}","type":"bridge","bridge":"cni0","isGateway":true,"ipam":{{"type":"host-local","subnet":"10.88.0.0/16","dataDir":"{}"}}}}"#,
        leases.display()
    );
    std::thread::sleep(SETTLE);
    let begin = Instant::now();
    plugin(&plugins.join("host-device"), plugins, "ADD", &path, "eth0", folder, &host_device)?;
    plugin(&plugins.join("bridge"), plugins, "ADD", &path, "eth1", folder, &config)?;
    times.add_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    let begin = Instant::now();
    plugin(&plugins.join("bridge"), plugins, "DEL", &path, "eth1", folder, &config)?;
    plugin(&plugins.join("host-device"), plugins, "DEL", &path, "eth0", folder, &host_device)?;
    times.del_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    drop(task);
    Namespace::delete(&path)?;
    netlink.delete_link(&far)?;
    Ok(())
}

fn plugin(
    program: &Path,
    cni_path: &Path,
    command: &str,
    namespace: &Path,
    interface: &str,
    folder: &Path,
    config: &str,
) -> Result<()> {
    let mut child = Command::new(program)
        .env_clear()
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "bench")
        .env("CNI_NETNS", namespace)
        .env("CNI_IFNAME", interface)
        .env("CNI_PATH", cni_path)
        .env("IPAM_DB_PATH", folder.join("ipam.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    child.stdin.take().context("no standard input")?.write_all(config.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{} {command} failed: {said}", program.display());
    Ok(())
}

fn report(mut measured: Measured) {
    let cell = |samples: &mut Vec<f64>, share| match samples.is_empty() {
        true => String::new(),
        false => format!("{:.2}", table::percentile(samples, share)),
    };
    let row = |name: &str, add: &mut Vec<f64>, del: &mut Vec<f64>| {
        vec![name.to_owned(), cell(add, 0.5), cell(add, 0.99), cell(del, 0.5), cell(del, 0.99)]
    };
    let Times { add_ms, del_ms } = &mut measured.ours;
    let mut rows = vec![
        row("a move and nothing else", &mut measured.move_ms, &mut Vec::new()),
        row("ecs-eni + ecs-bridge + ecs-ipam", add_ms, del_ms),
    ];
    let (moved, ours) = (table::percentile(&mut measured.move_ms, 0.5), table::percentile(add_ms, 0.5));
    let verdict = match &mut measured.official {
        Some(Times { add_ms, del_ms }) => {
            rows.push(row("host-device + bridge + host-local", add_ms, del_ms));
            let official = table::percentile(add_ms, 0.5);
            format!(
                "ADD against the CNI project's plugins: {}; beyond the move of the device: {} (goal <= 0.6)",
                table::ratio(ours, official),
                table::ratio(ours - moved, official - moved)
            )
        }
        None => "no baseline: install Debian's package containernetworking-plugins".to_owned(),
    };
    table::print(&["chain", "ADD p50 ms", "p99", "DEL p50 ms", "p99"], &rows);
    println!("\n{verdict}");
}
