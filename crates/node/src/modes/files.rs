// SPDX-License-Identifier: Apache-2.0
//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container without an interface of the VPC, as Docker writes
//! them: each container has its own.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use berth_types::container::ExtraHost;
use berth_types::intent::{ContainerIntent, DnsIntent};
use berth_types::mode::NetworkMode;

use super::place::NetworkPlace;
use crate::Fault;
use crate::container::files::resolv_conf;
use crate::folders::open_file;

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
    all: &[(NetworkPlace, String)],
) -> Result<(), Fault> {
    let Some((place, hostname)) = all.get(at) else { return Ok(()) };
    let of_host = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let hosts = match place.mode {
        NetworkMode::Host => of_host("/etc/hosts"),
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Awsvpc => {
            hosts(place.address, hostname, &linked(container, all))
        }
    };
    let hosts = extended(hosts, &container.extra_hosts);
    let resolv = match dns.servers.is_empty() && dns.search.is_empty() {
        true => servers(&of_host("/etc/resolv.conf"), place.mode),
        false => resolv_conf(dns),
    };
    let resolv = own_resolver(&resolv, container);
    fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    for (name, text) in [("hosts", hosts), ("hostname", format!("{hostname}\n")), ("resolv.conf", resolv)] {
        let path = dir.join(name);
        open_file(&path, text)?;
    }
    Ok(())
}

fn linked(container: &ContainerIntent, all: &[(NetworkPlace, String)]) -> Vec<Linked> {
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
        // Of a name with a domain, the short name leads here too.
        let short = hostname.split_once('.').map_or(String::new(), |(short, _)| format!(" {short}"));
        writeln!(text, "{address}\t{hostname}{short}").expect("writing to a string");
    }
    text
}

/// Text of `/etc/hosts` with the lines a definition adds.
fn extended(mut text: String, extra: &[ExtraHost]) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.extend(extra.iter().map(|host| format!("{}\t{}\n", host.ip_address, host.hostname)));
    text
}

/// A `/etc/resolv.conf` with the servers and search domains of a container, where it names some, in place of those there.
fn own_resolver(text: &str, container: &ContainerIntent) -> String {
    let is_replaced = |line: &&str| match line.split_whitespace().next() {
        Some("nameserver") => !container.dns_servers.is_empty(),
        Some("search" | "domain") => !container.dns_search_domains.is_empty(),
        Some(_) | None => false,
    };
    let mut own: String = text.lines().filter(|line| !is_replaced(line)).map(|line| format!("{line}\n")).collect();
    own.extend(container.dns_servers.iter().map(|server| format!("nameserver {server}\n")));
    if !container.dns_search_domains.is_empty() {
        own.push_str(&format!("search {}\n", container.dns_search_domains.join(" ")));
    }
    own
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
    use crate::container::spec::tests::container;

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
    fn extra_hosts_come_last_on_lines_of_their_own() {
        let extra = [ExtraHost { hostname: "db".to_owned(), ip_address: "10.0.0.9".to_owned() }];
        assert_eq!(extended("127.0.0.1 localhost".to_owned(), &extra), "127.0.0.1 localhost\n10.0.0.9\tdb\n");
        assert_eq!(extended(LOCAL.to_owned(), &[]), LOCAL);
    }

    #[test]
    fn a_container_has_the_servers_and_domains_it_names() {
        let text = "search example.com\nnameserver 10.0.0.2\noptions ndots:2\n";
        let named = |servers: &[&str], domains: &[&str]| {
            let dns_servers = servers.iter().filter_map(|server| server.parse().ok()).collect();
            let dns_search_domains = domains.iter().map(|&domain| domain.to_owned()).collect();
            own_resolver(text, &ContainerIntent { dns_servers, dns_search_domains, ..container() })
        };
        assert_eq!(named(&[], &[]), text);
        assert_eq!(named(&["1.1.1.1"], &[]), "search example.com\noptions ndots:2\nnameserver 1.1.1.1\n");
        assert_eq!(named(&[], &["a", "b"]), "nameserver 10.0.0.2\noptions ndots:2\nsearch a b\n");
        assert_eq!(
            named(&["1.1.1.1", "::1"], &["a"]),
            "options ndots:2\nnameserver 1.1.1.1\nnameserver ::1\nsearch a\n"
        );
    }

    #[test]
    fn a_server_on_the_loopback_of_the_host_is_of_no_use_on_a_bridge() {
        let text = "nameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch example.com\n";
        assert_eq!(servers(text, NetworkMode::Bridge), "nameserver 10.0.0.2\nsearch example.com\n");
        assert_eq!(servers(text, NetworkMode::Host), text);
    }
}
