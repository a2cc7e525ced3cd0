// SPDX-License-Identifier: Apache-2.0
//! AWS protocols over bytes: awsJson 1.1, awsQuery and ec2Query both ways, SigV4.
//!
//! No sockets and no clock. A request passes [`route`] (its operation), [`sigv4::verify`] (its caller) and [`decode`]
//! (its input); the answer passes [`encode`] or [`encode_refusal`]. Not here: the meaning of operations, and
//! authorisation.
#![deny(clippy::disallowed_methods)]

mod auth_error;
mod blob;
mod canonical;
mod compose;
mod decode_json;
mod decode_query;
mod encode;
mod encode_json;
mod encode_xml;
mod excerpt;
mod form;
mod instant;
mod percent;
pub mod refuse;
mod request;
mod route;
mod scope;
pub mod sigv4;

pub use compose::compose;
pub use encode::{ErrorForm, encode, encode_refusal};
pub use request::{BODY_MAX_BYTES, DEPTH_MAX, LIST_INDEX_MAX, PARAMETERS_MAX, RequestParts};
pub use route::{Call, Unroutable, decode, fill, refuse_early, refuse_too_large, route};
