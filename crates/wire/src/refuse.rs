// SPDX-License-Identifier: Apache-2.0
//! Refusals that any operation can return, with the code of the addressed service.

use berth_shapes::{CommonErrorCode, Ec2ErrorCode, ErrorCode, Operation, Protocol, Refusal, Service, ecs};

/// Berth or the machine failed. The message is for the caller; the cause belongs in the log.
pub fn internal_failure(service: Service) -> Refusal {
    let code: ErrorCode = match service.protocol() {
        Protocol::AwsJson11 => ecs::ErrorCode::ServerException.into(),
        Protocol::AwsQuery => CommonErrorCode::InternalFailure.into(),
        Protocol::Ec2Query => Ec2ErrorCode::InternalError.into(),
    };
    Refusal::new(code, "An internal error has occurred")
}

/// The server cannot answer now; a retry may succeed.
pub fn unavailable(service: Service) -> Refusal {
    let code: ErrorCode = match service.protocol() {
        Protocol::AwsJson11 => CommonErrorCode::ServiceUnavailableException.into(),
        Protocol::AwsQuery => CommonErrorCode::ServiceUnavailable.into(),
        Protocol::Ec2Query => Ec2ErrorCode::Unavailable.into(),
    };
    Refusal::new(code, "The service is currently unavailable. Please try again.")
}

/// Too many requests.
pub fn throttled(service: Service) -> Refusal {
    let code: ErrorCode = match service.protocol() {
        Protocol::AwsJson11 => CommonErrorCode::ThrottlingException.into(),
        Protocol::AwsQuery => CommonErrorCode::Throttling.into(),
        Protocol::Ec2Query => Ec2ErrorCode::RequestLimitExceeded.into(),
    };
    let words = if service == Service::Ec2 { "Request limit exceeded." } else { "Rate exceeded" };
    Refusal::new(code, words)
}

/// Access denied. `why` ends the sentence, such as `because no identity-based policy allows the ecs:RunTask action`.
pub fn access_denied(operation: &Operation, caller_arn: &str, action: &str, resource: &str, why: &str) -> Refusal {
    let words = format!("User: {caller_arn} is not authorized to perform: {action} on resource: {resource} {why}");
    match operation.protocol() {
        Protocol::AwsJson11 => Refusal::new(CommonErrorCode::AccessDeniedException, words),
        Protocol::AwsQuery => Refusal::new(CommonErrorCode::AccessDenied, words),
        Protocol::Ec2Query => Refusal::new(
            Ec2ErrorCode::UnauthorizedOperation,
            format!("You are not authorized to perform this operation. {words}"),
        ),
    }
}

/// EC2's answer to `DryRun=true` when the caller may perform the operation.
pub fn dry_run() -> Refusal {
    Refusal::new(Ec2ErrorCode::DryRunOperation, "Request would have succeeded, but DryRun flag is set.")
}
