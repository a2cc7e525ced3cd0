// SPDX-License-Identifier: Apache-2.0
//! SayWord: the parrot says a word in the server's log.

use std::sync::Arc;

use berth_parrot::known_word;
use berth_shapes::Refusal;
use berth_shapes::parrot::{SayWordRequest, SayWordResponse};
use berth_state::{Env, Snapshot};

/// SayWord.
pub(super) async fn say_word(
    snapshot: Arc<Snapshot>,
    request: SayWordRequest,
    _env: Env,
) -> Result<SayWordResponse, Refusal> {
    let word = known_word(&snapshot, request.word.as_deref())?;
    tracing::info!(word = word.text, "the parrot says a word");
    tokio::task::yield_now().await;
    Ok(SayWordResponse { said: Some(word.text.clone()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use berth_shapes::parrot::TeachWordRequest;

    #[tokio::test]
    async fn the_parrot_says_a_word_that_it_knows() {
        let mut snapshot = Snapshot::default();
        let hello = || Some("hello".to_owned());
        let taught = berth_parrot::teach_word(&snapshot, &TeachWordRequest { word: hello() }, &Env::fixed()).unwrap();
        for write in &taught.writes {
            snapshot.apply(write);
        }
        let said = say_word(Arc::new(snapshot), SayWordRequest { word: hello() }, Env::fixed()).await.unwrap();
        assert_eq!(said.said, hello());
        assert!(say_word(Arc::default(), SayWordRequest { word: hello() }, Env::fixed()).await.is_err());
    }
}
