// SPDX-License-Identifier: Apache-2.0
//! Reports of hosts on tasks and their interfaces.
//!
//! Each report is a whole state. A report from another host, a late one or a repeated one changes nothing.

use std::sync::Arc;

use berth_state::ecs::{Task, TaskAttachmentStatus, TaskContainer, TaskStatus, TaskStop};
use berth_state::{Change, Draft, Env, Snapshot};
use berth_types::HostId;
use berth_types::report::{ContainerReport, ContainerStatus, EniReport, EniState, StopCause, TaskReport, TaskStage};
use berth_vpc as vpc;

use super::phase::{Follow, decide_stop, settle};

/// Applies a report of `host` on a task.
pub fn observe_task(snap: &Snapshot, host: &HostId, report: &TaskReport, env: &Env) -> Change<()> {
    let Some(known) = snap.ecs().tasks.get(&report.task).filter(|task| task.host.as_ref() == Some(host)) else {
        return Change::none(());
    };
    if known.status >= TaskStatus::Deprovisioning || known.stage.is_some_and(|stage| report.stage < stage) {
        return Change::none(());
    }
    let mut task = (**known).clone();
    task.stage = Some(report.stage);
    for (container, report) in task.containers.iter_mut().filter_map(|container| {
        let found = report.containers.iter().find(|report| report.name == container.name);
        found.map(|found| (container, found))
    }) {
        merge_container(container, report);
    }
    let times = &mut task.times;
    times.pull_started_at = times.pull_started_at.or(report.pull_started_at);
    times.pull_stopped_at = report.pull_stopped_at.or(times.pull_stopped_at);
    times.execution_stopped_at = times.execution_stopped_at.or(report.execution_stopped_at);
    if let Some(stop) = stop_seen(&task, report) {
        decide_stop(&mut task, stop, env.now);
    }
    store(snap, known, task, env)
}

/// Applies a report of `host` on an interface, and settles the task it belongs to.
pub fn observe_eni(snap: &Snapshot, host: &HostId, report: &EniReport, env: &Env) -> Change<()> {
    let owner = snap.vpc().enis.get(&report.eni).and_then(|eni| eni.owner.task());
    let task =
        owner.and_then(|task| snap.ecs().tasks.get(task)).filter(|task| task.host.as_ref() == Some(host)).cloned();
    let mut draft = Draft::of(snap);
    draft.take(vpc::observe_eni(snap, host, report, env));
    let Some(known) = task else { return draft.change(()) };
    let mut task = (*known).clone();
    let is_gone = !draft.vpc().enis.contains_key(&report.eni);
    let Some(network) = &mut task.network else { return draft.change(()) };
    match (&report.state, network.status) {
        (EniState::Attached, TaskAttachmentStatus::Precreated | TaskAttachmentStatus::Attaching) => {
            network.status = TaskAttachmentStatus::Attached;
        }
        (EniState::Gone, TaskAttachmentStatus::Detaching) if is_gone => {
            network.status = TaskAttachmentStatus::Deleted;
        }
        // Also when attached: a host that lost its state plugs it again, and the failure is then final.
        (
            EniState::Failed(reason),
            TaskAttachmentStatus::Precreated | TaskAttachmentStatus::Attaching | TaskAttachmentStatus::Attached,
        ) => {
            network.status = TaskAttachmentStatus::Failed;
            let reason =
                format!("ResourceInitializationError: unable to set up the network interface {}: {reason}", report.eni);
            decide_stop(&mut task, TaskStop { code: FAILED_TO_START.to_owned(), reason }, env.now);
        }
        // Already reported, or too late to count.
        (EniState::Attached | EniState::Gone | EniState::Failed(_), _) => {}
    }
    let change = store(&draft, &known, task, env);
    draft.take(change);
    draft.change(())
}

/// Code of a task that never ran.
pub(super) const FAILED_TO_START: &str = "TaskFailedToStart";

/// Code of a task that ended by itself.
const ESSENTIAL_EXITED: &str = "EssentialContainerExited";

/// Settles the task and writes it if it changed.
pub(super) fn store(snap: &Snapshot, known: &Arc<Task>, mut task: Task, env: &Env) -> Change<()> {
    let follow = settle(&mut task, env.now);
    let mut draft = Draft::of(snap);
    if task != **known {
        // Changes of the interface and of containers count as changes of the task.
        task.version = task.version.max(known.version + 1);
        draft.put(task);
    }
    match follow {
        Follow::Nothing => {}
        Follow::Detach(eni) => vpc::interface::detach(&mut draft, &eni),
    }
    draft.change(())
}

fn stop_seen(task: &Task, report: &TaskReport) -> Option<TaskStop> {
    let essential_exited =
        || TaskStop { code: ESSENTIAL_EXITED.to_owned(), reason: "Essential container in task exited".to_owned() };
    match (&report.stop, report.stage) {
        (Some(StopCause::EssentialContainerExited { .. }), _) => Some(essential_exited()),
        (Some(StopCause::FailedToStart { reason }), _) => {
            Some(TaskStop { code: FAILED_TO_START.to_owned(), reason: reason.clone() })
        }
        (None, TaskStage::Provisioning | TaskStage::Pending | TaskStage::Running) => None,
        // The host ended a task that was not asked to stop, and gave no reason.
        (None, TaskStage::Stopping | TaskStage::Stopped) if task.times.started_at.is_some() => Some(essential_exited()),
        (None, TaskStage::Stopping | TaskStage::Stopped) => Some(TaskStop {
            code: FAILED_TO_START.to_owned(),
            reason: "ResourceInitializationError: the host ended the task before it ran and gave no reason".to_owned(),
        }),
    }
}

fn merge_container(container: &mut TaskContainer, report: &ContainerReport) {
    if rank(report.status) < rank(container.status) {
        return;
    }
    container.status = report.status;
    container.runtime_id = report.runtime_id.clone().or(container.runtime_id.take());
    container.image_digest = report.image_digest.clone().or(container.image_digest.take());
    container.exit_code = report.exit_code.or(container.exit_code);
    container.reason = report.reason.clone().or(container.reason.take());
    if !report.network_bindings.is_empty() {
        container.network_bindings = report.network_bindings.clone();
    }
    container.health = report.health.or(container.health);
}

fn rank(status: ContainerStatus) -> u8 {
    match status {
        ContainerStatus::Pending => 0,
        ContainerStatus::Running => 1,
        ContainerStatus::Stopped => 2,
    }
}
