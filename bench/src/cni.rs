//! The CNI chain as the agent runs it: `ecs-eni`, then `ecs-bridge` (which runs `ecs-ipam`); beside the plugins of the CNI
//! project that do the same work, `host-device` with `static` and `bridge` with `host-local`, when Debian's package
//! `containernetworking-plugins` is there. Both move a device into the container, which is most of the time.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use berth_fabric::kernel::netlink::VethPair;
use berth_fabric::kernel::netns::Namespace;
use berth_types::MacAddress;

use crate::table;

const OFFICIAL: &str = "/usr/lib/cni";

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
        // The chain works on "the host's namespace": one of its own, so that no bridge is left on this machine.
        let chains = scope.spawn(|| -> Result<(Times, Option<Times>)> {
            let host = Namespace::create(&folder.join("host"))?;
            host.inside(|| measure(plugins, &folder, rounds))?
        });
        chains.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
    });
    Namespace::delete(&folder.join("host"))?;
    std::fs::remove_dir_all(&folder)?;
    let (ours, official) = outcome?;
    report(ours, official);
    Ok(())
}

fn measure(plugins: &Path, folder: &Path, rounds: u32) -> Result<(Times, Option<Times>)> {
    let mut ours = Times::default();
    let mut official = Path::new(OFFICIAL).join("bridge").exists().then(Times::default);
    for round in 0..rounds {
        chain(plugins, folder, round, &mut ours)?;
        if let Some(times) = &mut official {
            official_chain(folder, round, times)?;
        }
    }
    Ok((ours, official))
}

fn chain(plugins: &Path, folder: &Path, round: u32, times: &mut Times) -> Result<()> {
    let path = folder.join("task");
    let task = Namespace::create(&path)?;
    let mac = MacAddress([2, round as u8, 1, 2, 3, 4]);
    let device = format!("eni{round}");
    let mut netlink = berth_fabric::kernel::netlink::Netlink::open()?;
    let far = format!("far{round}");
    netlink.create_veth(&VethPair { name: &far, peer_name: &device, peer_mac: Some(mac), ..VethPair::default() })?;
    let bridge = format!(
        r#"{{"cniVersion":"0.3.0","name":"bench","type":"ecs-bridge","bridge":"ecs-bridge","ipam":{{"type":"ecs-ipam","id":"{mac}","ipv4-subnet":"169.254.172.0/22","ipv4-routes":[{{"dst":"169.254.170.2/32"}}]}}}}"#
    );
    let eni = format!(
        r#"{{"cniVersion":"0.3.0","name":"bench","type":"ecs-eni","eni":"eni-1","mac":"{mac}","ip-addresses":["10.9.0.10/24"],"gateway-ip-addresses":["10.9.0.1"]}}"#
    );
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
    let mut netlink = berth_fabric::kernel::netlink::Netlink::open()?;
    netlink.create_veth(&VethPair { name: &far, peer_name: &device, ..VethPair::default() })?;
    let host_device = format!(
        r#"{{"cniVersion":"0.4.0","name":"bench","type":"host-device","device":"{device}","ipam":{{"type":"static","addresses":[{{"address":"10.9.0.10/24","gateway":"10.9.0.1"}}],"routes":[{{"dst":"0.0.0.0/0"}}]}}}}"#
    );
    let config = format!(
        r#"{{"cniVersion":"0.4.0","name":"bench{round}","type":"bridge","bridge":"cni0","isGateway":true,"ipam":{{"type":"host-local","subnet":"10.88.0.0/16","dataDir":"{}"}}}}"#,
        leases.display()
    );
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

fn report(mut ours: Times, official: Option<Times>) {
    let row = |name: &str, times: &mut Times| {
        let cell = |samples: &mut Vec<f64>, share| format!("{:.2}", table::percentile(samples, share));
        vec![
            name.to_owned(),
            cell(&mut times.add_ms, 0.5),
            cell(&mut times.add_ms, 0.99),
            cell(&mut times.del_ms, 0.5),
            cell(&mut times.del_ms, 0.99),
        ]
    };
    let mut rows = vec![row("ecs-eni + ecs-bridge + ecs-ipam", &mut ours)];
    let ratio = official.map(|mut official| {
        rows.push(row("host-device + bridge + host-local", &mut official));
        table::ratio(table::percentile(&mut ours.add_ms, 0.5), table::percentile(&mut official.add_ms, 0.5))
    });
    table::print(&["chain", "ADD p50 ms", "p99", "DEL p50 ms", "p99"], &rows);
    match ratio {
        Some(ratio) => println!("\nADD against the CNI project's plugins: {ratio} (goal <= 0.6)"),
        None => println!("\nno baseline: install Debian's package containernetworking-plugins"),
    }
}
