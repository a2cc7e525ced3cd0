//! Pagination tokens.
#![allow(clippy::unwrap_used)]

use berth_shapes::{OperationId, ec2, ecs};
use berth_wire::token::{TokenKey, open, open_input, seal, seal_output};
use proptest::prelude::*;

const KEY: TokenKey = TokenKey([7; 32]);

#[test]
fn a_token_comes_back_as_its_cursor() {
    let operation = OperationId::EcsListTasks.row();
    let mut output = ecs::ListTasksResponse { next_token: Some("task/9".to_owned()), task_arns: None };
    seal_output(&KEY, operation, &mut output);
    assert_ne!(output.next_token.as_deref(), Some("task/9"));
    let mut input = ecs::ListTasksRequest { next_token: output.next_token, ..ecs::ListTasksRequest::default() };
    open_input(&KEY, operation, &mut input).unwrap();
    assert_eq!(input.next_token.as_deref(), Some("task/9"));
}

#[test]
fn tokens_of_other_keys_and_operations_are_refused() {
    let vpcs = OperationId::Ec2DescribeVpcs.row();
    let token = seal(&KEY, OperationId::Ec2DescribeSubnets.row(), "x");
    assert_eq!(open(&KEY, vpcs, &token), None);
    assert_eq!(open(&TokenKey([8; 32]), OperationId::Ec2DescribeSubnets.row(), &token), None);
    let mut input = ec2::DescribeVpcsRequest { next_token: Some(token), ..ec2::DescribeVpcsRequest::default() };
    assert_eq!(open_input(&KEY, vpcs, &mut input).unwrap_err().code.code(), "InvalidParameterValue");
    let mut input = ecs::ListTasksRequest { next_token: Some("x".to_owned()), ..ecs::ListTasksRequest::default() };
    let refusal = open_input(&KEY, OperationId::EcsListTasks.row(), &mut input).unwrap_err();
    assert_eq!(refusal.code.code(), "InvalidParameterException");
}

proptest! {
    #[test]
    fn no_made_up_token_opens(token in "[A-Za-z0-9_-]{0,80}", noise in ".{0,40}") {
        prop_assert_eq!(open(&KEY, OperationId::EcsListTasks.row(), &token), None);
        prop_assert_eq!(open(&KEY, OperationId::EcsListTasks.row(), &noise), None);
    }

    #[test]
    fn every_cursor_survives(cursor in ".{0,60}") {
        let operation = OperationId::EcsListTasks.row();
        prop_assert_eq!(open(&KEY, operation, &seal(&KEY, operation, &cursor)), Some(cursor));
    }
}
