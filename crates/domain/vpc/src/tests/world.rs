// SPDX-License-Identifier: Apache-2.0
//! The pool of public addresses.

use berth_state::Draft;
use berth_state::records::Single;
use berth_state::vpc::ElasticIp;
use berth_types::{ElasticIpId, Ipv4Cidr};
use expect_test::expect;

use super::World;
use crate::ensure_world;

/// Starts with this option and gives the pool, or the refusal.
fn start(world: &mut World, option: Option<&str>) -> String {
    let pool = option.map(|text| text.parse::<Ipv4Cidr>().unwrap());
    match ensure_world(&world.snap, pool, &world.env()) {
        Ok(change) => {
            let writes = change.writes.len();
            world.apply(change);
            format!("{}, {writes} written", world.snap.vpc().world[&Single].pool)
        }
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn the_pool_stays_until_another_one_is_asked_for() {
    let mut world = World::empty();
    let mut told = String::new();
    for option in [None, None, Some("198.18.0.0/20"), Some("198.19.0.0/24"), None] {
        told.push_str(&format!("{option:?}: {}\n", start(&mut world, option)));
    }
    expect![[r#"
        None: 198.18.0.0/20, 1 written
        None: 198.18.0.0/20, 0 written
        Some("198.18.0.0/20"): 198.18.0.0/20, 0 written
        Some("198.19.0.0/24"): 198.19.0.0/24, 1 written
        None: 198.19.0.0/24, 0 written
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_pool_in_use_and_a_pool_that_cannot_be_are_refused() {
    let mut world = World::with_default_vpc();
    let mut told = String::new();
    for option in ["198.18.0.0/26", "8.0.0.0/7", "127.1.0.0/16", "224.1.0.0/16", "169.254.4.0/24"] {
        told.push_str(&format!("{}\n", start(&mut world, Some(option))));
    }
    let mut draft = Draft::of(&world.snap);
    draft.put(ElasticIp {
        id: ElasticIpId::from_bits(1),
        address: world.snap.vpc().world[&Single].first(),
        association: None,
        allocated_at: world.now,
        tags: Default::default(),
    });
    world.apply(draft.change(()));
    told.push_str(&start(&mut world, Some("198.19.0.0/24")));
    expect![[r#"
        InvalidParameterValue: The pool of public addresses 198.18.0.0/26 must have a prefix length between 8 and 25: its last 64 addresses are for regional endpoints.
        InvalidParameterValue: The pool of public addresses 8.0.0.0/7 must have a prefix length between 8 and 25: its last 64 addresses are for regional endpoints.
        InvalidParameterValue: The pool of public addresses 127.1.0.0/16 has addresses with another meaning on every host.
        InvalidParameterValue: The pool of public addresses 224.1.0.0/16 has addresses with another meaning on every host.
        InvalidParameterValue: The pool of public addresses 169.254.4.0/24 has addresses with another meaning on every host.
        InvalidParameterValue: The pool of public addresses cannot become 198.19.0.0/24 while 1 addresses of 198.18.0.0/20 are in use. Release the elastic IP addresses, stop the tasks that have public ones and start the hosts once with --no-instance-interface, or start without --public-pool."#]].assert_eq(&told);
}
