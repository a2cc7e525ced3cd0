// SPDX-License-Identifier: Apache-2.0
//! Users of an image: `user`, `uid`, `user:group` and so on become numbers, by the image's own files.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use berth_shim::read::file_at_most;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::inside;
use crate::SpecFault;

/// The user and groups of a container's program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home folder, for `HOME`.
    pub home: Option<String>,
}

/// Reads `written` by the texts of `/etc/passwd` and `/etc/group`.
pub(crate) fn resolve(written: &str, passwd: &str, group: &str) -> Result<Identity, SpecFault> {
    let (user, wanted_group) = match written.split_once(':') {
        Some((user, wanted)) => (user, Some(wanted).filter(|wanted| !wanted.is_empty())),
        None => (written, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let entry = entries(passwd).find(|entry| entry.name == user || number.is_some_and(|uid| entry.id == uid));
    let uid = match (&entry, number) {
        (Some(entry), _) => entry.id,
        (None, Some(uid)) => uid,
        (None, None) => return Err(SpecFault::NoUser(user.to_owned())),
    };
    let gid = match wanted_group {
        Some(wanted) => group_id(wanted, group)?,
        None => entry.as_ref().and_then(|entry| entry.rest.first()).and_then(|gid| gid.parse().ok()).unwrap_or(0),
    };
    let groups = match (wanted_group, &entry) {
        (None, Some(entry)) => memberships(&entry.name, group, gid),
        (Some(_), _) | (None, None) => Vec::new(),
    };
    let home = entry.and_then(|entry| entry.rest.get(2).cloned()).filter(|home| !home.is_empty());
    Ok(Identity { uid, gid, groups, home })
}

fn group_id(wanted: &str, group: &str) -> Result<u32, SpecFault> {
    let number: Option<u32> = wanted.parse().ok();
    let named = entries(group).find(|entry| entry.name == wanted).map(|entry| entry.id);
    named.or(number).ok_or_else(|| SpecFault::NoGroup(wanted.to_owned()))
}

fn memberships(user: &str, group: &str, primary: u32) -> Vec<u32> {
    let is_member = |entry: &Entry| entry.rest.first().is_some_and(|members| members.split(',').any(|m| m == user));
    entries(group).filter(is_member).map(|entry| entry.id).filter(|gid| *gid != primary).collect()
}

struct Entry {
    name: String,
    id: u32,
    rest: Vec<String>,
}

/// Lines `name:password:id:rest...`.
fn entries(text: &str) -> impl Iterator<Item = Entry> + '_ {
    text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let id = parts.nth(1)?.parse().ok()?;
        Some(Entry { name, id, rest: parts.map(str::to_owned).collect() })
    })
}

/// Folders that make up a snapshot, the topmost first, by the options it would be mounted with.
pub(crate) fn layers<'a>(kind: &str, source: &'a str, options: &'a [String]) -> Vec<&'a Path> {
    if kind == "bind" {
        return vec![Path::new(source)];
    }
    let option = |name: &str| options.iter().find_map(|option| option.strip_prefix(name));
    let upper = option("upperdir=").into_iter();
    upper.chain(option("lowerdir=").into_iter().flat_map(|dirs| dirs.split(':'))).map(Path::new).collect()
}

/// Longest user file that is read.
const FILE_BYTES_MAX: usize = 4 << 20;

/// A file of a snapshot that is not mounted: the first layer that has something there decides. What is no plain file is
/// not opened.
pub(crate) fn read_in_layers(layers: &[&Path], name: &str) -> String {
    for layer in layers {
        match inside::open(layer, name, OFlag::O_PATH) {
            Err(Errno::ENOENT) => {}
            // A whiteout on the way, or a link that leads nowhere.
            Err(_) => return String::new(),
            // Longer than any list of users, a whiteout, or a device: no such list.
            Ok(found) => return read_plain(&found).unwrap_or_default(),
        }
    }
    String::new()
}

/// The text of what was found, if it is a plain file of a fit length.
fn read_plain(found: &OwnedFd) -> std::io::Result<String> {
    let kind = SFlag::from_bits_truncate(nix::sys::stat::fstat(found)?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG {
        return Ok(String::new());
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    file_at_most(Path::new(&path), FILE_BYTES_MAX).map(|text| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/var/web:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,web\nweb:x:102:\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let root = resolve("", PASSWD, GROUP).unwrap();
        assert_eq!(root, Identity { uid: 0, gid: 0, groups: vec![10], home: Some("/root".to_owned()) });
        let web = Identity { uid: 101, gid: 102, groups: vec![10], home: Some("/var/web".to_owned()) };
        assert_eq!(resolve("web", PASSWD, GROUP).unwrap(), web);
        assert_eq!(resolve("101", PASSWD, GROUP).unwrap(), web);
    }

    #[test]
    fn a_group_replaces_the_memberships() {
        let found = resolve("web:wheel", PASSWD, GROUP).unwrap();
        assert_eq!((found.uid, found.gid, found.groups), (101, 10, vec![]));
        assert_eq!(resolve("7:8", PASSWD, GROUP).unwrap(), Identity { uid: 7, gid: 8, groups: vec![], home: None });
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert_eq!(
            resolve("nobody", PASSWD, GROUP).unwrap_err().to_string(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert!(resolve("web:none", PASSWD, GROUP).is_err());
    }

    #[test]
    fn layers_are_looked_through_from_the_top() {
        let options = ["index=off", "workdir=/w", "upperdir=/u", "lowerdir=/b:/a"].map(str::to_owned);
        assert_eq!(layers("overlay", "overlay", &options), ["/u", "/b", "/a"].map(Path::new));
    }

    #[test]
    fn links_of_an_image_do_not_lead_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str| {
            let layer = dir.path().join(name);
            std::fs::create_dir(&layer).unwrap();
            layer
        };
        let (top, below) = (layer("top"), layer("below"));
        std::fs::create_dir(below.join("etc")).unwrap();
        std::fs::write(below.join("etc/passwd"), "below").unwrap();
        let read = || read_in_layers(&[&top, &below], "etc/passwd");
        assert_eq!(read(), "below", "nothing is on top");
        let link = |target: &Path| std::os::unix::fs::symlink(target, top.join("etc")).unwrap();
        let outside = layer("outside");
        std::fs::write(outside.join("passwd"), "the host's").unwrap();
        link(&outside);
        assert_ne!(read(), "the host's");
        std::fs::create_dir(top.join("private")).unwrap();
        std::fs::write(top.join("private/passwd"), "linked").unwrap();
        std::fs::remove_file(top.join("etc")).unwrap();
        link(Path::new("/../private"));
        assert_eq!(read(), "linked", "a link inside the image is followed");
        std::fs::remove_file(top.join("private/passwd")).unwrap();
        nix::unistd::mkfifo(&top.join("private/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(), "", "a pipe is no list of users, and is not waited for");
        std::fs::remove_file(top.join("etc")).unwrap();
        std::fs::write(top.join("etc"), "").unwrap();
        assert_eq!(read(), "", "a file hides the folder below");
    }
}
