// SPDX-License-Identifier: Apache-2.0
//! Requests of the local command line: one connection, one request, one reply.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use berth_ecs as ecs;
use berth_state::ecs::TaskStatus;
use berth_state::vpc::AttachmentStatus;
use berth_state::{Env, Snapshot};
use berth_types::admin::{HostStatus, RateChange, Reply, Request, Seat, Status};
use berth_types::instance::InstanceInterface;
use berth_types::intent::HostIntent;
use berth_types::link::ToNode;
use berth_types::{EniId, HostId, SecurityGroupId, SubnetId, VpcId};
use berth_vpc as vpc;

use super::frames::Outbound;
use super::shared::Link;

/// Maximum time for a host to plug a seat.
const SEAT_OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Maximum time for a host to remove a seat.
const SEAT_CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Answers the request.
pub(super) async fn attend(link: &Link, request: Request, outbound: &mut Outbound) -> io::Result<()> {
    let reply = match request {
        Request::Status => Ok(Reply::Status(status(link))),
        Request::OpenSeat { subnet, security_groups, host } => {
            open_seat(link, subnet, security_groups, host).await.map(Reply::Seat)
        }
        Request::CloseSeat { eni } => close_seat(link, &eni).await.map(|()| Reply::Closed),
        Request::MoveHost { host, wishes } => move_host(link, host, wishes).await,
        Request::Rates => Ok(Reply::Rates(vpc::rate::all(&link.published.snapshot()))),
        Request::Rate { target, set } => rate(link, target, set).await,
        Request::Explain { from, to, vpc } => ends(link, &from, &to, vpc.as_ref()),
    };
    let seat = match &reply {
        Ok(Reply::Seat(seat)) => Some(seat.eni.clone()),
        Ok(Reply::Status(_) | Reply::Closed | Reply::Moved { .. } | Reply::Ends(_) | Reply::Rates(_)) | Err(_) => None,
    };
    let sent = outbound.send(&ToNode::Admin(reply)).await;
    if let (Err(_), Some(eni)) = (&sent, seat) {
        // The caller has disconnected and will never close it.
        give_up(link, &eni).await;
    }
    sent
}

fn status(link: &Link) -> Status {
    let snap = link.published.snapshot();
    let hosts = snap.ecs().hosts.values().map(|host| HostStatus {
        host: host.id.clone(),
        cluster: host.cluster.to_string(),
        connected: host.connected,
        programmed: link.hosts.programmed(&host.id),
        tasks: live_tasks(&snap, Some(&host.id)),
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        endpoint: link.endpoint.clone(),
        admin_endpoint: link.admin_endpoint.clone(),
        region: link.locality.region.clone(),
        account: link.locality.account.clone(),
        revision: snap.revision,
        hosts: hosts.collect(),
        tasks: live_tasks(&snap, None),
        enis: snap.vpc().enis.len(),
        vpcs: snap.vpc().vpcs.len(),
        public_pool: snap.vpc().world.values().next().map(|world| world.pool),
    }
}

fn live_tasks(snap: &Snapshot, host: Option<&HostId>) -> usize {
    let live = snap.ecs().tasks.values().filter(|task| task.status != TaskStatus::Stopped);
    live.filter(|task| host.is_none() || task.host.as_ref() == host).count()
}

async fn rate(link: &Link, target: String, set: Option<RateChange>) -> Result<Reply, String> {
    let Some(set) = set else {
        let of = vpc::rate::of(&link.published.snapshot(), &target).map_err(|refusal| refusal.message)?;
        return Ok(Reply::Rates(vec![of]));
    };
    let rate = match set {
        RateChange::Limit(rate) => Some(rate),
        RateChange::NoLimit => None,
    };
    let rule = move |snap: &Snapshot, _: &Env| vpc::rate::set(snap, &target, rate);
    let of = link.committer.commit("set-rate", link.locality.service_env(), rule).await;
    of.map(|of| Reply::Rates(vec![of])).map_err(|fault| fault.to_string())
}

fn ends(link: &Link, from: &str, to: &str, vpc: Option<&VpcId>) -> Result<Reply, String> {
    let snap = link.published.snapshot();
    let mut ends = vpc::explain::ends(&snap, from, to, vpc).map_err(|refusal| refusal.message)?;
    let deciding = ends.sender().or(ends.receiver.as_ref());
    if let Some(attachment) = deciding.and_then(|party| party.attachment.as_ref()) {
        let intent = berth_plan::host(&snap, &attachment.host, &link.locality.service_env());
        ends.ways = HostIntent { tasks: BTreeMap::new(), ..intent };
        // Routes may lead to other VPCs, whose groups have rules too.
        ends.group_sets.extend(std::mem::take(&mut ends.ways.group_sets));
        ends.security_groups.extend(std::mem::take(&mut ends.ways.security_groups));
    }
    Ok(Reply::Ends(Box::new(ends)))
}

async fn open_seat(
    link: &Link,
    subnet: Option<SubnetId>,
    groups: Vec<SecurityGroupId>,
    host: Option<HostId>,
) -> Result<Seat, String> {
    let rule = move |snap: &Snapshot, env: &Env| vpc::seat::open(snap, subnet.as_ref(), &groups, host.as_ref(), env);
    let watch = link.hosts.watch();
    let seat = link
        .committer
        .commit("open-seat", link.locality.service_env(), rule)
        .await
        .map_err(|fault| fault.to_string())?;
    let outcome = link.published.wait(SEAT_OPEN_LIMIT, |snap| plugged(snap, &seat.eni)).await;
    match outcome {
        Some(true) => Ok(seat),
        Some(false) => {
            let reason = watch.reason(&seat.eni).unwrap_or_else(|| "the interface was taken away".to_owned());
            Err(format!("the host could not plug the seat's interface {}: {reason}", seat.eni))
        }
        None => {
            give_up(link, &seat.eni).await;
            Err(format!(
                "the host did not plug the seat's interface {} within {} s; see the log of `berth node`",
                seat.eni,
                SEAT_OPEN_LIMIT.as_secs()
            ))
        }
    }
}

/// Whether the interface became usable; `None` while undecided.
fn plugged(snap: &Snapshot, eni: &EniId) -> Option<bool> {
    match snap.vpc().enis.get(eni).and_then(|eni| eni.attachment.as_ref()).map(|attachment| attachment.status) {
        Some(AttachmentStatus::Attaching) => None,
        Some(AttachmentStatus::Attached) => Some(true),
        Some(AttachmentStatus::Detaching) | None => Some(false),
    }
}

async fn close_seat(link: &Link, eni: &EniId) -> Result<(), String> {
    let closing = eni.clone();
    let rule = move |snap: &Snapshot, env: &Env| vpc::seat::close(snap, &closing, env);
    link.committer.commit("close-seat", link.locality.service_env(), rule).await.map_err(|fault| fault.to_string())?;
    let gone = |snap: &Snapshot| (!snap.vpc().enis.contains_key(eni)).then_some(());
    link.published.wait(SEAT_CLOSE_LIMIT, gone).await.ok_or_else(|| {
        format!(
            "the host did not take the interface {eni} away within {} s; it will when it is reachable again",
            SEAT_CLOSE_LIMIT.as_secs()
        )
    })
}

async fn move_host(link: &Link, host: HostId, wishes: InstanceInterface) -> Result<Reply, String> {
    let of = host.clone();
    let rule = move |snap: &Snapshot, env: &Env| ecs::move_host(snap, &of, &wishes, env);
    let watch = link.hosts.watch();
    link.committer.commit("move-host", link.locality.service_env(), rule).await.map_err(|fault| fault.to_string())?;
    let primary = |snap: &Snapshot| vpc::instance_interface::present(snap, &host);
    let Some(moved) = primary(&link.published.snapshot()) else {
        return Err(format!("host {host} lost its primary interface while it was moved"));
    };
    match link.published.wait(SEAT_OPEN_LIMIT, |snap| plugged(snap, &moved.id)).await {
        Some(true) => Ok(Reply::Moved { eni: moved.id.clone(), address: moved.address }),
        Some(false) => {
            let reason = watch.reason(&moved.id).unwrap_or_else(|| "it was moved again".to_owned());
            Err(format!("the host could not plug the interface {}: {reason}", moved.id))
        }
        None => Err(format!(
            "the host did not plug the interface {} within {} s; it does when it is connected, see the log of `berth node`",
            moved.id,
            SEAT_OPEN_LIMIT.as_secs()
        )),
    }
}

async fn give_up(link: &Link, eni: &EniId) {
    let closing = eni.clone();
    let rule = move |snap: &Snapshot, env: &Env| vpc::seat::close(snap, &closing, env);
    if let Err(fault) = link.committer.commit("close-seat", link.locality.service_env(), rule).await {
        tracing::warn!(%eni, %fault, "an abandoned seat could not be closed");
    }
}
