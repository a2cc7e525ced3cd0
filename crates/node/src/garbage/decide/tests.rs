// SPDX-License-Identifier: Apache-2.0
//! One of each kind that is ours and nobody's, beside one that is claimed, one of another instance and one that is only
//! similar.
#![allow(clippy::too_many_lines, clippy::unwrap_used)]

use super::*;
use berth_fabric::cni::ipam::Owner;
use expect_test::expect;

const LOST: &str = "00000000000000000000000000000bad";
const KEPT: &str = "0000000000000000000000000000600d";

fn labelled(name: &str, instance: Option<&str>) -> Labelled {
    let is_pause = name.contains("pause");
    Labelled { name: name.to_owned(), instance: instance.map(str::to_owned), is_pause }
}

fn lease(container_id: &str, if_name: &str) -> Lease {
    let owner = Owner { container_id: container_id.to_owned(), if_name: if_name.to_owned() };
    Lease { address: "169.254.172.9/22".parse().unwrap(), id: "x".to_owned(), network: "ecs".to_owned(), owner }
}

fn own() -> Own {
    Own {
        instance: "main".to_owned(),
        tasks_dir: "/data/node/tasks".into(),
        containerd_state: Some("/run/main/containerd".into()),
    }
}

fn claims() -> Claims {
    let text = |text: &str| BTreeSet::from([text.to_owned()]);
    Claims {
        tasks: BTreeSet::from([TaskId::parse(KEPT).unwrap()]),
        containers: text("ecs-kept"),
        pauses: text("ecs-internalecspause-kept"),
        enis: BTreeSet::from([EniId::from_bits(1)]),
        namespaces: text("main-0000000000aa"),
        bridge: Some("berth0".to_owned()),
        links: text("vb0000000000aa"),
    }
}

fn found() -> Found {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let link = |name: &str, alias: Option<&str>, bridge_alias: Option<&str>| HostLink {
        name: name.to_owned(),
        is_bridge: alias.is_some(),
        alias: alias.map(str::to_owned),
        bridge_alias: bridge_alias.map(str::to_owned),
    };
    let bundle =
        |id: &str| PathBuf::from(format!("/run/main/containerd/io.containerd.runtime.v2.task/berth/{id}/rootfs"));
    Found {
        containers: vec![
            labelled("ecs-internalecspause-lost", Some("main")),
            labelled("ecs-lost", Some("main")),
            labelled("ecs-kept", Some("main")),
            labelled("ecs-other", Some("main2")),
            labelled("ecs-internalecspause-kept", Some("main")),
            labelled("somebodys", None),
        ],
        mounts: vec![
            format!("/data/node/tasks/{LOST}/shm").into(),
            format!("/data/node/tasks/{LOST}/shm/inner").into(),
            format!("/data/node/tasks/{KEPT}/shm").into(),
            "/data/node/tasks/notes/shm".into(),
            format!("/data/node/tasks-of-old/{LOST}").into(),
            bundle("ecs-lost"),
            bundle("ecs-kept"),
            bundle("ecs-forgotten"),
            bundle("somebodys"),
            "/run/main2/containerd/io.containerd.runtime.v2.task/berth/ecs-forgotten/rootfs".into(),
        ],
        task_folders: names(&[LOST, KEPT, "notes"]),
        task_cgroups: names(&[LOST, KEPT, "mine"]).into_iter().collect(),
        enis: BTreeSet::from([EniId::from_bits(1), EniId::from_bits(2)]),
        links: vec![
            link("berth0", Some("berth main"), None),
            link("berth1", Some("berth main"), None),
            link("berth2", Some("berth main2"), None),
            link("br0", None, None),
            link("vb0000000000aa", None, Some("berth main")),
            link("vb0000000000bb", None, Some("berth main")),
            link("vb0000000000cc", None, Some("berth main2")),
            link("vb0000000000dd", None, None),
            link("tap0", None, Some("berth main")),
        ],
        namespaces: names(&[
            "fabric",
            ".host",
            "main-0000000000aa",
            "main-0000000000bb",
            "seat-0000000000bb",
            "main2-0000000000bb",
            "main-notes",
            "main-0000000000bbb",
        ]),
        snapshots: vec![
            labelled("ecs-lost", Some("main")),
            labelled("extract-1 sha256:2", Some("main")),
            labelled("ecs-kept", Some("main")),
            labelled("ecs-other", Some("main2")),
            labelled("sha256:1", None),
        ],
        leases: vec![
            labelled("berth-pull-1", Some("main")),
            labelled("berth-pull-2", Some("main2")),
            labelled("berth-load-3", None),
        ],
        addresses: vec![
            lease("main-0000000000aa", "ecs-eth0"),
            lease("ecs-internalecspause-kept", "ecs-eth0"),
            lease("main-0000000000bb", "ecs-eth0"),
            lease("main-0000000000cc", "eth7"),
        ],
    }
}

#[test]
fn only_what_is_ours_and_nobodys_goes_and_users_go_before_what_they_use() {
    let told: String = garbage(&found(), &claims(), &own()).iter().map(|thing| format!("{thing}\n")).collect();
    expect![[r#"
        container ecs-lost
        container ecs-internalecspause-lost
        mount /run/main/containerd/io.containerd.runtime.v2.task/berth/ecs-forgotten/rootfs
        mount /run/main/containerd/io.containerd.runtime.v2.task/berth/ecs-lost/rootfs
        mount /data/node/tasks/00000000000000000000000000000bad/shm/inner
        mount /data/node/tasks/00000000000000000000000000000bad/shm
        folder of task 00000000000000000000000000000bad
        cgroup /berth/main/00000000000000000000000000000bad
        interface eni-00000000000000002
        link vb0000000000bb
        bridge berth1
        network namespace main-0000000000bb
        network namespace seat-0000000000bb
        snapshot ecs-lost
        snapshot extract-1 sha256:2
        containerd lease berth-pull-1
        lease of 169.254.172.9/22 for main-0000000000bb
    "#]]
    .assert_eq(&told);
}

#[test]
fn in_a_containerd_that_is_shared_no_container_is_unmounted() {
    let own = Own { containerd_state: None, ..own() };
    let mounts = garbage(&found(), &claims(), &own).into_iter().filter(|thing| matches!(thing, Garbage::Mount(_)));
    assert!(mounts.into_iter().all(|mount| mount.to_string().contains("/data/node/tasks/")));
}

#[test]
fn without_garbage_nothing_goes() {
    let clean = Found { namespaces: vec!["fabric".to_owned(), ".host".to_owned()], ..Found::default() };
    assert_eq!(garbage(&clean, &Claims::default(), &own()), []);
}
