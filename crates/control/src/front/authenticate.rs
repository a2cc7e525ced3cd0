//! Who is asking. Every request is verified; there is no operation that needs no signature.

use berth_domain::Snapshot;
use berth_domain::sts::record::AccessKeyId;
use berth_shapes::{Refusal, Service};
use berth_wire::RequestParts;
use berth_wire::sigv4::{AuthError, Endpoint, Secret, verify};

use super::Front;
use crate::clock::now;

/// The ARN of the caller.
pub(super) fn caller(
    front: &Front,
    parts: &RequestParts<'_>,
    service: Service,
    snapshot: &Snapshot,
) -> Result<String, Refusal> {
    let key = |id: &str| snapshot.access_keys.get(&AccessKeyId(id.to_owned()));
    let secret = |id: &str| key(id).map(|key| Secret { secret_access_key: key.secret.clone(), session: None });
    let endpoint = Endpoint { region: &front.place.region, service: service.name() };
    match verify(parts, &secret, now().0, endpoint) {
        // The snapshot is the one the secret came from, so the key is there.
        Ok(id) => match key(&id) {
            Some(key) => Ok(key.owner_arn.clone()),
            None => Err(AuthError::UnknownKey.refusal(service)),
        },
        Err(AuthError::UnknownKey) if front.trust_any_key => Ok(format!("arn:aws:iam::{}:root", front.place.account)),
        Err(error) => Err(error.refusal(service)),
    }
}
