// SPDX-License-Identifier: Apache-2.0
//! The images, by name: `nginx`, `busybox`, `web`, `api`.
//!
//! `nginx` is Debian's nginx with its welcome page, arranged like the official image: it runs in the foreground and
//! logs to its standard streams. `busybox` is Debian's static busybox. `web` and `api` are busybox and `whoami`, a
//! server that reports the peer and itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::oci::{self, Defaults};
use crate::rootfs::Rootfs;

/// Every image of the test kit.
pub const NAMES: [&str; 4] = ["nginx", "busybox", "web", "api"];

const BUSYBOX_PACKAGE: &str = "busybox-static";
const NGINX_PACKAGES: &[&str] =
    &[BUSYBOX_PACKAGE, "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g", "nginx-common", "nginx"];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds the image `name` and writes it to `file` as an OCI archive. `repository` is the checkout; downloads are kept
/// under its `target/`.
pub fn make(name: &str, repository: &Path, file: &Path) -> Result<()> {
    let work = repository.join("target/images");
    let debs = work.join("debs");
    debian::fetch(if name == "nginx" { NGINX_PACKAGES } else { &[BUSYBOX_PACKAGE] }, &debs)?;
    let (tree, defaults) = match name {
        "nginx" => nginx(&debs)?,
        "busybox" => {
            let mut tree = Rootfs::default();
            busybox(&debs, &mut tree)?;
            (tree, defaults(&["sh"], &[], &[]))
        }
        "web" => whoami(repository, &work, "web", 80)?,
        "api" => whoami(repository, &work, "api", 8080)?,
        _ => bail!("there is no image {name:?}; there are {}", NAMES.join(", ")),
    };
    oci::write_archive(file, &format!("docker.io/library/{name}:latest"), &tree, &defaults)
}

fn defaults(command: &[&str], environment: &[&str], ports: &[u16]) -> Defaults {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    Defaults {
        command: owned(command),
        environment: [owned(&[PATH]), owned(environment)].concat(),
        ports: ports.into(),
    }
}

fn base(tree: &mut Rootfs) {
    tree.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
    tree.file("etc/group", 0o644, "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n");
    tree.directory("root", 0o700);
    tree.directory("run", 0o755);
    tree.directory("tmp", 0o1777);
    tree.directory("var", 0o755);
    for folder in ["dev", "proc", "sys"] {
        tree.directory(folder, 0o755);
    }
}

/// Busybox with a link for each of its applets.
fn busybox(debs: &Path, tree: &mut Rootfs) -> Result<()> {
    base(tree);
    debian::unpack(BUSYBOX_PACKAGE, debs, tree, |path| matches!(path, "bin/busybox" | "usr/bin/busybox"))?;
    let program = tree.read("bin/busybox").or_else(|_| tree.read("usr/bin/busybox"))?.to_vec();
    let scratch = debs.join("busybox");
    fs::write(&scratch, &program)?;
    let mut permissions = fs::metadata(&scratch)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&scratch, permissions)?;
    let applets = Command::new(&scratch).arg("--list").output().context("cannot run busybox to list its applets")?;
    tree.file("bin/busybox", 0o755, program);
    for applet in String::from_utf8(applets.stdout)?.lines().filter(|applet| *applet != "busybox") {
        tree.link(&format!("bin/{applet}"), "busybox");
    }
    Ok(())
}

fn nginx(debs: &Path) -> Result<(Rootfs, Defaults)> {
    let mut tree = Rootfs::default();
    busybox(debs, &mut tree)?;
    let unwanted = ["usr/share/doc/", "usr/share/man/", "usr/share/lintian/", "usr/share/locale/", "etc/init.d/"];
    for package in NGINX_PACKAGES.iter().filter(|package| **package != BUSYBOX_PACKAGE) {
        debian::unpack(package, debs, &mut tree, |path| {
            !unwanted.iter().any(|folder| path.starts_with(folder)) && !path.contains("/gconv/")
        })?;
    }
    // Steps of the packages' installation scripts, and the log settings of the official image.
    let page = tree.read("usr/share/nginx/html/index.html")?.to_vec();
    tree.file("var/www/html/index.nginx-debian.html", 0o644, page);
    tree.link("etc/nginx/sites-enabled/default", "/etc/nginx/sites-available/default");
    tree.link("var/log/nginx/access.log", "/dev/stdout");
    tree.link("var/log/nginx/error.log", "/dev/stderr");
    tree.directory("var/lib/nginx", 0o755);
    Ok((tree, defaults(&["nginx", "-g", "daemon off;"], &[], &[80])))
}

fn whoami(repository: &Path, work: &Path, name: &str, port: u16) -> Result<(Rootfs, Defaults)> {
    let mut tree = Rootfs::default();
    busybox(&work.join("debs"), &mut tree)?;
    tree.file("bin/whoami", 0o755, fs::read(build_whoami(repository, work)?)?);
    let name = format!("NAME={name}");
    Ok((tree, defaults(&["whoami", &port.to_string()], &[&name], &[port])))
}

fn build_whoami(repository: &Path, work: &Path) -> Result<PathBuf> {
    let program = work.join("whoami");
    let status = Command::new("rustc")
        .args(["--edition=2024", "-Copt-level=s", "-Cstrip=symbols", "-Cpanic=abort", "-Ctarget-feature=+crt-static"])
        .args(["--crate-name=whoami", "-o"])
        .arg(&program)
        .arg(repository.join("testkit/whoami/whoami.rs"))
        .status()
        .context("cannot run rustc")?;
    if !status.success() {
        bail!("rustc could not build testkit/whoami/whoami.rs");
    }
    Ok(program)
}
