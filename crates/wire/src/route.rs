// SPDX-License-Identifier: Apache-2.0
//! Determines the operation of a request, and the form of errors for its client.
//!
//! JSON services name the operation in `X-Amz-Target`; query services name it in the parameter `Action` and are
//! distinguished by `Version`. Otherwise the service in the credential scope decides.

use berth_shapes::{
    CommonErrorCode, Ec2ErrorCode, ErrorCode, Input, OPERATIONS, Operation, Protocol, Refusal, Service, Structure,
};

use crate::auth_error::AuthError;
use crate::encode::ErrorForm;
use crate::excerpt::excerpt;
use crate::form::{self, Parameter};
use crate::request::{BODY_MAX_BYTES, RequestParts};
use crate::scope::Credential;
use crate::{decode_json, decode_query};

/// The prefix of the operation in `X-Amz-Target`.
const IAM_VERSION: &str = "2010-05-08";
const IAM_NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// The XML namespace of errors for unknown services.
const FAULT_NAMESPACE: &str = "http://webservices.amazon.com/AWSFault/2005-15-09";

/// The list of operations for callers.
const LIST: &str = "docs/coverage.md of its repository lists the operations it has";

/// A request with a known operation. Its input is not read yet.
#[derive(Debug)]
pub struct Call<'a> {
    /// The operation.
    pub operation: &'static Operation,
    payload: Payload<'a>,
}

#[derive(Debug)]
enum Payload<'a> {
    Json(&'a [u8]),
    Form(Vec<Parameter<'a>>),
}

/// A refusal before the operation is known, with the form the client expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// Form of errors for this client.
    pub form: ErrorForm,
    /// The refusal.
    pub refusal: Refusal,
}

impl Call<'_> {
    /// Form of errors for this client.
    pub fn error_form(&self) -> ErrorForm {
        ErrorForm::of(self.operation.service)
    }
}

/// Decodes the input of a call. `I` must be the input of the call's operation.
pub fn decode<I: Input>(call: &Call<'_>) -> Result<I, Refusal> {
    debug_assert_eq!(I::OPERATION, call.operation.id);
    let mut input = I::default();
    fill(call, &mut input)?;
    Ok(input)
}

/// Fills the input of the call's operation.
///
/// # Errors
/// The request is malformed, or lacks a required member.
pub fn fill(call: &Call<'_>, input: &mut dyn Structure) -> Result<(), Refusal> {
    match &call.payload {
        Payload::Json(body) => decode_json::fill(input, body),
        Payload::Form(parameters) => decode_query::fill(input, parameters, call.operation.protocol()),
    }
}

/// Finds the operation.
pub fn route<'a>(parts: &RequestParts<'a>) -> Result<Call<'a>, Unroutable> {
    if parts.body.len() > BODY_MAX_BYTES {
        return Err(refuse_too_large(parts));
    }
    match parts.header("x-amz-target") {
        Some(target) => route_json(target, parts.body),
        None => route_query(parts),
    }
}

/// The refusal of a body that is too large, in the form that its head implies.
pub fn refuse_too_large(parts: &RequestParts<'_>) -> Unroutable {
    let form =
        parts.header("x-amz-target").map_or(ErrorForm::Query { namespace: FAULT_NAMESPACE }, |_| ErrorForm::Json);
    let message = format!("The request body is larger than {BODY_MAX_BYTES} bytes.");
    Unroutable { form, refusal: Refusal::new(CommonErrorCode::RequestEntityTooLarge, message) }
}

/// The refusal of a caller whose body is not read, in the form of the service that the head names.
pub fn refuse_early(parts: &RequestParts<'_>, error: &AuthError) -> Unroutable {
    let scope = Credential::claimed(parts).map(|scope| scope.service);
    let (protocol, form) = match (parts.header("x-amz-target"), scope.as_deref().and_then(named)) {
        (Some(_), _) => (Protocol::AwsJson11, ErrorForm::Json),
        (None, Some(service)) => (service.protocol(), ErrorForm::of(service)),
        (None, None) => (Protocol::AwsQuery, form_of_scope(scope.as_deref())),
    };
    Unroutable { form, refusal: error.refusal(protocol) }
}

fn route_json<'a>(target: &str, body: &'a [u8]) -> Result<Call<'a>, Unroutable> {
    let operation = target
        .split_once('.')
        .filter(|(prefix, _)| !prefix.is_empty())
        .and_then(|(prefix, name)| Some((Service::ALL.iter().find(|service| service.facts().target == prefix)?, name)))
        .and_then(|(service, name)| find(*service, name));
    match operation {
        Some(operation) => Ok(Call { operation, payload: Payload::Json(body) }),
        None => refuse(
            ErrorForm::Json,
            CommonErrorCode::UnknownOperationException,
            format!("Berth does not have the operation {}; {LIST}.", excerpt(target)),
        ),
    }
}

fn route_query<'a>(parts: &RequestParts<'a>) -> Result<Call<'a>, Unroutable> {
    let scope = Credential::claimed(parts);
    let scope_service = scope.as_ref().map(|scope| scope.service.as_str());
    let parameters = match form::parameters(parts) {
        Ok(parameters) => parameters,
        Err(error) => {
            return refuse(form_of_scope(scope_service), CommonErrorCode::MalformedQueryString, error.to_string());
        }
    };
    let version = form::value(&parameters, "Version");
    let Some(action) = form::value(&parameters, "Action").filter(|action| !action.is_empty()) else {
        return no_action(scope_service, parts);
    };
    let scope_known = scope_service.and_then(named).filter(|service| speaks_query(*service));
    let service = match version {
        Some(version) => of_version(version, scope_known),
        None => scope_known,
    };
    match (service, version, scope_service) {
        (Some(service), _, _) => query_call(service, action),
        (None, Some(version), Some("ec2")) => refuse(
            ErrorForm::Ec2,
            Ec2ErrorCode::NoSuchVersion,
            format!("The requested version ({}) of service AmazonEC2 does not exist", excerpt(version)),
        ),
        (None, version, scope) => {
            let form = if version == Some(IAM_VERSION) { form_of_scope(Some("iam")) } else { form_of_scope(scope) };
            refuse(form, CommonErrorCode::InvalidAction, no_such_action(action, version.unwrap_or("(none)")))
        }
    }
    .map(|operation| Call { operation, payload: Payload::Form(parameters) })
}

fn speaks_query(service: Service) -> bool {
    matches!(service.protocol(), Protocol::AwsQuery | Protocol::Ec2Query)
}

/// The query service with this API version; of several, the one that the request was signed for.
fn of_version(version: &str, signed_for: Option<Service>) -> Option<Service> {
    let has_version = |service: &Service| speaks_query(*service) && service.facts().version == version;
    signed_for.filter(has_version).or_else(|| Service::ALL.iter().copied().find(has_version))
}

/// The service with this name in credential scopes.
fn named(scope: &str) -> Option<Service> {
    Service::ALL.iter().copied().find(|service| service.name() == scope)
}

fn query_call(service: Service, action: &str) -> Result<&'static Operation, Unroutable> {
    find(service, action).map_or_else(
        || match service.protocol() {
            Protocol::Ec2Query => refuse(
                ErrorForm::Ec2,
                Ec2ErrorCode::InvalidAction,
                format!(
                    "The action {} is not valid for this web service. Berth does not have it; {LIST}.",
                    excerpt(action)
                ),
            ),
            Protocol::AwsQuery | Protocol::AwsJson11 => refuse(
                ErrorForm::of(service),
                CommonErrorCode::InvalidAction,
                no_such_action(action, service.facts().version),
            ),
        },
        Ok,
    )
}

fn no_such_action(action: &str, version: &str) -> String {
    let (action, version) = (excerpt(action), excerpt(version));
    format!("Could not find operation {action} for version {version}. Berth does not have it; {LIST}.")
}

const MISSING_ACTION: &str = "The request must contain the parameter Action";

/// The refusal of a request without an operation: it depends on whether the request is signed, and for which service.
fn no_action<'a>(scope_service: Option<&str>, parts: &RequestParts<'_>) -> Result<Call<'a>, Unroutable> {
    match scope_service {
        None => refuse(
            ErrorForm::Query { namespace: FAULT_NAMESPACE },
            CommonErrorCode::MissingAuthenticationToken,
            "Request is missing Authentication Token".to_owned(),
        ),
        Some(scope) if let Some(service) = named(scope) => {
            let (code, words): (ErrorCode, _) = match service.protocol() {
                Protocol::Ec2Query => (Ec2ErrorCode::MissingAction.into(), MISSING_ACTION),
                Protocol::AwsQuery => (CommonErrorCode::MissingParameter.into(), MISSING_ACTION),
                Protocol::AwsJson11 => {
                    (CommonErrorCode::UnknownOperationException.into(), "The request has no X-Amz-Target header.")
                }
            };
            refuse(ErrorForm::of(service), code, words.to_owned())
        }
        Some(other) => {
            let is_cbor = parts.header("smithy-protocol").is_some_and(|protocol| protocol == "rpc-v2-cbor");
            let form = if is_cbor { ErrorForm::Cbor } else { form_of_rest(other) };
            let message = format!("Berth does not have the service {}; {LIST}.", excerpt(other));
            refuse(form, CommonErrorCode::UnknownOperationException, message)
        }
    }
}

/// The error form of a service whose requests name no action: JSON except for three services with XML.
fn form_of_rest(service: &str) -> ErrorForm {
    match service {
        "s3" | "s3-outposts" | "s3-object-lambda" | "s3express" => ErrorForm::S3,
        "cloudfront" | "route53" => ErrorForm::Query { namespace: FAULT_NAMESPACE },
        _ => ErrorForm::Json,
    }
}

fn form_of_scope(service: Option<&str>) -> ErrorForm {
    if let Some(service) = service.and_then(named) {
        return ErrorForm::of(service);
    }
    match service {
        Some("logs" | "ecr" | "secretsmanager" | "ssm") => ErrorForm::Json,
        Some("iam") => ErrorForm::Query { namespace: IAM_NAMESPACE },
        _ => ErrorForm::Query { namespace: FAULT_NAMESPACE },
    }
}

/// The table is sorted by service and name (a test checks this).
fn find(service: Service, name: &str) -> Option<&'static Operation> {
    let found = OPERATIONS.binary_search_by(|row| (row.service.name(), row.name).cmp(&(service.name(), name)));
    found.ok().map(|index| &OPERATIONS[index])
}

fn refuse<T>(form: ErrorForm, code: impl Into<ErrorCode>, message: String) -> Result<T, Unroutable> {
    Err(Unroutable { form, refusal: Refusal::new(code, message) })
}
