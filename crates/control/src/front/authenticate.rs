// SPDX-License-Identifier: Apache-2.0
//! Authenticates the caller. Every request is verified; no operation is allowed without a signature.

use std::net::IpAddr;

use berth_shapes::{Refusal, Service};
use berth_state::iam::AccessKeyId;
use berth_state::{Caller, Snapshot};
use berth_wire::RequestParts;
use berth_wire::sigv4::{AuthError, Endpoint, Secret, verify};

use super::Front;
use crate::clock::now;

/// The caller, from the address `origin`.
pub(super) fn caller(
    front: &Front,
    parts: &RequestParts<'_>,
    service: Service,
    snapshot: &Snapshot,
    origin: IpAddr,
) -> Result<Caller, Refusal> {
    let key = |id: &str| snapshot.iam().access_keys.get(&AccessKeyId(id.to_owned()));
    let secret = |id: &str| key(id).map(|key| Secret { secret_access_key: key.secret.clone(), session: None });
    let endpoint = Endpoint { region: &front.locality.region, service: service.name() };
    match verify(parts, &secret, now().0, endpoint) {
        // The secret came from this snapshot, so the key is there.
        Ok(id) => match key(&id) {
            Some(key) => Ok(Caller::user(&key.owner_arn, &key.owner_id).from_address(origin)),
            None => Err(AuthError::UnknownKey.refusal(service.protocol())),
        },
        Err(AuthError::UnknownKey) if front.trust_any_key => {
            Ok(Caller::root(&front.locality.account).from_address(origin))
        }
        Err(error) => Err(error.refusal(service.protocol())),
    }
}
