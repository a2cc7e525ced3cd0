// SPDX-License-Identifier: Apache-2.0
//! Authenticates the caller. Every request is verified; no operation is allowed without a signature.

use berth_shapes::{Refusal, Service};
use berth_state::iam::AccessKeyId;
use berth_state::{Caller, Origin, Snapshot};
use berth_wire::RequestParts;
use berth_wire::sigv4::{AuthError, Endpoint, Secret, verify};

use super::Front;
use super::connections::Source;
use crate::clock::now;

/// The caller of an operation of `service`. An endpoint of one service takes signatures for no other.
pub(super) fn caller(
    front: &Front,
    parts: &RequestParts<'_>,
    service: Service,
    snapshot: &Snapshot,
    source: &Source,
) -> Result<Caller, Refusal> {
    let key = |id: &str| snapshot.iam().access_keys.get(&AccessKeyId(id.to_owned()));
    let secret = |id: &str| key(id).map(|key| Secret { secret_access_key: key.secret.clone(), session: None });
    let expected = source.service.unwrap_or(service);
    let endpoint = Endpoint { region: &front.locality.region, service: expected.name() };
    let from = |caller: Caller| Caller {
        origin: Origin { address: Some(source.address), eni: source.eni.clone(), endpoint: None },
        ..caller
    };
    match verify(parts, &secret, now().0, endpoint) {
        // The secret came from this snapshot, so the key is there.
        Ok(id) => match key(&id) {
            Some(key) => Ok(from(Caller::user(&key.owner_arn, &key.owner_id))),
            None => Err(AuthError::UnknownKey.refusal(service.protocol())),
        },
        Err(AuthError::UnknownKey) if front.trust_any_key => Ok(from(Caller::root(&front.locality.account))),
        Err(error) => Err(error.refusal(service.protocol())),
    }
}
