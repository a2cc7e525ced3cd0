// SPDX-License-Identifier: Apache-2.0
//! The world outside all VPCs, and the public addresses of its pool.
//!
//! The first address of the pool is the host's own and the last /26 is for regional endpoints.

use berth_state::records::Single;
use berth_state::vpc::World;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::Ipv4Cidr;
use berth_types::intent::WorldIntent;

use super::request::invalid;

/// Shortest prefix of a pool.
const PREFIX_MIN: u8 = 8;

/// Ranges that cannot overlap a pool, because they have another meaning on every host.
const RESERVED: [&str; 4] = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];

/// Makes the world at the first start. Later it changes nothing, except for another pool that is asked for.
///
/// # Errors
/// The pool cannot be used, or addresses of the present one are in use.
pub fn ensure_world(snap: &Snapshot, pool: Option<Ipv4Cidr>, env: &Env) -> Result<Change<()>, Refusal> {
    let present = snap.vpc().world.get(&Single);
    let default = || Ipv4Cidr::containing(WorldIntent::DEFAULT_POOL.0, WorldIntent::DEFAULT_POOL.1);
    let Some(pool) = pool.or_else(|| present.map_or_else(default, |world| Some(world.pool))) else {
        return Ok(Change::none(()));
    };
    if present.is_some_and(|world| world.pool == pool) {
        return Ok(Change::none(()));
    }
    check(pool)?;
    let used = snap.vpc().index().public_addresses.used();
    if let Some(world) = present.filter(|_| used > 0) {
        return Err(invalid(format!(
            "The pool of public addresses cannot become {pool} while {used} addresses of {} are in use. Release the \
             elastic IP addresses, stop the tasks that have public ones and start the hosts once with \
             --no-instance-interface, or start without --public-pool.",
            world.pool
        )));
    }
    let mut draft = Draft::of(snap);
    draft.put(World { pool, created_at: env.now });
    Ok(draft.change(()))
}

fn check(pool: Ipv4Cidr) -> Result<(), Refusal> {
    if !(PREFIX_MIN..=World::PREFIX_MAX).contains(&pool.prefix()) {
        let max = World::PREFIX_MAX;
        let words = format!(
            "The pool of public addresses {pool} must have a prefix length between {PREFIX_MIN} and {max}: its last 64 \
             addresses are for regional endpoints."
        );
        return Err(invalid(words));
    }
    let mut reserved = RESERVED.iter().filter_map(|range| range.parse().ok());
    if reserved.any(|range| pool.overlaps(range)) {
        let words = format!("The pool of public addresses {pool} has addresses with another meaning on every host.");
        return Err(invalid(words));
    }
    Ok(())
}
