// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use super::*;
use expect_test::{Expect, expect};

fn config() -> EniConfig {
    EniConfig {
        mac: "02:00:00:00:00:07".parse().unwrap(),
        addresses: vec!["10.0.1.20/24".parse().unwrap()],
        gateways: vec!["10.0.1.1".parse().unwrap()],
        mtu: Some(9001),
        vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        block_instance_metadata: false,
        stay_down: false,
    }
}

fn seen(name: &str, is_up: bool) -> Seen {
    let link = Link {
        index: 3,
        name: name.into(),
        mac: Some("02:00:00:00:00:07".parse().unwrap()),
        mtu: 1500,
        is_up,
        ..Link::default()
    };
    Seen { link, addresses: vec![], routes: vec![], has_ipv6: true }
}

#[track_caller]
fn check(config: &EniConfig, seen: &Seen, expected: Expect) {
    expected.assert_eq(&plan(config, "eth0", seen).iter().map(|step| format!("{step}\n")).collect::<String>());
}

#[test]
fn a_device_of_another_name_is_renamed_and_made_ready() {
    check(
        &EniConfig { block_instance_metadata: true, ..config() },
        &seen("ens6", true),
        expect![[r#"
            switch off
            rename ens6 to eth0
            set MTU 9001
            add address 10.0.1.20/24
            switch on
            add route blackhole 169.254.169.254
            add route blackhole fd00:ec2::254
            add route 10.0.0.0/16 via 10.0.1.1 dev #3 mtu 9001
            add route default via 10.0.1.1 dev #3 mtu 1500
        "#]],
    );
}

#[test]
fn without_vpc_ranges_the_default_route_has_no_limit_and_without_mtu_the_device_keeps_its_own() {
    check(
        &EniConfig { vpc_cidrs: vec![], mtu: None, ..config() },
        &seen("eth0", false),
        expect![[r#"
            add address 10.0.1.20/24
            switch on
            add route default via 10.0.1.1 dev #3
        "#]],
    );
}

#[test]
fn a_vpc_no_larger_than_the_subnet_is_on_the_link() {
    check(
        &EniConfig { vpc_cidrs: vec!["10.0.1.0/24".parse().unwrap()], mtu: Some(1450), ..config() },
        &seen("eth0", false),
        expect![[r#"
            set MTU 1450
            add address 10.0.1.20/24
            switch on
            add route default via 10.0.1.1 dev #3
        "#]],
    );
}

#[test]
fn nothing_is_left_to_do_when_all_is_there() {
    let mut done = seen("eth0", true);
    done.link.mtu = 9001;
    done.addresses = config().addresses;
    let routes = plan(&config(), "eth0", &done);
    done.routes = routes
        .iter()
        .filter_map(|step| match step {
            Step::AddRoute { route } => Some(*route),
            _ => None,
        })
        .collect();
    check(&config(), &done, expect![[""]]);
}

#[test]
fn no_range_of_the_vpc_takes_the_place_of_what_drops() {
    let cidrs = vec!["169.254.169.254/32".parse().unwrap()];
    let config = EniConfig { block_instance_metadata: true, vpc_cidrs: cidrs, ..config() };
    let routes: Vec<_> = routes(&config, &seen("eth0", true)).iter().map(ToString::to_string).collect();
    assert_eq!(routes[0], "blackhole 169.254.169.254");
    assert!(!routes[1..].iter().any(|route| route.starts_with("169.254.169.254")), "{routes:?}");
}
