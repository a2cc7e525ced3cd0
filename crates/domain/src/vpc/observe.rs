//! What hosts report about interfaces.
//!
//! A report is the present state, may come late, twice or from a host that no longer has the interface; only what
//! moves the attachment forward counts. Tasks look at the same report themselves (`ecs`).

use berth_types::HostId;
use berth_types::report::{EniReport, EniState};

use super::interface;
use super::record::{AttachmentStatus, Eni, EniOwner};
use crate::{Change, Draft, Env, Snapshot};

/// Takes in what `host` says about one interface.
pub fn observe_eni(snap: &Snapshot, host: &HostId, report: &EniReport, _env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    let Some(status) = snap.enis.get(&report.eni).and_then(|eni| status_on(eni, host)) else {
        return Change::none(());
    };
    match (status, &report.state) {
        (AttachmentStatus::Attaching, EniState::Attached) => interface::attached(&mut draft, &report.eni),
        (AttachmentStatus::Detaching, EniState::Gone) => interface::delete(&mut draft, &report.eni),
        // A seat has nobody who tries again. It is taken away whole, for the host may hold a part of it.
        (AttachmentStatus::Attaching | AttachmentStatus::Attached, EniState::Failed(_)) if is_seat(snap, report) => {
            interface::detach(&mut draft, &report.eni);
        }
        // The host was asked to plug it and has not begun, or plugs it anew after a restart.
        (AttachmentStatus::Attaching | AttachmentStatus::Attached, EniState::Gone) => {}
        // Decided by the task that owns it.
        (AttachmentStatus::Attaching | AttachmentStatus::Attached, EniState::Failed(_)) => {}
        // Said before.
        (AttachmentStatus::Attached, EniState::Attached) => {}
        // The host has yet to hear that it must let go.
        (AttachmentStatus::Detaching, EniState::Attached | EniState::Failed(_)) => {}
    }
    draft.change(())
}

fn status_on(eni: &Eni, host: &HostId) -> Option<AttachmentStatus> {
    eni.attachment.as_ref().filter(|attachment| attachment.host == *host).map(|attachment| attachment.status)
}

fn is_seat(snap: &Snapshot, report: &EniReport) -> bool {
    snap.enis.get(&report.eni).is_some_and(|eni| matches!(eni.owner, EniOwner::Seat(_)))
}
