// SPDX-License-Identifier: Apache-2.0
//! From an operation to its rule, through the doors of the crates of rules, and how rules of each kind are called.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use berth_shapes::{OperationId, Refusal, Service, Structure, View};
use berth_state::door::{ReadRule, WriteCall, WriteRule};
use berth_state::{Door, Env, Rule, Snapshot};
use berth_wire::{Call, encode, fill, refuse};
use bytes::Bytes;
use http::Response;

use super::authorize::authorize;
use super::outline::outline;
use crate::commit::{CommitFault, Committer, Named};
use crate::io;

/// The doors, one row for each crate of rules. Each operation is behind one of them.
#[rustfmt::skip]
const DOORS: &[fn(OperationId) -> Option<Door>] = &[
    berth_ecs::door,
    berth_iam::door,
    berth_vpc::door,
];

/// An authenticated call.
pub(super) struct AuthenticatedCall<'a> {
    pub(super) call: &'a Call<'a>,
    /// The present snapshot, in which the caller was found.
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) env: Env,
    pub(super) request_id: &'a str,
    pub(super) committer: &'a Committer,
}

/// The answer, or the wait for it.
pub(super) enum Answering {
    /// Nothing had to be stored.
    Now(Result<Response<Bytes>, Refusal>),
    /// The rule is under way.
    Later(Pin<Box<dyn Future<Output = Result<Response<Bytes>, Refusal>> + Send>>),
}

/// Calls the rule of the operation.
pub(super) fn answer(asked: AuthenticatedCall<'_>) -> Answering {
    let operation = asked.call.operation;
    let begun = match door(operation.id) {
        Some(door) => match &door.rule {
            Rule::Read(rule) => read(asked, &door, rule.as_ref()).map(|answer| Answering::Now(Ok(answer))),
            Rule::Write(rule) => write(asked, &door, rule.as_ref()),
            Rule::Io => perform(asked, &door),
        },
        // Every operation has a door (a test).
        None => Err(refuse::internal_failure(operation.service)),
    };
    begun.unwrap_or_else(|refusal| Answering::Now(Err(refusal)))
}

fn door(operation: OperationId) -> Option<Door> {
    DOORS.iter().find_map(|door| door(operation))
}

fn read(asked: AuthenticatedCall<'_>, door: &Door, rule: &dyn ReadRule) -> Result<Response<Bytes>, Refusal> {
    let call = rule.call(&mut |input| fill(asked.call, input))?;
    authorize(asked.call.operation, door, call.input(), asked.snapshot, &asked.env)?;
    let output = call.answer(asked.snapshot, &asked.env)?;
    if is_dry_run(call.input()) {
        return Err(refuse::dry_run());
    }
    Ok(encode(asked.call.operation, output.as_ref(), asked.request_id))
}

fn write(asked: AuthenticatedCall<'_>, door: &Door, rule: &dyn WriteRule) -> Result<Answering, Refusal> {
    let call = rule.call(&mut |input| fill(asked.call, input))?;
    authorize(asked.call.operation, door, call.input(), asked.snapshot, &asked.env)?;
    if is_dry_run(call.input()) {
        return Err(call.decide(asked.snapshot, &asked.env).err().unwrap_or_else(refuse::dry_run));
    }
    let AuthenticatedCall { call: wire, env, request_id, committer, .. } = asked;
    let call: Arc<dyn WriteCall> = Arc::from(call);
    let (operation, request_id, committer) = (wire.operation, request_id.to_owned(), committer.clone());
    let logged = Arc::clone(&call);
    let named = Named::with_input(operation.name, move || outline(logged.input()));
    Ok(Answering::Later(Box::pin(async move {
        let decided = committer.commit(named, env, move |snap: &Snapshot, env: &Env| call.decide(snap, env)).await;
        match decided {
            Ok(output) => Ok(encode(operation, output.as_ref(), &request_id)),
            Err(fault) => Err(as_refusal(fault, operation.service)),
        }
    })))
}

/// Calls an operation with effects other than records.
fn perform(asked: AuthenticatedCall<'_>, door: &Door) -> Result<Answering, Refusal> {
    let operation = asked.call.operation;
    let rule = io::rule(operation.id).ok_or_else(|| refuse::internal_failure(operation.service))?;
    let call = rule.call(&mut |input| fill(asked.call, input))?;
    authorize(asked.call.operation, door, call.input(), asked.snapshot, &asked.env)?;
    if is_dry_run(call.input()) {
        return Err(refuse::dry_run());
    }
    let (snapshot, env, request_id) = (asked.snapshot.clone(), asked.env, asked.request_id.to_owned());
    Ok(Answering::Later(Box::pin(async move {
        let output = call.perform(snapshot, env).await?;
        Ok(encode(operation, output.as_ref(), &request_id))
    })))
}

/// EC2 operations have a member `DryRun`: decide, but change nothing and show nothing.
fn is_dry_run(input: &dyn Structure) -> bool {
    let index = input.shape().members.iter().position(|member| member.name == "DryRun");
    index.and_then(|index| input.member(index)).is_some_and(|value| matches!(value, View::Boolean(true)))
}

fn as_refusal(fault: CommitFault, service: Service) -> Refusal {
    match fault {
        CommitFault::Refused(refusal) => refusal,
        CommitFault::Overloaded => refuse::throttled(service),
        CommitFault::Store => refuse::internal_failure(service),
        CommitFault::Full | CommitFault::Stopped => refuse::unavailable(service),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_shapes::OPERATIONS;

    #[test]
    fn every_operation_is_behind_one_door() {
        for row in OPERATIONS {
            let doors: Vec<Door> = DOORS.iter().filter_map(|door| door(row.id)).collect();
            assert_eq!(doors.len(), 1, "{}", row.action);
            let is_io = matches!(doors[0].rule, Rule::Io);
            assert_eq!(io::rule(row.id).is_some(), is_io, "{}", row.action);
        }
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
