//! The table from operation to rule, and how rules of both kinds are called.
//!
//! The table is a `match` over every operation of `operations.toml`: an operation without a row does not compile, and
//! a test compares the rows with the handlers named there.

use std::future::Future;
use std::pin::Pin;

use berth_domain::{Change, Env, Snapshot};
use berth_shapes::{Input, OperationId, Refusal, Service, Structure, View};
use berth_wire::{Call, decode, encode, refuse};
use bytes::Bytes;
use http::Response;

use crate::commit::{CommitFault, Committer};

/// An authenticated call.
pub(super) struct Asked<'a> {
    pub(super) call: &'a Call<'a>,
    /// The present snapshot, which also said who is calling.
    pub(super) snapshot: &'a Snapshot,
    pub(super) env: Env,
    pub(super) request_id: &'a str,
    pub(super) committer: &'a Committer,
}

/// The answer, or the wait for it.
pub(super) enum Answering {
    /// Nothing had to be stored.
    Now(Result<Response<Bytes>, Refusal>),
    /// The commit loop has the rule.
    Later(Pin<Box<dyn Future<Output = Result<Response<Bytes>, Refusal>> + Send>>),
}

macro_rules! operations {
    ($($id:ident => $kind:ident $room:ident::$rule:ident;)*) => {
        /// Calls the rule of the operation.
        pub(super) fn answer(asked: Asked<'_>) -> Answering {
            match asked.call.operation.id {
                $(OperationId::$id => $kind(asked, berth_domain::$room::$rule),)*
            }
        }

        #[cfg(test)]
        const ROWS: &[(OperationId, &str)] =
            &[$((OperationId::$id, concat!(stringify!($room), "::", stringify!($rule))),)*];
    };
}

operations! {
    Ec2AssociateRouteTable => write vpc::associate_route_table;
    Ec2AttachInternetGateway => write vpc::attach_internet_gateway;
    Ec2AuthorizeSecurityGroupEgress => write vpc::authorize_security_group_egress;
    Ec2AuthorizeSecurityGroupIngress => write vpc::authorize_security_group_ingress;
    Ec2CreateDefaultVpc => write vpc::create_default_vpc;
    Ec2CreateInternetGateway => write vpc::create_internet_gateway;
    Ec2CreateNetworkInterface => write vpc::create_network_interface;
    Ec2CreateRoute => write vpc::create_route;
    Ec2CreateRouteTable => write vpc::create_route_table;
    Ec2CreateSecurityGroup => write vpc::create_security_group;
    Ec2CreateSubnet => write vpc::create_subnet;
    Ec2CreateTags => write vpc::create_tags;
    Ec2CreateVpc => write vpc::create_vpc;
    Ec2DeleteInternetGateway => write vpc::delete_internet_gateway;
    Ec2DeleteNetworkInterface => write vpc::delete_network_interface;
    Ec2DeleteRoute => write vpc::delete_route;
    Ec2DeleteRouteTable => write vpc::delete_route_table;
    Ec2DeleteSecurityGroup => write vpc::delete_security_group;
    Ec2DeleteSubnet => write vpc::delete_subnet;
    Ec2DeleteTags => write vpc::delete_tags;
    Ec2DeleteVpc => write vpc::delete_vpc;
    Ec2DescribeAccountAttributes => read vpc::describe_account_attributes;
    Ec2DescribeAvailabilityZones => read vpc::describe_availability_zones;
    Ec2DescribeInternetGateways => read vpc::describe_internet_gateways;
    Ec2DescribeNetworkAcls => read vpc::describe_network_acls;
    Ec2DescribeNetworkInterfaceAttribute => read vpc::describe_network_interface_attribute;
    Ec2DescribeNetworkInterfaces => read vpc::describe_network_interfaces;
    Ec2DescribeRegions => read vpc::describe_regions;
    Ec2DescribeRouteTables => read vpc::describe_route_tables;
    Ec2DescribeSecurityGroupRules => read vpc::describe_security_group_rules;
    Ec2DescribeSecurityGroups => read vpc::describe_security_groups;
    Ec2DescribeSubnets => read vpc::describe_subnets;
    Ec2DescribeTags => read vpc::describe_tags;
    Ec2DescribeVpcAttribute => read vpc::describe_vpc_attribute;
    Ec2DescribeVpcs => read vpc::describe_vpcs;
    Ec2DetachInternetGateway => write vpc::detach_internet_gateway;
    Ec2DetachNetworkInterface => write vpc::detach_network_interface;
    Ec2DisassociateRouteTable => write vpc::disassociate_route_table;
    Ec2ModifyNetworkInterfaceAttribute => write vpc::modify_network_interface_attribute;
    Ec2ModifySecurityGroupRules => write vpc::modify_security_group_rules;
    Ec2ModifySubnetAttribute => write vpc::modify_subnet_attribute;
    Ec2ModifyVpcAttribute => write vpc::modify_vpc_attribute;
    Ec2ReplaceRoute => write vpc::replace_route;
    Ec2ReplaceRouteTableAssociation => write vpc::replace_route_table_association;
    Ec2RevokeSecurityGroupEgress => write vpc::revoke_security_group_egress;
    Ec2RevokeSecurityGroupIngress => write vpc::revoke_security_group_ingress;
    Ec2UpdateSecurityGroupRuleDescriptionsEgress => write vpc::update_security_group_rule_descriptions_egress;
    Ec2UpdateSecurityGroupRuleDescriptionsIngress => write vpc::update_security_group_rule_descriptions_ingress;
    EcsCreateCluster => write ecs::create_cluster;
    EcsDeleteAccountSetting => write ecs::delete_account_setting;
    EcsDeleteAttributes => write ecs::delete_attributes;
    EcsDeleteCluster => write ecs::delete_cluster;
    EcsDeleteTaskDefinitions => write ecs::delete_task_definitions;
    EcsDeregisterContainerInstance => write ecs::deregister_container_instance;
    EcsDeregisterTaskDefinition => write ecs::deregister_task_definition;
    EcsDescribeCapacityProviders => read ecs::describe_capacity_providers;
    EcsDescribeClusters => read ecs::describe_clusters;
    EcsDescribeContainerInstances => read ecs::describe_container_instances;
    EcsDescribeTaskDefinition => read ecs::describe_task_definition;
    EcsDescribeTasks => read ecs::describe_tasks;
    EcsDiscoverPollEndpoint => read ecs::discover_poll_endpoint;
    EcsGetTaskProtection => read ecs::get_task_protection;
    EcsListAccountSettings => read ecs::list_account_settings;
    EcsListAttributes => read ecs::list_attributes;
    EcsListClusters => read ecs::list_clusters;
    EcsListContainerInstances => read ecs::list_container_instances;
    EcsListTagsForResource => read ecs::list_tags_for_resource;
    EcsListTaskDefinitionFamilies => read ecs::list_task_definition_families;
    EcsListTaskDefinitions => read ecs::list_task_definitions;
    EcsListTasks => read ecs::list_tasks;
    EcsPutAccountSetting => write ecs::put_account_setting;
    EcsPutAccountSettingDefault => write ecs::put_account_setting_default;
    EcsPutAttributes => write ecs::put_attributes;
    EcsPutClusterCapacityProviders => write ecs::put_cluster_capacity_providers;
    EcsRegisterContainerInstance => read ecs::register_container_instance;
    EcsRegisterTaskDefinition => write ecs::register_task_definition;
    EcsRunTask => write ecs::run_task;
    EcsStartTask => write ecs::start_task;
    EcsStopTask => write ecs::stop_task;
    EcsSubmitAttachmentStateChanges => read ecs::submit_attachment_state_changes;
    EcsSubmitContainerStateChange => read ecs::submit_container_state_change;
    EcsSubmitTaskStateChange => read ecs::submit_task_state_change;
    EcsTagResource => write ecs::tag_resource;
    EcsUntagResource => write ecs::untag_resource;
    EcsUpdateCluster => write ecs::update_cluster;
    EcsUpdateClusterSettings => write ecs::update_cluster_settings;
    EcsUpdateContainerInstancesState => write ecs::update_container_instances_state;
    EcsUpdateTaskProtection => write ecs::update_task_protection;
    StsGetCallerIdentity => read sts::get_caller_identity;
}

type ReadRule<I, O> = fn(&Snapshot, &I, &Env) -> Result<O, berth_domain::Refusal>;
type WriteRule<I, O> = fn(&Snapshot, &I, &Env) -> Result<Change<O>, berth_domain::Refusal>;

fn read<I: Input, O: Structure>(asked: Asked<'_>, rule: ReadRule<I, O>) -> Answering {
    let answer = || {
        let input: I = decode(asked.call)?;
        let output = rule(asked.snapshot, &input, &asked.env).map_err(as_answered)?;
        if is_dry_run(&input) {
            return Err(refuse::dry_run());
        }
        Ok(encode(asked.call.operation, &output, asked.request_id))
    };
    Answering::Now(answer())
}

fn write<I, O>(asked: Asked<'_>, rule: WriteRule<I, O>) -> Answering
where
    I: Input + Send + 'static,
    O: Structure + Send + 'static,
{
    let Asked { call, snapshot, env, request_id, committer } = asked;
    let input: I = match decode(call) {
        Ok(input) => input,
        Err(refusal) => return Answering::Now(Err(refusal)),
    };
    if is_dry_run(&input) {
        let decided = rule(snapshot, &input, &env);
        return Answering::Now(Err(decided.map_or_else(as_answered, |_| refuse::dry_run())));
    }
    let (operation, request_id, committer) = (call.operation, request_id.to_owned(), committer.clone());
    Answering::Later(Box::pin(async move {
        let decided = committer.commit(env, move |snap: &Snapshot, env: &Env| rule(snap, &input, env)).await;
        match decided {
            Ok(output) => Ok(encode(operation, &output, &request_id)),
            Err(fault) => Err(as_refusal(fault, operation.service)),
        }
    }))
}

/// EC2 operations have a member `DryRun`: decide, but change nothing and show nothing.
fn is_dry_run(input: &dyn Structure) -> bool {
    let index = input.shape().members.iter().position(|member| member.name == "DryRun");
    index.and_then(|index| input.member(index)).is_some_and(|value| matches!(value, View::Boolean(true)))
}

fn as_answered(refusal: berth_domain::Refusal) -> Refusal {
    Refusal { code: refusal.code, message: refusal.message, resource_ids: refusal.resource_ids }
}

fn as_refusal(fault: CommitFault, service: Service) -> Refusal {
    match fault {
        CommitFault::Refused(refusal) => as_answered(refusal),
        CommitFault::Overloaded => refuse::throttled(service),
        CommitFault::Store => refuse::internal_failure(service),
        CommitFault::Stopped => refuse::unavailable(service),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_shapes::OPERATIONS;

    #[test]
    fn the_table_names_the_handlers_of_the_operations_file() {
        let file: Vec<_> = OPERATIONS.iter().map(|row| (row.id, row.handler)).collect();
        assert_eq!(ROWS, file);
    }

    #[test]
    fn only_a_true_dry_run_member_asks_for_a_dry_run() {
        use berth_shapes::{ec2::DescribeVpcsRequest, ecs::RunTaskRequest};
        assert!(is_dry_run(&DescribeVpcsRequest { dry_run: Some(true), ..Default::default() }));
        assert!(!is_dry_run(&DescribeVpcsRequest { dry_run: Some(false), ..Default::default() }));
        assert!(!is_dry_run(&DescribeVpcsRequest::default()));
        assert!(!is_dry_run(&RunTaskRequest::default()));
    }
}
