// SPDX-License-Identifier: Apache-2.0
//! The text of a failure: its message and those of its causes, in one line.

use std::error::Error;

/// The messages of an error and of its causes, joined by colons. A message that ends with those of its causes already is
/// not followed by them again.
pub fn told(error: &anyhow::Error) -> String {
    line(error.as_ref())
}

fn line(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    match error.source().map(line) {
        Some(causes) if !text.ends_with(&causes) => format!("{text}: {causes}"),
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_cause_is_named_once() {
        let whole = anyhow!("no such file").context("could not open x: no such file").context("the journal");
        assert_eq!(told(&whole), "the journal: could not open x: no such file");
        let short = anyhow!("no such file").context("could not open x");
        assert_eq!(told(&short), format!("{short:#}"));
    }
}
