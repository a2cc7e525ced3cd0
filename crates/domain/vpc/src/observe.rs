// SPDX-License-Identifier: Apache-2.0
//! Reports of hosts on interfaces.
//!
//! A report is the present state. It may arrive late, twice or from a host that no longer has the interface, so it
//! counts only if it moves the attachment forward. The rules of tasks read the same report (`ecs`).

use berth_state::vpc::{AttachmentStatus, Eni, EniOwner};
use berth_state::{Change, Draft, Env, Snapshot};
use berth_types::HostId;
use berth_types::report::{EniReport, EniState};

use super::interface;

/// Applies a report of `host` on one interface.
pub fn observe_eni(snap: &Snapshot, host: &HostId, report: &EniReport, _env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    let Some(status) = snap.vpc().enis.get(&report.eni).and_then(|eni| status_on(eni, host)) else {
        return Change::none(());
    };
    match (status, &report.state) {
        (AttachmentStatus::Attaching, EniState::Attached) => interface::attached(&mut draft, &report.eni),
        (AttachmentStatus::Detaching, EniState::Gone) => interface::delete(&mut draft, &report.eni),
        // A failed interface without a task is not retried. It is detached, because the host may hold a part of it.
        (AttachmentStatus::Attaching | AttachmentStatus::Attached, EniState::Failed(_))
            if has_no_task(snap, report) =>
        {
            interface::detach(&mut draft, &report.eni);
        }
        // The host was asked to plug it and has not begun, or plugs it again after a restart.
        (AttachmentStatus::Attaching | AttachmentStatus::Attached, EniState::Gone) => {}
        // The task that owns it decides.
        (AttachmentStatus::Attaching | AttachmentStatus::Attached, EniState::Failed(_)) => {}
        // Already reported.
        (AttachmentStatus::Attached, EniState::Attached) => {}
        // The host has not yet received the request to remove it.
        (AttachmentStatus::Detaching, EniState::Attached | EniState::Failed(_)) => {}
    }
    draft.change(())
}

fn status_on(eni: &Eni, host: &HostId) -> Option<AttachmentStatus> {
    eni.attachment.as_ref().filter(|attachment| attachment.host == *host).map(|attachment| attachment.status)
}

fn has_no_task(snap: &Snapshot, report: &EniReport) -> bool {
    let owner = snap.vpc().enis.get(&report.eni).map(|eni| &eni.owner);
    matches!(owner, Some(EniOwner::Instance(_) | EniOwner::Standalone(_)))
}
