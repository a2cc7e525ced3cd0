// SPDX-License-Identifier: Apache-2.0
//! Error codes that services share: authentication, permission, malformed requests, failures of the server.
//!
//! The JSON services and the query services spell the same failure differently (`AccessDeniedException`,
//! `AccessDenied`) and give it different statuses, so each spelling is a variant.

macro_rules! common_error_codes {
    ($($name:ident $status:literal $doc:literal,)*) => {
        /// An error code that services share.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CommonErrorCode {
            $(#[doc = $doc] $name,)*
        }

        impl CommonErrorCode {
            /// Every code.
            pub const ALL: &[CommonErrorCode] = &[$(CommonErrorCode::$name,)*];

            /// The code as AWS spells it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(CommonErrorCode::$name => stringify!($name),)*
                }
            }

            /// The HTTP status of the answer.
            pub const fn http_status(self) -> u16 {
                match self {
                    $(CommonErrorCode::$name => $status,)*
                }
            }
        }
    };
}

common_error_codes! {
    AccessDenied 403 "Query services: IAM denies the request.",
    AccessDeniedException 400 "JSON services: IAM denies the request.",
    ExpiredToken 403 "Query services: the session has expired.",
    ExpiredTokenException 400 "JSON services: the session has expired.",
    IncompleteSignature 400 "Query services: the authorization cannot be read.",
    IncompleteSignatureException 400 "JSON services: the authorization cannot be read.",
    InternalFailure 500 "Query services: the server failed.",
    InternalServerError 500 "JSON services: the server failed.",
    InvalidAction 400 "Query services: no such operation.",
    InvalidClientTokenId 403 "Query services: no caller has this access key.",
    InvalidParameterCombination 400 "Query services: parameters that exclude each other.",
    InvalidParameterValue 400 "Query services: a parameter has an invalid value.",
    InvalidSignatureException 400 "JSON services: the signature is wrong or too old.",
    MalformedQueryString 400 "Query services: the form body cannot be read.",
    MissingAuthenticationToken 403 "Query services: the request is not signed.",
    MissingAuthenticationTokenException 400 "JSON services: the request is not signed.",
    MissingParameter 400 "Query services: a required parameter is absent.",
    RequestEntityTooLarge 413 "Any service: the body is larger than the limit.",
    SerializationException 400 "JSON services: the body cannot be read.",
    ServiceUnavailable 503 "Query services: the server cannot answer now.",
    ServiceUnavailableException 503 "JSON services: the server cannot answer now.",
    SignatureDoesNotMatch 403 "Query services: the signature is wrong or too old.",
    Throttling 400 "Query services: too many requests.",
    ThrottlingException 400 "JSON services: too many requests.",
    UnknownOperationException 400 "JSON services: no such operation.",
    UnrecognizedClientException 400 "JSON services: no caller has this access key.",
    ValidationError 400 "Query services: the input breaks a constraint.",
}
