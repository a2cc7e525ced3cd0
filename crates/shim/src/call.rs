// SPDX-License-Identifier: Apache-2.0
//! containerd's command line: flags in the style of Go, then the action.

use std::path::PathBuf;

/// The action of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    /// Find or start the server of a container; print its address.
    #[default]
    Start,
    /// Clean up after a container whose server has died.
    Delete,
    /// Be the server; its socket is the standard input.
    Serve,
    /// Print information about the runtime.
    Info,
    /// Make the pause container of the working folder.
    Pause,
}

/// A call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub action: Action,
    /// containerd's namespace.
    pub namespace: String,
    /// The container; for a server the group it is for.
    pub id: String,
    /// containerd's socket.
    pub address: PathBuf,
    /// The container's folder, for [`Action::Delete`].
    pub bundle: PathBuf,
}

impl Call {
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut call = Self::default();
        let mut words = arguments.iter();
        let mut action = None;
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix('-') else {
                action = Some(word.as_str());
                continue;
            };
            let (name, given) = match flag.trim_start_matches('-').split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag.trim_start_matches('-'), None),
            };
            let mut value = || given.clone().or_else(|| words.next().cloned()).unwrap_or_default();
            match name {
                "namespace" => call.namespace = value(),
                "id" => call.id = value(),
                "address" => call.address = value().into(),
                "bundle" => call.bundle = value().into(),
                "publish-binary" => drop(value()),
                "info" => action = Some("info"),
                "debug" => {}
                other => return Err(format!("unknown flag -{other}")),
            }
        }
        call.action = match action {
            Some("start") => Action::Start,
            Some("delete") => Action::Delete,
            Some("serve") => Action::Serve,
            Some("info") => Action::Info,
            Some("pause") => Action::Pause,
            _ => return Err("usage: [FLAGS] start|delete (called by containerd)".to_owned()),
        };
        Ok(call)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(line: &str) -> Result<Call, String> {
        Call::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_calls_of_containerd_are_understood() {
        let start = "-namespace n -address /c.sock -publish-binary /usr/bin/containerd -id one -debug start";
        let expected = Call { namespace: "n".into(), id: "one".into(), address: "/c.sock".into(), ..Call::default() };
        assert_eq!(parse(start).unwrap(), expected);
        let delete = parse("--namespace=n -id one -bundle /b delete").unwrap();
        assert_eq!((delete.action, delete.bundle), (Action::Delete, "/b".into()));
        assert_eq!(parse("-info").unwrap().action, Action::Info);
        assert_eq!(parse("-colour red start").unwrap_err(), "unknown flag -colour");
        assert!(parse("").unwrap_err().starts_with("usage"));
    }
}
