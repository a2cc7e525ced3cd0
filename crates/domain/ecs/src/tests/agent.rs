// SPDX-License-Identifier: Apache-2.0
//! Operations of the Amazon ECS agent.

use expect_test::expect;

use super::World;

#[test]
fn an_agent_that_is_not_ours_is_told_to_end_and_how_hosts_are_made() {
    let mut world = World::with_host();
    let found = world.transcript(
        "RegisterContainerInstance cluster=default
         DiscoverPollEndpoint cluster=default
         SubmitTaskStateChange task=t status=RUNNING
         SubmitContainerStateChange task=t status=RUNNING
         SubmitAttachmentStateChanges attachments=[]",
    );
    expect![[r#"
        RegisterContainerInstance cluster=default
          refused ClientException: RegisterContainerInstance is called by container agents, and this endpoint takes hosts from its own agent only: run `berth up` or `berth node` on the host to register it as a container instance.
        DiscoverPollEndpoint cluster=default
          refused ClientException: DiscoverPollEndpoint is called by container agents, and this endpoint takes hosts from its own agent only: run `berth up` or `berth node` on the host to register it as a container instance.
        SubmitTaskStateChange task=t status=RUNNING
          refused ClientException: SubmitTaskStateChange is called by container agents, and this endpoint takes hosts from its own agent only: run `berth up` or `berth node` on the host to register it as a container instance.
        SubmitContainerStateChange task=t status=RUNNING
          refused ClientException: SubmitContainerStateChange is called by container agents, and this endpoint takes hosts from its own agent only: run `berth up` or `berth node` on the host to register it as a container instance.
        SubmitAttachmentStateChanges attachments=[]
          refused ClientException: SubmitAttachmentStateChanges is called by container agents, and this endpoint takes hosts from its own agent only: run `berth up` or `berth node` on the host to register it as a container instance.
    "#]].assert_eq(&found);
    assert_eq!(world.snap.ecs().hosts.len(), 1);
}
