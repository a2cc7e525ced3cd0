//! Who is calling.

use berth_shapes::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};
use berth_types::Arn;

use crate::{Env, Refusal, Snapshot};

pub mod record;

/// GetCallerIdentity: needs no permission, so it never refuses.
pub fn get_caller_identity(
    snap: &Snapshot,
    _req: &GetCallerIdentityRequest,
    env: &Env,
) -> Result<GetCallerIdentityResponse, Refusal> {
    let account = env.caller.parse::<Arn>().map_or_else(|_| env.account.clone(), |arn| arn.account);
    let key = snap.access_keys.values().find(|key| key.owner_arn == env.caller);
    // AWS: the root user's id is the account's number. A caller without a key of its own is the root user.
    let user_id = key.map_or_else(|| account.clone(), |key| key.owner_id.clone());
    Ok(GetCallerIdentityResponse { account: Some(account), arn: Some(env.caller.clone()), user_id: Some(user_id) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::record::{AccessKey, AccessKeyId};
    use super::*;
    use crate::Draft;
    use expect_test::expect;

    fn answer(caller: &str) -> String {
        let mut draft = Draft::of(&Snapshot::default());
        draft.put(AccessKey {
            id: AccessKeyId("AKIAIOSFODNN7EXAMPLE".to_owned()),
            secret: "secret".to_owned(),
            owner_arn: "arn:aws:iam::111122223333:user/admin".to_owned(),
            owner_id: "AIDACKCEVSQ6C2EXAMPLE".to_owned(),
        });
        let fixed = Env::fixed();
        let env = Env::new(fixed.now, &fixed.region, &fixed.account, caller, 1);
        let answer = get_caller_identity(&draft, &GetCallerIdentityRequest {}, &env).unwrap();
        format!("{:?} {:?} {:?}", answer.account.unwrap(), answer.arn.unwrap(), answer.user_id.unwrap())
    }

    #[test]
    fn a_caller_is_known_by_the_owner_of_its_key() {
        expect![[r#""111122223333" "arn:aws:iam::111122223333:user/admin" "AIDACKCEVSQ6C2EXAMPLE""#]]
            .assert_eq(&answer("arn:aws:iam::111122223333:user/admin"));
        expect![[r#""111122223333" "arn:aws:iam::111122223333:root" "111122223333""#]]
            .assert_eq(&answer("arn:aws:iam::111122223333:root"));
    }
}
