// SPDX-License-Identifier: Apache-2.0
//! CPU and memory of a task as text: units or vCPU, MiB or GB.

use berth_state::Refusal;

use super::super::refuse::client;

/// CPU units per vCPU, and MiB per GB.
const PER_WHOLE: u64 = 1024;

/// CPU units: `256`, `.25 vCPU`, `0.25vcpu`.
pub(in super::super) fn parse_cpu(text: &str) -> Result<u32, Refusal> {
    parse(text, "vcpu").ok_or_else(|| invalid_setting("cpu"))
}

/// MiB: `512`, `0.5 GB`, `1gb`.
pub(in super::super) fn parse_memory(text: &str) -> Result<u32, Refusal> {
    parse(text, "gb").ok_or_else(|| invalid_setting("memory"))
}

/// Refusal of a setting that is not a number or is out of range.
pub(in super::super) fn invalid_setting(name: &str) -> Refusal {
    client(format!(
        "Invalid '{name}' setting for task. For more information, see the Troubleshooting section of the Amazon ECS \
         Developer Guide."
    ))
}

fn parse(text: &str, unit: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    match text.strip_suffix(unit) {
        None => text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?,
        Some(wholes) => decimal(wholes.trim_end()),
    }
}

/// `wholes` times 1024, if that is an integer.
fn decimal(wholes: &str) -> Option<u32> {
    let (integer, fraction) = wholes.split_once('.').unwrap_or((wholes, ""));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // More than ten digits after the point cannot be a multiple of 1/1024.
    if (integer.is_empty() && fraction.is_empty()) || !is_number(integer) || !is_number(fraction) || fraction.len() > 10
    {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0u64) } else { text.parse().ok() };
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = number(integer)?.checked_mul(scale)?.checked_add(number(fraction)?)?.checked_mul(PER_WHOLE)?;
    scaled.is_multiple_of(scale).then(|| u32::try_from(scaled / scale).ok())?
}
