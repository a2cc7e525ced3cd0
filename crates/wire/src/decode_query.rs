// SPDX-License-Identifier: Apache-2.0
//! Decodes form parameters into an input: EC2's dialect (flat lists, unknown names refused) and awsQuery's
//! (`X.member.1`, unknown names ignored).

use berth_shapes::{CommonErrorCode, Ec2ErrorCode, List, Map, Protocol, Refusal, Slot, Structure, Timestamp};

use crate::blob;
use crate::excerpt::excerpt;
use crate::form::{Group, Parameter, groups};
use crate::instant;
use crate::request::LIST_INDEX_MAX;

/// Parameters that belong to the protocol or to the signature and not to the operation.
const PROTOCOL_PARAMETERS: &[&str] = &["Action", "Version"];
const SIGNATURE_PARAMETERS: &[&str] = &[
    "AWSAccessKeyId",
    "Expires",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureVersion",
    "Timestamp",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Fills the input from sorted parameters.
pub(crate) fn fill(input: &mut dyn Structure, parameters: &[Parameter<'_>], protocol: Protocol) -> Result<(), Refusal> {
    let reader = Reader { ec2: protocol == Protocol::Ec2Query };
    reader.structure(input, parameters, 0)?;
    if reader.ec2 { required(input) } else { Ok(()) }
}

/// EC2 refuses a request without a required top-level parameter before it checks anything else.
fn required(input: &dyn Structure) -> Result<(), Refusal> {
    let members = input.shape().members;
    match members.iter().enumerate().find(|(index, member)| member.required && input.member(*index).is_none()) {
        Some((_, member)) => Err(Refusal::new(
            Ec2ErrorCode::MissingParameter,
            format!("The request must contain the parameter {}", member.query),
        )),
        None => Ok(()),
    }
}

struct Reader {
    ec2: bool,
}

impl Reader {
    fn structure(&self, into: &mut dyn Structure, all: &[Parameter<'_>], start: usize) -> Result<(), Refusal> {
        let members = into.shape().members;
        for group in groups(all, start) {
            let index = members.iter().position(|member| member.query == group.segment);
            let found = index.and_then(|index| Some((&members[index], into.slot(index)?)));
            match found {
                Some((member, slot)) => self.value(slot, &group, member.item, member.flattened)?,
                None if start == 0 && is_not_input(group.segment) => {}
                None => self.unknown(&group)?,
            }
        }
        Ok(())
    }

    fn value(&self, slot: Slot<'_>, group: &Group<'_, '_>, item: &str, flattened: bool) -> Result<(), Refusal> {
        match slot {
            Slot::Structure(_) | Slot::List(_) | Slot::Map(_) => {}
            Slot::Text(_)
            | Slot::Integer(_)
            | Slot::Long(_)
            | Slot::Double(_)
            | Slot::Boolean(_)
            | Slot::Timestamp(_)
            | Slot::Blob(_) => return self.scalar(slot, group),
        }
        if let Some(leaf) = group.parameters.iter().find(|parameter| parameter.key.len() == group.end) {
            // awsQuery writes an empty list as `X=`.
            let empty_list = matches!(slot, Slot::List(_)) && leaf.value.is_empty() && group.parameters.len() == 1;
            return if empty_list { Ok(()) } else { self.unknown_key(&leaf.key) };
        }
        match slot {
            Slot::Structure(inner) => self.structure(inner, group.parameters, group.end + 1),
            Slot::List(list) if self.ec2 || flattened => self.list(list, group.parameters, group.end + 1),
            Slot::List(list) => {
                for inner in groups(group.parameters, group.end + 1) {
                    if inner.segment != item || inner.parameters.iter().any(|leaf| leaf.key.len() == inner.end) {
                        self.unknown(&inner)?;
                    } else {
                        self.list(list, inner.parameters, inner.end + 1)?;
                    }
                }
                Ok(())
            }
            Slot::Map(map) => self.map(map, group),
            _ => Ok(()),
        }
    }

    fn list(&self, into: &mut dyn List, all: &[Parameter<'_>], start: usize) -> Result<(), Refusal> {
        for group in groups(all, start) {
            let well_formed = group.segment.bytes().all(|byte| byte.is_ascii_digit())
                && !group.segment.starts_with('0')
                && !group.segment.is_empty();
            if !well_formed {
                self.unknown(&group)?;
                continue;
            }
            if !group.segment.parse::<usize>().is_ok_and(|index| index <= LIST_INDEX_MAX) {
                return Err(self.invalid(
                    &group.parameters[0].key,
                    group.segment,
                    &format!("An index may not be greater than {LIST_INDEX_MAX}."),
                ));
            }
            self.value(into.push(), &group, "member", false)?;
        }
        Ok(())
    }

    /// `X.entry.1.key=a&X.entry.1.value=b`
    fn map(&self, into: &mut dyn Map, group: &Group<'_, '_>) -> Result<(), Refusal> {
        for entries in groups(group.parameters, group.end + 1) {
            if entries.segment != "entry" {
                self.unknown(&entries)?;
                continue;
            }
            for entry in groups(entries.parameters, entries.end + 1) {
                let mut key = None;
                let mut value = None;
                for part in groups(entry.parameters, entry.end + 1) {
                    match part.segment {
                        "key" => key = Some(part.parameters[0].value.as_ref()),
                        "value" => value = Some(part),
                        _ => self.unknown(&part)?,
                    }
                }
                match (key, value) {
                    (Some(key), Some(value)) => self.value(into.entry(key), &value, "member", false)?,
                    _ => self.unknown(&entry)?,
                }
            }
        }
        Ok(())
    }

    fn scalar(&self, slot: Slot<'_>, group: &Group<'_, '_>) -> Result<(), Refusal> {
        if let Some(deeper) = group.parameters.iter().find(|parameter| parameter.key.len() != group.end) {
            return self.unknown_key(&deeper.key);
        }
        let [Parameter { key, value }] = group.parameters else {
            let key = &group.parameters[0].key;
            return Err(self.invalid(key, &group.parameters[0].value, "The parameter may be given only once."));
        };
        let wrong = |expected: &str| self.invalid(key, value, &format!("Expected {expected}."));
        match slot {
            Slot::Text(text) => value.as_ref().clone_into(text),
            Slot::Integer(number) => *number = value.parse().map_err(|_| wrong("an integer"))?,
            Slot::Long(number) => *number = value.parse().map_err(|_| wrong("an integer"))?,
            Slot::Double(number) => {
                *number =
                    value.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| wrong("a number"))?;
            }
            Slot::Boolean(truth) => *truth = boolean(value).ok_or_else(|| wrong("true or false"))?,
            Slot::Timestamp(moment) => {
                *moment = Timestamp(instant::parse_extended(value).ok_or_else(|| wrong("an ISO 8601 moment"))?);
            }
            Slot::Blob(bytes) => *bytes = blob::decode(value).ok_or_else(|| wrong("base64"))?,
            Slot::Structure(_) | Slot::List(_) | Slot::Map(_) => return self.unknown(group),
        }
        Ok(())
    }

    fn unknown(&self, group: &Group<'_, '_>) -> Result<(), Refusal> {
        self.unknown_key(&group.parameters[0].key)
    }

    fn unknown_key(&self, key: &str) -> Result<(), Refusal> {
        if !self.ec2 {
            return Ok(());
        }
        Err(Refusal::new(Ec2ErrorCode::UnknownParameter, format!("The parameter {} is not recognized", excerpt(key))))
    }

    fn invalid(&self, key: &str, value: &str, why: &str) -> Refusal {
        let message = format!("Value ({}) for parameter {} is invalid. {why}", excerpt(value), excerpt(key));
        if self.ec2 {
            Refusal::new(Ec2ErrorCode::InvalidParameterValue, message)
        } else {
            Refusal::new(CommonErrorCode::InvalidParameterValue, message)
        }
    }
}

fn is_not_input(segment: &str) -> bool {
    PROTOCOL_PARAMETERS.contains(&segment) || SIGNATURE_PARAMETERS.contains(&segment)
}

fn boolean(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}
