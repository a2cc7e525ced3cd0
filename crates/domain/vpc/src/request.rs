// SPDX-License-Identifier: Apache-2.0
//! Reading requests: members that are required, and members that are refused.
//!
//! An operation names the members it acts on; a request that asks for anything else is refused, so that nothing is
//! accepted and then ignored. `false`, zero, empty text and empty lists ask for nothing.

use berth_shapes::{Ec2ErrorCode as Code, Structure};
use berth_state::{ClientToken, Refusal, request};
use berth_types::Ipv4Cidr;

/// Refuses a request that asks for a member not in `known`. DryRun is always known: the caller of the rule answers it.
pub(super) fn only(request: &dyn Structure, known: &[&str]) -> Result<(), Refusal> {
    request::only(request, &["DryRun"], known, |unknown| {
        unsupported(&format!("The parameter {} of {} is not supported.", unknown.member, unknown.structure))
    })
}

/// Refusal of a feature that AWS offers and Berth does not.
pub(super) fn unsupported(words: &str) -> Refusal {
    Refusal::new(Code::UnsupportedOperation, words)
}

/// Returns the member's text; refuses an absent or empty one.
pub(super) fn required<'a>(value: &'a Option<String>, parameter: &str) -> Result<&'a str, Refusal> {
    match value.as_deref() {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) | None => Err(missing(parameter)),
    }
}

/// Refusal of a missing parameter.
pub(super) fn missing(parameter: &str) -> Refusal {
    Refusal::new(Code::MissingParameter, format!("The request must contain the parameter {parameter}"))
}

/// Refusal of an invalid value.
pub(super) fn invalid(words: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParameterValue, words)
}

/// Refusal of an invalid value, in the form most operations use.
pub(super) fn invalid_value(value: &str, parameter: &str, why: &str) -> Refusal {
    invalid(format!("Value ({value}) for parameter {parameter} is invalid. {why}"))
}

/// An IPv4 range, host bits cleared.
pub(super) fn cidr(text: &str, parameter: &str) -> Result<Ipv4Cidr, Refusal> {
    text.parse().map_err(|_| invalid_value(text, parameter, "This is not a valid CIDR block."))
}

/// The resource an earlier call with the same token made, if any; refuses a token whose earlier request differs.
pub(super) fn made_before<'a, R>(
    asked: Option<&ClientToken>,
    mut records: impl Iterator<Item = &'a R>,
    token_of: impl Fn(&R) -> Option<&ClientToken>,
) -> Result<Option<&'a R>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    let made = records.find(|record| token_of(record).is_some_and(|known| known.text() == asked.text()));
    match made {
        Some(record) if token_of(record).is_some_and(|known| !known.is_same_request(asked)) => Err(Refusal::new(
            Code::IdempotentParameterMismatch,
            format!("The client token '{}' was used before with different parameters.", asked.text()),
        )),
        made => Ok(made),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_shapes::ec2;

    #[test]
    fn what_is_not_known_is_refused_unless_it_asks_for_nothing() {
        let mut request = ec2::CreateVpcRequest { dry_run: Some(true), ..Default::default() };
        request.cidr_block = Some("10.0.0.0/16".to_owned());
        request.amazon_provided_ipv6_cidr_block = Some(false);
        assert_eq!(only(&request, &["CidrBlock"]), Ok(()));
        request.amazon_provided_ipv6_cidr_block = Some(true);
        let words = "The parameter AmazonProvidedIpv6CidrBlock of CreateVpc is not supported.";
        assert_eq!(only(&request, &["CidrBlock"]), Err(unsupported(words)));
    }
}
