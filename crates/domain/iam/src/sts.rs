// SPDX-License-Identifier: Apache-2.0
//! STS: the identity of the caller.

use berth_shapes::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};
use berth_state::{Env, Refusal, Snapshot};
use berth_types::Arn;

/// GetCallerIdentity: needs no permission, so it never refuses.
pub fn get_caller_identity(
    _snap: &Snapshot,
    _req: &GetCallerIdentityRequest,
    env: &Env,
) -> Result<GetCallerIdentityResponse, Refusal> {
    let arn = env.caller.arn();
    let account = arn.parse::<Arn>().map_or_else(|_| env.account.clone(), |arn| arn.account);
    Ok(GetCallerIdentityResponse { account: Some(account), arn: Some(arn), user_id: Some(env.caller.id().to_owned()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use berth_state::Caller;
    use expect_test::expect;

    fn answer(caller: Caller) -> String {
        let fixed = Env::fixed();
        let env = Env::new(fixed.now, &fixed.region, &fixed.account, caller, 1);
        let answer = get_caller_identity(&Snapshot::default(), &GetCallerIdentityRequest {}, &env).unwrap();
        format!("{:?} {:?} {:?}", answer.account.unwrap(), answer.arn.unwrap(), answer.user_id.unwrap())
    }

    #[test]
    fn a_caller_is_a_user_or_the_root_user() {
        expect![[r#""111122223333" "arn:aws:iam::111122223333:user/admin" "AIDACKCEVSQ6C2EXAMPLE""#]]
            .assert_eq(&answer(Caller::user("arn:aws:iam::111122223333:user/admin", "AIDACKCEVSQ6C2EXAMPLE")));
        expect![[r#""111122223333" "arn:aws:iam::111122223333:root" "111122223333""#]]
            .assert_eq(&answer(Caller::root("111122223333")));
    }
}
