// SPDX-License-Identifier: Apache-2.0
//! `nft`: applies rulesets in its JSON form. It decides nothing.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Fault;
use crate::fault::NetworkFault;

/// Applies a ruleset as one transaction, in the namespace of the calling thread.
pub(crate) fn apply(ruleset: &Value) -> Result<(), Fault> {
    let on = "the nftables ruleset";
    let run = || -> std::io::Result<std::process::Output> {
        let mut nft = Command::new("nft")
            .args(["-j", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = nft.stdin.take() {
            input.write_all(ruleset.to_string().as_bytes())?;
        }
        nft.wait_with_output()
    };
    let done = run().map_err(NetworkFault::NoNft).map_err(Fault::network("apply", on))?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            Err(Fault::network("apply", on)(NetworkFault::Rules(said)))
        }
    }
}
