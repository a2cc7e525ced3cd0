// SPDX-License-Identifier: Apache-2.0
//! What the model of a service says about the service as a whole.

/// Encoding of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// JSON both ways, operation in the `X-Amz-Target` header.
    AwsJson11,
    /// Form-encoded request, XML answer with a result wrapper.
    AwsQuery,
    /// Form-encoded request with flattened lists, XML answer without a wrapper.
    Ec2Query,
}

/// The facts of a service.
#[derive(Debug)]
pub struct ServiceFacts {
    /// The name in credential scopes, ARNs and permissions.
    pub name: &'static str,
    /// The protocol of the service.
    pub protocol: Protocol,
    /// Text before the operation in `X-Amz-Target`; empty in other protocols than JSON.
    pub target: &'static str,
    /// The version of its API, such as `2016-11-15`.
    pub version: &'static str,
    /// The namespace of its XML; empty in other protocols.
    pub namespace: &'static str,
    /// True when AWS limits the rate of each operation by itself, false when the operations of a group share a limit.
    pub has_bucket_per_operation: bool,
}
