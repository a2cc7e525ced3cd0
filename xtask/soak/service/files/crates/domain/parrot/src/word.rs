// SPDX-License-Identifier: Apache-2.0
//! DescribeWord, TeachWord, and the words that SayWord may say.

use std::sync::Arc;

use berth_shapes::parrot::{
    DescribeWordRequest, DescribeWordResponse, ErrorCode, TeachWordRequest, TeachWordResponse,
};
use berth_state::parrot::Word;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};

/// DescribeWord.
pub fn describe_word(snap: &Snapshot, req: &DescribeWordRequest, _env: &Env) -> Result<DescribeWordResponse, Refusal> {
    let word = known_word(snap, req.word.as_deref())?;
    Ok(DescribeWordResponse { taught_by: Some(word.taught_by.clone()) })
}

/// TeachWord.
pub fn teach_word(snap: &Snapshot, req: &TeachWordRequest, env: &Env) -> Result<Change<TeachWordResponse>, Refusal> {
    let mut draft = Draft::of(snap);
    draft.put(Word { text: req.word.clone().unwrap_or_default(), taught_by: env.caller.arn() });
    Ok(draft.change(TeachWordResponse {}))
}

/// The word that a request names.
///
/// # Errors
/// The parrot does not know the word.
pub fn known_word<'a>(snap: &'a Snapshot, word: Option<&str>) -> Result<&'a Arc<Word>, Refusal> {
    let word = word.unwrap_or_default();
    let unknown = || Refusal::new(ErrorCode::WordUnknownException, format!("The parrot does not know {word:?}."));
    snap.parrot().words.get(word).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_word_is_described_once_it_is_taught() {
        let (mut snap, env) = (Snapshot::default(), Env::fixed());
        let asked = DescribeWordRequest { word: Some("hello".to_owned()) };
        let refusal = describe_word(&snap, &asked, &env).unwrap_err();
        assert_eq!(refusal.to_string(), "WordUnknownException: The parrot does not know \"hello\".");
        let taught = teach_word(&snap, &TeachWordRequest { word: Some("hello".to_owned()) }, &env).unwrap();
        for write in &taught.writes {
            snap.apply(write);
        }
        let described = describe_word(&snap, &asked, &env).unwrap();
        assert_eq!(described.taught_by.as_deref(), Some("arn:aws:iam::111122223333:root"));
    }
}
