// SPDX-License-Identifier: Apache-2.0
//! Members of answers about a network interface that follow from its owner.

use berth_state::vpc::EniOwner;
use berth_types::intent::Holder;

/// What AWS shows of an interface because of its owner.
pub(super) struct ByOwner {
    /// Member InterfaceType.
    pub interface_type: &'static str,
    /// Member RequesterManaged. If true, the requester's id is shown, and the attachment shows no instance.
    pub requester_managed: bool,
    /// Member DeleteOnTermination of the attachment: the interface is deleted with it.
    pub delete_on_termination: bool,
}

/// The members for an interface of this owner.
pub(super) fn by_owner(owner: &EniOwner) -> ByOwner {
    let plain = ByOwner { interface_type: "interface", requester_managed: false, delete_on_termination: false };
    match owner {
        EniOwner::User => plain,
        // A task deletes its interface itself.
        EniOwner::FargateTask(_) => ByOwner { requester_managed: true, ..plain },
        EniOwner::Ec2Task(_) => plain,
        EniOwner::NatGateway(_) => ByOwner { interface_type: "nat_gateway", requester_managed: true, ..plain },
        EniOwner::Instance(_) => ByOwner { delete_on_termination: true, ..plain },
        EniOwner::Standalone(standalone) => match standalone.holder {
            Holder::Shell => ByOwner { delete_on_termination: true, ..plain },
        },
    }
}

/// The description that an interface of this holder gets. Users may change it where they may change the interface.
pub(super) fn description(holder: &Holder) -> &'static str {
    match holder {
        Holder::Shell => "berth shell",
    }
}
