// SPDX-License-Identifier: Apache-2.0
//! Names of fabric-side devices, and what all of them accept. A name has at most 15 characters, from which the interface
//! id can be recovered.
//!
//! `e` and the 68 bits of a long id in base 32, or `s` and the eight digits of a short one.

use berth_types::EniId;

/// Bytes that TCP hands to an interface as one packet: a packet crosses the fabric unsplit, and the cost of the program
/// is spread over three times as much as the kernel's 64 KiB. Every device on the path must accept this size, otherwise
/// the kernel splits in software, which costs more than it saves.
pub const UNSPLIT_BYTES: u32 = 192 * 1024;

const LONG_DIGITS: usize = 17;
const SHORT_DIGITS: usize = 8;
const BASE_32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// The fabric-side device of an interface.
pub fn name_of(eni: &EniId) -> String {
    let digits = &eni.as_str()[EniId::PREFIX.len() + 1..];
    match u128::from_str_radix(digits, 16) {
        Ok(bits) if digits.len() == LONG_DIGITS => {
            let digit = |at: u32| char::from(BASE_32[(bits >> (5 * at) & 31) as usize]);
            std::iter::once('e').chain((0..14).rev().map(digit)).collect()
        }
        _ => format!("s{digits}"),
    }
}

/// The interface of a device, if it is one of Berth's.
pub fn eni_of(device: &str) -> Option<EniId> {
    let digits = device.get(1..)?;
    if device.starts_with('s') && digits.len() == SHORT_DIGITS {
        return EniId::parse(&format!("{}-{digits}", EniId::PREFIX)).ok();
    }
    if !device.starts_with('e') || digits.len() != 14 {
        return None;
    }
    let bits = u128::from_str_radix(digits, 32).ok().filter(|bits| bits >> 68 == 0)?;
    let eni = EniId::from_bits(bits);
    (name_of(&eni) == device).then_some(eni)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_devices_are_not_taken_for_interfaces() {
        for name in ["lo", "eth0", "ecs-bridge", "", "e", "evvvvvvvvvvvvvv", "s1234567g"] {
            assert_eq!(eni_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_leads_back_to_its_interface(bits: u128, short: u32) {
            for eni in [EniId::from_bits(bits), EniId::parse(&format!("eni-{short:08x}")).unwrap()] {
                prop_assert!(name_of(&eni).len() <= 15);
                prop_assert_eq!(eni_of(&name_of(&eni)), Some(eni));
            }
        }
    }
}
