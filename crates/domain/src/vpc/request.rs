//! Reading requests: what must be there, and what must not.
//!
//! An operation names the members it acts on; a request that asks for anything else is refused, so that nothing is
//! accepted and then ignored. `false`, zero, empty text and empty lists ask for nothing.

use berth_shapes::{Ec2ErrorCode as Code, Structure, View};
use berth_types::Ipv4Cidr;

use crate::Refusal;
use crate::page::checksum;

/// Refuses a request that asks for a member not in `known`. DryRun is known to all: it is answered by the caller.
pub(super) fn only(request: &dyn Structure, known: &[&str]) -> Result<(), Refusal> {
    let shape = request.shape();
    for (index, member) in shape.members.iter().enumerate() {
        let is_known = member.name == "DryRun" || known.contains(&member.name);
        if !is_known && request.member(index).is_some_and(|view| asks(&view)) {
            let operation = shape.name.strip_suffix("Request").unwrap_or(shape.name);
            return Err(unsupported(&format!("The parameter {} of {operation} is not supported.", member.name)));
        }
    }
    Ok(())
}

/// Something AWS offers and we do not.
pub(super) fn unsupported(words: &str) -> Refusal {
    Refusal::new(Code::UnsupportedOperation, words)
}

/// The member's text; it must be there and not be empty.
pub(super) fn required<'a>(value: &'a Option<String>, parameter: &str) -> Result<&'a str, Refusal> {
    match value.as_deref() {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) | None => Err(missing(parameter)),
    }
}

/// A parameter is missing.
pub(super) fn missing(parameter: &str) -> Refusal {
    Refusal::new(Code::MissingParameter, format!("The request must contain the parameter {parameter}"))
}

/// A parameter has a value it cannot have.
pub(super) fn invalid(words: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParameterValue, words)
}

/// A parameter has a value it cannot have, in the form most operations use.
pub(super) fn invalid_value(value: &str, parameter: &str, why: &str) -> Refusal {
    invalid(format!("Value ({value}) for parameter {parameter} is invalid. {why}"))
}

/// An IPv4 range, host bits cleared.
pub(super) fn cidr(text: &str, parameter: &str) -> Result<Ipv4Cidr, Refusal> {
    text.parse().map_err(|_| invalid_value(text, parameter, "This is not a valid CIDR block."))
}

/// The token of an idempotent create call with a digest of everything else it asks for.
pub(super) fn client_token<R: std::fmt::Debug>(token: &Option<String>, rest: &R) -> Option<(String, u64)> {
    let token = token.as_deref().filter(|token| !token.is_empty())?;
    Some((token.to_owned(), checksum(&format!("{rest:?}"))))
}

/// What an earlier call with the same token made, if there was one; refused when it asked for something else.
pub(super) fn made_before<'a, R>(
    asked: &Option<(String, u64)>,
    mut records: impl Iterator<Item = &'a R>,
    token_of: impl Fn(&R) -> &Option<(String, u64)>,
) -> Result<Option<&'a R>, Refusal> {
    let Some((token, digest)) = asked else { return Ok(None) };
    let made = records.find(|record| token_of(record).as_ref().is_some_and(|(other, _)| other == token));
    match made {
        Some(record) if token_of(record).as_ref().is_some_and(|(_, other)| other != digest) => Err(Refusal::new(
            Code::IdempotentParameterMismatch,
            format!("The client token '{token}' was used before with different parameters."),
        )),
        made => Ok(made),
    }
}

fn asks(view: &View<'_>) -> bool {
    match view {
        View::Text(text) => !text.is_empty(),
        View::Integer(number) => *number != 0,
        View::Long(number) => *number != 0,
        View::Double(number) => *number != 0.0,
        View::Boolean(yes) => *yes,
        View::Timestamp(_) => true,
        View::Blob(bytes) => !bytes.is_empty(),
        View::Structure(structure) => {
            (0..structure.shape().members.len()).any(|index| structure.member(index).is_some_and(|view| asks(&view)))
        }
        View::List(list) => !list.is_empty(),
        View::Map(map) => {
            let mut any = false;
            map.each(&mut |_, _| any = true);
            any
        }
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
