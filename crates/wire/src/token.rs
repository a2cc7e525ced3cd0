//! Pagination tokens. Operations page with plain cursors; on the wire a cursor is sealed, so that clients can neither
//! read meaning into it nor make one up, nor use the token of one operation with another.

use crate::excerpt::excerpt;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_shapes::{CommonErrorCode, Ec2ErrorCode, Operation, Refusal, Service, Slot, Structure, View, ecs};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The length of the seal in front of the cursor, in bytes.
const SEAL_BYTES: usize = 16;

/// The key that seals tokens; every server of one installation has the same.
#[derive(Clone)]
pub struct TokenKey(pub [u8; 32]);

/// The cursor as a token of this operation.
pub fn seal(key: &TokenKey, operation: &Operation, cursor: &str) -> String {
    let mut bytes = seal_of(key, operation, cursor.as_bytes()).to_vec();
    bytes.extend_from_slice(cursor.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The cursor in a token; `None` when the token was not made by [`seal`] for this operation.
pub fn open(key: &TokenKey, operation: &Operation, token: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (seal, cursor) = bytes.split_at_checked(SEAL_BYTES)?;
    let genuine = bool::from(seal_of(key, operation, cursor).as_slice().ct_eq(seal));
    if genuine { String::from_utf8(cursor.to_vec()).ok() } else { None }
}

/// Replaces the token in an input by its cursor; refuses forged tokens.
pub fn open_input(key: &TokenKey, operation: &Operation, input: &mut dyn Structure) -> Result<(), Refusal> {
    let Some(index) = token_member(input) else { return Ok(()) };
    let Some(View::Text(token)) = input.member(index) else { return Ok(()) };
    let cursor = open(key, operation, token).ok_or_else(|| forged(operation.service, token))?;
    if let Some(Slot::Text(place)) = input.slot(index) {
        *place = cursor;
    }
    Ok(())
}

/// Replaces the cursor in an output by its token.
pub fn seal_output(key: &TokenKey, operation: &Operation, output: &mut dyn Structure) {
    let Some(index) = token_member(output) else { return };
    let Some(View::Text(cursor)) = output.member(index) else { return };
    let token = seal(key, operation, cursor);
    if let Some(Slot::Text(place)) = output.slot(index) {
        *place = token;
    }
}

fn token_member(structure: &dyn Structure) -> Option<usize> {
    structure.shape().members.iter().position(|member| member.name == "nextToken" || member.name == "NextToken")
}

fn forged(service: Service, token: &str) -> Refusal {
    match service {
        Service::Ecs => Refusal::new(ecs::ErrorCode::InvalidParameterException, "Invalid token."),
        Service::Ec2 => Refusal::new(
            Ec2ErrorCode::InvalidParameterValue,
            format!("Value ({}) for parameter nextToken is invalid.", excerpt(token)),
        ),
        Service::Sts => Refusal::new(CommonErrorCode::ValidationError, "Invalid token."),
    }
}

fn seal_of(key: &TokenKey, operation: &Operation, cursor: &[u8]) -> [u8; SEAL_BYTES] {
    let mut mac = match Hmac::<Sha256>::new_from_slice(&key.0) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    for part in [operation.service.name().as_bytes(), b"/", operation.name.as_bytes(), b"\n", cursor] {
        mac.update(part);
    }
    let whole = mac.finalize().into_bytes();
    let mut seal = [0; SEAL_BYTES];
    seal.copy_from_slice(&whole[..SEAL_BYTES]);
    seal
}
