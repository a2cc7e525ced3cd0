//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container without an interface of the VPC, as Docker writes
//! them: each container has its own.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use berth_types::intent::{ContainerIntent, DnsIntent};
use berth_types::mode::NetworkMode;

use super::Place;
use crate::Fault;
use crate::container::files::resolv_conf;

/// Lines of every `/etc/hosts` Docker writes.
const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// A linked container: its address, its alias, its host name, its name.
type Linked = (Ipv4Addr, String, String, String);

/// Writes the files of one container. `all` are the places of its task, with the host name of each.
pub(super) fn write(
    dir: &Path,
    container: &ContainerIntent,
    dns: &DnsIntent,
    at: usize,
    all: &[(Place, String)],
) -> Result<(), Fault> {
    let Some((place, hostname)) = all.get(at) else { return Ok(()) };
    let of_host = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let hosts = match place.mode {
        NetworkMode::Host => of_host("/etc/hosts"),
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Awsvpc => {
            hosts(place.address, hostname, &linked(container, all))
        }
    };
    let resolv = match dns.servers.is_empty() && dns.search.is_empty() {
        true => servers(&of_host("/etc/resolv.conf"), place.mode),
        false => resolv_conf(dns),
    };
    fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    for (name, text) in [("hosts", hosts), ("hostname", format!("{hostname}\n")), ("resolv.conf", resolv)] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Fault::file("write", &path))?;
    }
    Ok(())
}

fn linked(container: &ContainerIntent, all: &[(Place, String)]) -> Vec<Linked> {
    let found = |link: &berth_types::mode::ContainerLink| {
        let (place, hostname) = all.iter().find(|(place, _)| place.container == link.container)?;
        Some((place.address?, link.alias.clone(), hostname.clone(), link.container.clone()))
    };
    container.links.iter().filter_map(found).collect()
}

/// Text of `/etc/hosts`.
fn hosts(address: Option<Ipv4Addr>, hostname: &str, linked: &[Linked]) -> String {
    let mut text = LOCAL.to_owned();
    for (address, alias, hostname, name) in linked {
        let names = if alias == name { format!("{alias} {hostname}") } else { format!("{alias} {hostname} {name}") };
        writeln!(text, "{address}\t{names}").expect("writing to a string");
    }
    if let Some(address) = address {
        writeln!(text, "{address}\t{hostname}").expect("writing to a string");
    }
    text
}

/// The host's `/etc/resolv.conf`. On a bridge a server on the host's loopback cannot be reached and is left out.
fn servers(of_host: &str, mode: NetworkMode) -> String {
    let is_loopback = |line: &str| {
        let server = line.trim().strip_prefix("nameserver").map(str::trim);
        server.and_then(|server| server.parse::<IpAddr>().ok()).is_some_and(|server| server.is_loopback())
    };
    let lines = of_host.lines().filter(|line| mode != NetworkMode::Bridge || !is_loopback(line));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_container_is_known_by_its_alias() {
        let linked = [
            (Ipv4Addr::new(172, 17, 0, 3), "data".to_owned(), "0123456789ab".to_owned(), "db".to_owned()),
            (Ipv4Addr::new(172, 17, 0, 4), "cache".to_owned(), "ba9876543210".to_owned(), "cache".to_owned()),
        ];
        let text = hosts(Some(Ipv4Addr::new(172, 17, 0, 2)), "h", &linked);
        let own: Vec<&str> = text.lines().skip(2).collect();
        let wanted = ["172.17.0.3\tdata 0123456789ab db", "172.17.0.4\tcache ba9876543210", "172.17.0.2\th"];
        assert_eq!(own, wanted);
        assert_eq!(hosts(None, "h", &[]), LOCAL);
    }

    #[test]
    fn a_server_on_the_loopback_of_the_host_is_of_no_use_on_a_bridge() {
        let text = "nameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch example.com\n";
        assert_eq!(servers(text, NetworkMode::Bridge), "nameserver 10.0.0.2\nsearch example.com\n");
        assert_eq!(servers(text, NetworkMode::Host), text);
    }
}
