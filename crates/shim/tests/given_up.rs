// SPDX-License-Identifier: Apache-2.0
//! containerd cleans up after a container nobody waits for any more, while the shim's server is still making it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_shim::ProcessHandle;
use containerd_shim_protos::api::{ConnectRequest, CreateTaskRequest};
use containerd_shim_protos::ttrpc::context::with_duration;
use containerd_shim_protos::{Client, TaskClient};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// A runtime that tells when it is called to make a container, and makes it when it is let: a program that sleeps.
const RUNTIME: &str = r#"#!/bin/sh
here=$(dirname "$0")
for id; do :; done
case $7 in
create)
    mkdir -p "$2/$id"
    echo > "$here/asked"
    read -r _ < "$here/go"
    sleep 600 < /dev/null > /dev/null 2>&1 &
    echo $! > "${11}"
    cp "${11}" "$here/made"
    ;;
delete)
    rm -r "$2/$id"
    ;;
esac
"#;

const SPEC: &str = r#"{
    "annotations": {"berth.runtime": "runc"},
    "root": {"path": "rootfs"},
    "linux": {"namespaces": [{"type": "pid"}]}
}"#;

/// A clean-up that does not wait for the container is over by then.
const HASTE_MS: u16 = 500;
const LIMIT: Duration = Duration::from_secs(20);

fn shim(folder: &Path, action: &str) -> Command {
    let mut shim = Command::new(env!("CARGO_BIN_EXE_berth-shim-alone"));
    shim.args(["-namespace", "test", "-id", "one", "-bundle"]).arg(folder.join("bundle"));
    shim.arg("-address").arg(folder.join("containerd.sock")).arg(action).current_dir(folder.join("bundle"));
    let path = std::env::var("PATH").unwrap();
    shim.env("PATH", format!("{}:{path}", folder.display())).stdin(Stdio::null());
    shim
}

/// The server, which is no child of this process. A test that fails leaves none behind.
struct Server(i32);

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            kill(Pid::from_raw(self.0), Signal::SIGKILL).ok();
        }
    }
}

#[test]
fn a_container_given_up_while_it_is_made_does_not_come_to_life() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir_all(folder.join("bundle/rootfs")).unwrap();
    fs::write(folder.join("bundle/config.json"), SPEC).unwrap();
    fs::write(folder.join("runc"), RUNTIME).unwrap();
    fs::set_permissions(folder.join("runc"), fs::Permissions::from_mode(0o755)).unwrap();
    for pipe in ["asked", "go"] {
        mkfifo(&folder.join(pipe), Mode::S_IRWXU).unwrap();
    }

    let started = shim(folder, "start").output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let address = String::from_utf8(started.stdout).unwrap();
    // Open for as long as the server lives.
    let mut open = UnixStream::connect(address.strip_prefix("unix://").unwrap()).unwrap();
    let client = TaskClient::new(Client::connect(&address).unwrap());
    let server = client.connect(with_duration(LIMIT), &ConnectRequest::default()).unwrap();
    let _server = Server(server.shim_pid as i32);
    let bundle = folder.join("bundle").display().to_string();
    let wanted = CreateTaskRequest { id: "one".to_owned(), bundle, ..CreateTaskRequest::default() };
    let asking = std::thread::spawn(move || client.create(with_duration(LIMIT), &wanted));
    // It begins.
    fs::read(folder.join("asked")).unwrap();

    let mut cleaning = shim(folder, "delete").stdout(Stdio::null()).spawn().unwrap();
    ProcessHandle::of(cleaning.id() as i32).unwrap().has_ended(HASTE_MS).unwrap();
    fs::write(folder.join("go"), "\n").unwrap();
    assert!(cleaning.wait().unwrap().success());
    asking.join().unwrap().unwrap();

    let made = fs::read_to_string(folder.join("made")).unwrap();
    let is_gone = kill(Pid::from_raw(made.trim().parse().unwrap()), Signal::SIGKILL).is_err();
    assert!(is_gone, "the program runs on");
    assert!(!folder.join("oci/test/one").exists(), "the runtime still knows it");
    open.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(open.read(&mut [0]).unwrap(), 0, "the server waits for nothing");
}
