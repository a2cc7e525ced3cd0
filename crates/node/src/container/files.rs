//! Files every container of a task sees: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`; and its volumes.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use berth_types::intent::{DnsIntent, TaskIntent};

use crate::Fault;
use crate::fault::absent_is_fine;

/// Text of `/etc/hosts`.
pub(crate) fn hosts(address: Ipv4Addr, hostname: &str) -> String {
    format!("127.0.0.1 localhost\n{address} {hostname}\n")
}

/// Text of `/etc/resolv.conf`.
pub(crate) fn resolv_conf(dns: &DnsIntent) -> String {
    let mut text: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !dns.search.is_empty() {
        text.push_str(&format!("search {}\n", dns.search.join(" ")));
    }
    text
}

/// Host name of a task: that of its interface, else one made of its address.
pub(crate) fn hostname(task: &TaskIntent, address: Ipv4Addr) -> String {
    task.hostname.clone().unwrap_or_else(|| {
        let [a, b, c, d] = address.octets();
        format!("ip-{a}-{b}-{c}-{d}")
    })
}

/// Makes the volumes of a task in its folder and, for a task with an interface, writes the files its containers share.
pub(crate) fn prepare(dir: &Path, task: &TaskIntent, address: Option<Ipv4Addr>) -> Result<(), Fault> {
    fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    if let Some(address) = address {
        write_shared(dir, task, address)?;
    }
    for volume in &task.volumes {
        let path = volume_dir(dir, volume);
        fs::create_dir_all(&path).map_err(Fault::file("create", &path))?;
        // As a Docker volume: any user of any container may write.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(Fault::file("open", &path))?;
    }
    Ok(())
}

fn write_shared(dir: &Path, task: &TaskIntent, address: Ipv4Addr) -> Result<(), Fault> {
    let hostname = hostname(task, address);
    let texts = [
        ("hosts", hosts(address, &hostname)),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolv_conf(&task.dns)),
    ];
    for (name, text) in texts {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Fault::file("write", &path))?;
    }
    Ok(())
}

/// Where a volume of a task lives. Names of volumes are letters, digits, `-` and `_`; anything else is made harmless.
pub(crate) fn volume_dir(task_dir: &Path, volume: &str) -> PathBuf {
    let fit: String =
        volume.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect();
    task_dir.join("volumes").join(fit)
}

/// Removes a folder and all in it; one that is not there is as good.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), Fault> {
    absent_is_fine(match fs::remove_dir_all(dir) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Fault::file("remove", dir)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_as_on_aws() {
        let dns =
            DnsIntent { servers: vec![Ipv4Addr::new(10, 0, 0, 2)], search: vec!["us-west-2.compute.internal".into()] };
        assert_eq!(resolv_conf(&dns), "nameserver 10.0.0.2\nsearch us-west-2.compute.internal\n");
        let address = Ipv4Addr::new(10, 0, 0, 35);
        assert_eq!(hosts(address, "h"), "127.0.0.1 localhost\n10.0.0.35 h\n");
        assert_eq!(
            hostname(&crate::container::spec::tests::task(), address),
            "ip-10-0-0-35.us-west-2.compute.internal"
        );
    }
}
