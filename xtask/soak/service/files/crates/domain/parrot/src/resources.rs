// SPDX-License-Identifier: Apache-2.0
//! The resources that a request names, as ARNs.

use berth_shapes::{Structure, View};
use berth_state::{Env, Snapshot};

/// Words.
pub(super) fn word(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
    let index = input.shape().members.iter().position(|member| member.name == "Word");
    match index.and_then(|index| input.member(index)) {
        Some(View::Text(text)) => vec![env.arn("parrot", format!("word/{text}"))],
        _ => vec![env.arn("parrot", "word/*")],
    }
}
