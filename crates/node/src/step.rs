// SPDX-License-Identifier: Apache-2.0
//! The steps of a node's work between which it may be killed: each is what was noted, or done, last.
//!
//! Whatever the step, the next node finds in the journal what may have been made and finishes it or takes it back. The
//! kernel suite kills a node at each of them (`tests/kernel_crashes.rs`).

use berth_types::{FaultPoints, steps};

steps! {
    /// The last thing that was written to the journal or done.
    pub enum Step {
        /// The wall around the way to the world is in the journal, and not made.
        WallNoted,
        /// The wall is made, and the way is closed.
        WallMade,
        /// The way is open; the journal has what the host's end forwarded before the uplink.
        UplinkNoted,
        /// The host's end forwards for the uplink.
        UplinkMade,
        /// The way is closed and the wall is gone, and the journal still has it.
        WallRemoved,
        /// The wall is in no journal any more.
        WallForgotten,
        /// The pair of a simulated host to its machine is made, and no address leads to it.
        OutsideMade,
        /// The machine leads public addresses to the host.
        OutsideLed,
        /// The pair is gone, and its wall on the machine is not.
        OutsideClosed,
        /// A task is in the journal, and nothing of it is made.
        TaskNoted,
        /// A namespace is in the journal.
        NamespaceNoted,
        /// Its file and loopback are made.
        NamespaceMade,
        /// It is connected to the bridge; its address is in no journal.
        NamespaceWired,
        /// Its address on the bridge is in the journal.
        NamespaceAddressNoted,
        /// containerd knows its pause container.
        PauseMade,
        /// The pause container has a process that has not started.
        PauseTaskMade,
        /// The pause container runs.
        PauseStarted,
        /// The namespace is the task's; the task's record does not have it.
        NamespaceTaken,
        /// The pause container has the labels of the task.
        PauseLabelled,
        /// The interface of a Fargate task is in its namespace, without addresses.
        InterfacePlugged,
        /// It has addresses and routes.
        InterfaceConfigured,
        /// It is in the journal that the plugins are about to be called.
        PluginsNoted,
        /// The interface of a task of the EC2 launch type is in the host's namespace.
        InterfaceOnHost,
        /// `ecs-eni` moved it.
        InterfaceMoved,
        /// `ecs-bridge` connected the namespace to the bridge.
        BridgeJoined,
        /// The address it gave is in the journal.
        PluginsAddressNoted,
        /// The bridge of the instance is in the journal.
        BridgeNoted,
        /// The place of a container is in the journal.
        PlaceNoted,
        /// The rules for it are in the kernel.
        RulesApplied,
        /// The bridge of the instance is made.
        BridgeMade,
        /// A place is made.
        PlaceMade,
        /// The image of a container is ready.
        ImageReady,
        /// Volumes and files of the task are made.
        FilesMade,
        /// Its cgroup is made.
        CgroupMade,
        /// The pause program is in it.
        PauseConfined,
        /// First content of a volume is gathered from an image.
        VolumeGathered,
        /// The volume is there with its first content.
        VolumeFilled,
        /// The file system of a container is made.
        SnapshotMade,
        /// containerd knows the container.
        ContainerMade,
        /// The container has a process that has not started.
        ContainerTaskMade,
        /// Its program runs, and the journal does not have it.
        ContainerStarted,
        /// The journal has the task as running.
        RunningNoted,
        /// The end of a program is in the journal.
        ExitNoted,
        /// The journal has the task as stopping.
        StopNoted,
        /// A container was asked to end.
        StopAsked,
        /// Every container of the task has ended.
        ContainersEnded,
        /// The process of a container is gone from containerd, and with it how it ended.
        ContainerTaskRemoved,
        /// containerd does not know the container any more.
        ContainerRemoved,
        /// The file system of a container is gone.
        SnapshotRemoved,
        /// The place of a container is gone.
        PlaceRemoved,
        /// The bridge of the instance is gone.
        BridgeRemoved,
        /// The place is in no journal any more.
        PlaceForgotten,
        /// The bridge is in no journal any more.
        BridgeForgotten,
        /// The task's cgroup is gone.
        CgroupRemoved,
        /// The task's folder is gone.
        FilesRemoved,
        /// The journal has the task as stopped.
        StoppedNoted,
        /// The interface is gone.
        InterfaceUnplugged,
        /// The pause container is gone.
        PauseRemoved,
        /// The namespace is gone.
        NamespaceRemoved,
        /// The namespace is in no journal any more.
        NamespaceForgotten,
        /// The journal says that interface and namespace are given back.
        ReleasedNoted,
        /// The task is in no journal any more.
        TaskForgotten,
        /// A seat is in the journal.
        SeatNoted,
        /// The namespace of a seat is made.
        SeatMade,
        /// The interface of a seat is plugged.
        SeatPlugged,
        /// The journal has the seat as open.
        SeatOpenNoted,
        /// The interface of a seat is gone.
        SeatUnplugged,
        /// The namespace of a seat is gone.
        SeatRemoved,
        /// A seat is in no journal any more.
        SeatForgotten,
    }
}

/// Passes a step: dies here, as by SIGKILL, if a test wants it.
pub(crate) fn pass(points: &FaultPoints<Step>, step: Step) {
    if points.is_due(&step) {
        tracing::error!(?step, "a fault point ends this node");
        std::process::abort();
    }
}
