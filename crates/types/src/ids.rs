// SPDX-License-Identifier: Apache-2.0
//! Identifiers as types, so that the compiler catches swapped ids.
//!
//! EC2 ids are `prefix-` and 8 or 17 hexadecimal digits; ECS task ids are 32 hexadecimal digits; attachment and
//! container ids are UUIDs. This module makes no random ids; fresh ids come from `Env`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The text is not an id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid id {given:?}: expected {expected}")]
pub struct InvalidId {
    /// The given text.
    pub given: String,
    /// The expected form, e.g. `vpc-...`.
    pub expected: &'static str,
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the id and checks its form.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(InvalidId { given: text.to_owned(), expected: $expected })
                }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", &self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! ec2_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        text_id!($(#[$doc])* $name, concat!("\"", $prefix, "-...\""), |text| {
            text.strip_prefix(concat!($prefix, "-")).is_some_and(|rest| matches!(rest.len(), 8 | 17) && is_lower_hex(rest))
        });

        impl $name {
            /// The part before the dash.
            pub const PREFIX: &'static str = $prefix;

            /// The id with the low 68 bits of `bits` as its 17 hexadecimal digits.
            pub fn from_bits(bits: u128) -> Self {
                Self(Arc::from(format!(concat!($prefix, "-{:017x}"), bits & ((1 << 68) - 1))))
            }
        }
    };
}

ec2_id!(/// A virtual private cloud.
    VpcId, "vpc");
ec2_id!(/// A subnet.
    SubnetId, "subnet");
ec2_id!(/// A security group.
    SecurityGroupId, "sg");
ec2_id!(/// One rule of a security group.
    SecurityGroupRuleId, "sgr");
ec2_id!(/// An elastic network interface.
    EniId, "eni");
ec2_id!(/// The attachment of an interface to an instance.
    EniAttachmentId, "eni-attach");
ec2_id!(/// An internet gateway.
    InternetGatewayId, "igw");
ec2_id!(/// A route table.
    RouteTableId, "rtb");
ec2_id!(/// The association of a route table with a subnet.
    RouteTableAssociationId, "rtbassoc");
ec2_id!(/// A network ACL.
    NetworkAclId, "acl");
ec2_id!(/// The association of a network ACL with a subnet.
    NetworkAclAssociationId, "aclassoc");
ec2_id!(/// An elastic IP address.
    ElasticIpId, "eipalloc");
ec2_id!(/// The association of an elastic IP address with an interface.
    ElasticIpAssociationId, "eipassoc");
ec2_id!(/// A NAT gateway.
    NatGatewayId, "nat");
ec2_id!(/// A peering of two VPCs.
    PeeringId, "pcx");
ec2_id!(/// A managed prefix list.
    PrefixListId, "pl");
ec2_id!(/// A set of DHCP options.
    DhcpOptionsId, "dopt");
ec2_id!(/// The association of a CIDR with a VPC.
    VpcCidrAssociationId, "vpc-cidr-assoc");
ec2_id!(/// The EC2 instance id a host shows to AWS clients.
    InstanceId, "i");

text_id!(/// An ECS task: 32 hexadecimal digits.
    TaskId, "32 hexadecimal digits", |text| text.len() == 32 && is_lower_hex(text));

text_id!(/// A host (ECS container instance id): 32 hexadecimal digits, kept by the node in its data folder.
    HostId, "32 hexadecimal digits", |text| text.len() == 32 && is_lower_hex(text));

impl TaskId {
    /// The id with `bits` as its digits.
    pub fn from_bits(bits: u128) -> Self {
        Self(Arc::from(format!("{bits:032x}")))
    }
}

impl HostId {
    /// The id with `bits` as its digits.
    pub fn from_bits(bits: u128) -> Self {
        Self(Arc::from(format!("{bits:032x}")))
    }
}

/// Identity of a distinct set of security groups inside one VPC. It travels with packets (VXLAN-GBP), hence 16 bits;
/// 0 means "no set" and is never allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupSetId(pub u16);

impl fmt::Display for GroupSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A UUID in its 36-character form made of `bits`, with version 4 and variant marked.
pub fn uuid_text(bits: u128) -> String {
    let bits = (bits & !(0xf000 << 64) & !(0b11 << 62)) | (0x4000 << 64) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_keeps_its_kind() {
        assert!(VpcId::parse("vpc-0123456789abcdef0").is_ok());
        assert!(VpcId::parse("vpc-1a2b3c4d").is_ok());
        assert!(VpcId::parse("subnet-0123456789abcdef0").is_err());
        assert!(VpcId::parse("vpc-XYZ").is_err());
        assert_eq!(VpcId::from_bits(5).as_str(), "vpc-00000000000000005");
        assert_eq!(uuid_text(0), "00000000-0000-4000-8000-000000000000");
    }
}
