// SPDX-License-Identifier: Apache-2.0
//! Names and addresses by which clients may call the server, for its certificate.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// Names and addresses of loopback, the host's name, the listen address (each of the machine's for the unspecified
/// one), and `more`.
pub fn of(listen: IpAddr, more: &[String]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names.extend(name(host.trim()));
    if listen.is_unspecified() {
        names.extend(addresses().iter().map(IpAddr::to_string));
    } else {
        names.push(listen.to_canonical().to_string());
    }
    names.extend(more.iter().cloned());
    names.sort();
    names.dedup();
    names
}

/// A host name or an address.
pub fn name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() < 64 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = text.len() < 254 && text.strip_prefix("*.").unwrap_or(text).split('.').all(is_label);
    if is_name || text.parse::<IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("a name is a host name or an address".into())
    }
}

/// Addresses of the machine's interfaces; none when the kernel does not return them.
fn addresses() -> Vec<IpAddr> {
    let found = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_host_name_or_an_address() {
        for good in ["berth", "berth.example", "*.berth.example", "192.0.2.1", "2001:db8::1"] {
            assert_eq!(name(good), Ok(good.to_owned()));
        }
        for bad in ["", ".", "a..b", "a_b", "bücher.example", "http://berth", "berth:4566"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_name_is_there_once() {
        let names = of(IpAddr::from([192, 0, 2, 7]), &["berth.example".to_owned(), "localhost".to_owned()]);
        for name in ["127.0.0.1", "::1", "192.0.2.7", "berth.example", "localhost"] {
            assert_eq!(names.iter().filter(|found| *found == name).count(), 1, "{name}: {names:?}");
        }
        assert!(of(IpAddr::from([0, 0, 0, 0]), &[]).contains(&"127.0.0.1".to_owned()));
    }
}
