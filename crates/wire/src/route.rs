//! Which operation a request asks for, and what errors look like to the one who asks.
//!
//! JSON services name the operation in `X-Amz-Target`; query services name it in the parameter `Action` and are told
//! apart by `Version`. The service in the credential scope helps where these say nothing.

use berth_shapes::{CommonErrorCode, Ec2ErrorCode, Input, OPERATIONS, Operation, Protocol, Refusal, Service};

use crate::encode::ErrorForm;
use crate::excerpt::excerpt;
use crate::form::{self, Parameter};
use crate::request::{BODY_MAX_BYTES, RequestParts};
use crate::scope::Credential;
use crate::{decode_json, decode_query};

/// What stands before the operation in `X-Amz-Target`.
pub(crate) const ECS_TARGET: &str = "AmazonEC2ContainerServiceV20141113";
const EC2_VERSION: &str = "2016-11-15";
const STS_VERSION: &str = "2011-06-15";
const IAM_VERSION: &str = "2010-05-08";
const IAM_NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// The namespace of errors of services nobody knows.
const FAULT_NAMESPACE: &str = "http://webservices.amazon.com/AWSFault/2005-15-09";

/// A request whose operation is known. Its input is not read yet.
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

/// A refusal before the operation was known, with the form the client expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// What errors look like to this client.
    pub form: ErrorForm,
    /// The refusal.
    pub refusal: Refusal,
}

impl Call<'_> {
    /// What errors look like to this client.
    pub fn error_form(&self) -> ErrorForm {
        ErrorForm::of(self.operation.service)
    }
}

/// Reads the input of a call. `I` must be the input of the call's operation.
pub fn decode<I: Input>(call: &Call<'_>) -> Result<I, Refusal> {
    debug_assert_eq!(I::OPERATION, call.operation.id);
    let mut input = I::default();
    match &call.payload {
        Payload::Json(body) => decode_json::fill(&mut input, body)?,
        Payload::Form(parameters) => decode_query::fill(&mut input, parameters, call.operation.protocol)?,
    }
    Ok(input)
}

/// Finds the operation.
pub fn route<'a>(parts: &RequestParts<'a>) -> Result<Call<'a>, Unroutable> {
    let target = parts.header("x-amz-target");
    if parts.body.len() > BODY_MAX_BYTES {
        let form = target.map_or(ErrorForm::Query { namespace: FAULT_NAMESPACE }, |_| ErrorForm::Json);
        let message = format!("The request body is larger than {BODY_MAX_BYTES} bytes.");
        return refuse(form, CommonErrorCode::RequestEntityTooLarge, message);
    }
    match target {
        Some(target) => route_json(target, parts.body),
        None => route_query(parts),
    }
}

fn route_json<'a>(target: &str, body: &'a [u8]) -> Result<Call<'a>, Unroutable> {
    let operation = target
        .split_once('.')
        .filter(|(prefix, _)| *prefix == ECS_TARGET)
        .and_then(|(_, name)| find(Service::Ecs, name));
    match operation {
        Some(operation) => Ok(Call { operation, payload: Payload::Json(body) }),
        None => refuse(
            ErrorForm::Json,
            CommonErrorCode::UnknownOperationException,
            format!("The operation {} is not known.", excerpt(target)),
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
        return no_action(scope_service);
    };
    match (version, scope_service) {
        (Some(EC2_VERSION), _) => query_call(Service::Ec2, action, EC2_VERSION),
        (Some(STS_VERSION), _) => query_call(Service::Sts, action, STS_VERSION),
        (None, Some("ec2")) => query_call(Service::Ec2, action, EC2_VERSION),
        (None, Some("sts")) => query_call(Service::Sts, action, STS_VERSION),
        (Some(version), Some("ec2")) => refuse(
            ErrorForm::Ec2,
            Ec2ErrorCode::NoSuchVersion,
            format!("The requested version ({}) of service AmazonEC2 does not exist", excerpt(version)),
        ),
        (version, scope) => {
            let form = if version == Some(IAM_VERSION) { form_of_scope(Some("iam")) } else { form_of_scope(scope) };
            refuse(form, CommonErrorCode::InvalidAction, no_such_action(action, version.unwrap_or("(none)")))
        }
    }
    .map(|operation| Call { operation, payload: Payload::Form(parameters) })
}

fn query_call(service: Service, action: &str, version: &str) -> Result<&'static Operation, Unroutable> {
    find(service, action).map_or_else(
        || match service.protocol() {
            Protocol::Ec2Query => refuse(
                ErrorForm::Ec2,
                Ec2ErrorCode::InvalidAction,
                format!("The action {} is not valid for this web service.", excerpt(action)),
            ),
            Protocol::AwsQuery | Protocol::AwsJson11 => {
                refuse(ErrorForm::of(service), CommonErrorCode::InvalidAction, no_such_action(action, version))
            }
        },
        Ok,
    )
}

fn no_such_action(action: &str, version: &str) -> String {
    format!("Could not find operation {} for version {}", excerpt(action), excerpt(version))
}

/// A request without an operation: what to say depends on whether it was signed, and for whom.
fn no_action<'a>(scope_service: Option<&str>) -> Result<Call<'a>, Unroutable> {
    match scope_service {
        None => refuse(
            ErrorForm::Query { namespace: FAULT_NAMESPACE },
            CommonErrorCode::MissingAuthenticationToken,
            "Request is missing Authentication Token".to_owned(),
        ),
        Some("ec2") => refuse(
            ErrorForm::Ec2,
            Ec2ErrorCode::MissingAction,
            "The request must contain the parameter Action".to_owned(),
        ),
        Some("ecs") => refuse(
            ErrorForm::Json,
            CommonErrorCode::UnknownOperationException,
            "The request has no X-Amz-Target header.".to_owned(),
        ),
        Some(other) => refuse(
            form_of_scope(Some(other)),
            CommonErrorCode::MissingParameter,
            "The request must contain the parameter Action".to_owned(),
        ),
    }
}

fn form_of_scope(service: Option<&str>) -> ErrorForm {
    match service {
        Some("ecs" | "logs" | "ecr" | "secretsmanager" | "ssm") => ErrorForm::Json,
        Some("ec2") => ErrorForm::Ec2,
        Some("sts") => ErrorForm::of(Service::Sts),
        Some("iam") => ErrorForm::Query { namespace: IAM_NAMESPACE },
        _ => ErrorForm::Query { namespace: FAULT_NAMESPACE },
    }
}

/// The API version clients send; JSON services have it in their target.
pub(crate) const fn version(service: Service) -> &'static str {
    match service {
        Service::Ec2 => EC2_VERSION,
        Service::Sts => STS_VERSION,
        Service::Ecs => "2014-11-13",
    }
}

/// The table is sorted by service and name (a test watches that).
fn find(service: Service, name: &str) -> Option<&'static Operation> {
    let found = OPERATIONS.binary_search_by(|row| (row.service.name(), row.name).cmp(&(service.name(), name)));
    found.ok().map(|index| &OPERATIONS[index])
}

fn refuse<T>(form: ErrorForm, code: impl Into<berth_shapes::ErrorCode>, message: String) -> Result<T, Unroutable> {
    Err(Unroutable { form, refusal: Refusal::new(code, message) })
}
