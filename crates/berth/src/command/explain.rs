// SPDX-License-Identifier: Apache-2.0
//! `berth explain`: why a packet arrives or does not, each gate evaluated from the records and from the kernel.
//!
//! The server returns the ends and their rules, this command reads the pinned maps, `fabric` decides. Exit code 0: the
//! packet and its reply arrive, 1: one of them is dropped, 2: there is no answer.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use berth_fabric::explain::{
    Answer, Asked, Cure, Deciding, Explanation, Packet, Programmed, REPLY_PORT, cures, explain,
};
use berth_types::admin::{Reply, Request};
use berth_types::explain::{Ends, Party};
use berth_types::{HostId, VpcId};
use serde_json::{Value, json};

use crate::args::{ExplainArgs, Format};
use crate::installation::Installation;
use crate::show::table;
use crate::{admin, hosts};

/// The packet would be dropped.
const DROPPED: u8 = 1;
/// The question is invalid or cannot be answered.
const UNANSWERED: u8 = 2;

/// Asks and prints. Failures have their own exit code, so that a script can distinguish them from a dropped packet.
pub fn run(installation: &Installation, args: &ExplainArgs) -> ExitCode {
    match answer(installation, args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("berth: {}", crate::told::told(&error));
            unanswered()
        }
    }
}

/// The exit code for "no answer".
pub fn unanswered() -> ExitCode {
    ExitCode::from(UNANSWERED)
}

fn answer(installation: &Installation, args: &ExplainArgs) -> Result<ExitCode> {
    let (to, packet) = destination(&args.to, args.protocol.number())?;
    let vpc = args.vpc.as_deref().map(str::parse).transpose().context("--vpc")?;
    let ends = ask_ends(installation, args.from.clone(), to, vpc)?;
    let passages = passages(installation, ends, packet)?;
    match args.output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&document(args, &passages))?),
        Format::Table => passages.iter().for_each(|passage| print_table(args, passage)),
    }
    let is_dropped =
        |passage: &Passage| passage.explained.drop_reason().or(passage.explained.reply_drop_reason()).is_some();
    Ok(if passages.iter().any(is_dropped) { ExitCode::from(DROPPED) } else { ExitCode::SUCCESS })
}

/// A packet between two ends, explained.
struct Passage {
    ends: Ends,
    packet: Packet,
    explained: Explanation,
    cures: Vec<Cure>,
}

/// The packet, and the one that it becomes if it leaves for a public address of this installation, where it turns round.
fn passages(installation: &Installation, ends: Ends, packet: Packet) -> Result<Vec<Passage>> {
    let first = passage(installation, ends, packet)?;
    let publics = &first.ends.ways.public_addresses;
    let turns = first.explained.leaves_as().filter(|_| publics.contains_key(&first.ends.destination));
    let Some(leaves_as) = turns.filter(|_| first.explained.drop_reason().is_none()) else { return Ok(vec![first]) };
    let (from, to) = (format!("internet@{leaves_as}"), first.ends.destination.to_string());
    let vpc = publics.get(&first.ends.destination).and_then(|owner| first.ends.ways.vpcs.get(&owner.vni));
    let again = ask_ends(installation, from, to, vpc.map(|vpc| vpc.vpc.clone()))?;
    Ok(vec![first, passage(installation, again, packet)?])
}

fn passage(installation: &Installation, ends: Ends, packet: Packet) -> Result<Passage> {
    let deciding = ends.sender().or(ends.receiver.as_ref());
    let (at, host) = deciding_host(installation, deciding)?;
    let programmed = Programmed::read(&at.instance, &at.run)?;
    let explained = explain(&ends, packet, &programmed, &host);
    let cures = cures(&ends, packet, &host);
    Ok(Passage { ends, packet, explained, cures })
}

fn ask_ends(installation: &Installation, from: String, to: String, vpc: Option<VpcId>) -> Result<Ends> {
    match admin::ask(installation, Request::Explain { from, to, vpc })? {
        Reply::Ends(ends) => Ok(*ends),
        other => bail!("the server answered {other:?} to a question about the ends of a packet"),
    }
}

/// The maps of a host contain only its own interfaces.
fn deciding_host(installation: &Installation, party: Option<&Party>) -> Result<(Installation, HostId)> {
    if let Some((party, attachment)) = party.and_then(|party| Some((party, party.attachment.as_ref()?))) {
        let host = hosts::with_id(installation, &attachment.host)?;
        let host = host.with_context(|| {
            format!(
                "{} is on host {}, which is not on this machine; run `berth explain` there",
                party.eni, attachment.host
            )
        })?;
        return Ok((host.installation, attachment.host.clone()));
    }
    for host in hosts::up(installation)?.into_iter().chain(hosts::local(installation)?) {
        if let Some(id) = host.id()? {
            return Ok((host.installation, id));
        }
    }
    bail!("no node has run here yet; `berth explain` reads the maps of the sender's host")
}

/// Splits `B:PORT`, `B`, `B:TYPE` or `B:TYPE/CODE` (ICMP).
fn destination(text: &str, protocol: Option<u8>) -> Result<(String, Packet)> {
    let (to, port) = match text.rsplit_once(':') {
        // An ARN without a port ends in a name.
        Some((to, port)) if port.starts_with(|first: char| first.is_ascii_digit()) => (to, Some(port)),
        Some(_) | None => (text, None),
    };
    let number = match (protocol, port) {
        (Some(TCP | UDP), Some(port)) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .with_context(|| format!("{port:?} is not a port; give a number from 1 to 65535"))?,
        (Some(TCP | UDP), None) => bail!("which port of {to}? Write {to}:PORT, or name a protocol without ports"),
        (Some(ICMP), None) => ECHO_REQUEST,
        (Some(ICMP), Some(kind)) => icmp(kind)?,
        (_, None) => 0,
        (_, Some(_)) => bail!("only TCP and UDP have ports; leave out the part after {to}"),
    };
    Ok((to.to_owned(), Packet { protocol, port: number, is_reply: false }))
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Type 8, code 0.
const ECHO_REQUEST: u16 = 8 << 8;

fn icmp(text: &str) -> Result<u16> {
    let (kind, code) = text.split_once('/').unwrap_or((text, "0"));
    let byte = |text: &str| {
        text.parse::<u8>().with_context(|| format!("{text:?} is not an ICMP type or code; give a number from 0 to 255"))
    };
    Ok(u16::from_be_bytes([byte(kind)?, byte(code)?]))
}

fn what(args: &ExplainArgs, packet: Packet) -> String {
    let [kind, code] = packet.port.to_be_bytes();
    match packet.protocol {
        Some(TCP | UDP) => format!("{} port {}", args.protocol.as_str(), packet.port),
        Some(_) => format!("{} type {kind} code {code}", args.protocol.as_str()),
        None => "any protocol that no rule names".to_owned(),
    }
}

/// The remedy for a difference.
const CURE: &str = "if this persists, see the log of `berth node`; a restart programs the maps from the records";

fn print_table(args: &ExplainArgs, passage: &Passage) {
    let Passage { ends, packet, explained, cures } = passage;
    let end = |name: &str, address: String, party: Option<&Party>| {
        let told = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            name.to_owned(),
            address,
            told(party.map(|party| party.eni.to_string())),
            told(party.and_then(|party| party.task.as_ref()).map(ToString::to_string)),
            told(party.map(|party| party.subnet.to_string())),
            told(party.map(groups)),
        ]
    };
    let rows = [
        end("source", ends.source_address().to_string(), ends.sender()),
        end("destination", ends.public.unwrap_or(ends.destination).to_string(), ends.receiver.as_ref()),
    ];
    println!("{} in {}", what(args, *packet), ends.vpc);
    print!("{}", table(&["END", "ADDRESS", "ENI", "TASK", "SUBNET", "SECURITY GROUPS"], &rows));
    let rows: Vec<Vec<String>> = explained.gates.iter().map(row).collect();
    print!("\n{}", table(&["GATE", "VERDICT", "BY THE RECORDS", "BY THE PROGRAMMED MAPS"], &rows));
    if !explained.reply.is_empty() {
        let rows: Vec<Vec<String>> = explained.reply.iter().map(row).collect();
        print!("\n{}", table(&["GATE OF THE REPLY", "VERDICT", "BY THE RECORDS", "BY THE PROGRAMMED MAPS"], &rows));
    }
    let leaves_as = explained.leaves_as().map(|address| format!(" at the gateway, and leaves it from {address}"));
    match explained.drop_reason() {
        None => println!("\nThe packet arrives{}.", leaves_as.unwrap_or_default()),
        Some(reason) => println!("\nThe packet is dropped: {reason} ({}).", reason.text()),
    }
    if let Some(reason) = explained.reply_drop_reason() {
        println!("Its reply, to port {REPLY_PORT} for example, is dropped: {reason} ({}).", reason.text());
    }
    if !cures.is_empty() {
        println!("\nThe smallest change that lets it pass:");
        cures.iter().for_each(|cure| println!("  {}", cure.text()));
    }
    let warnings = explained.warnings();
    warnings.iter().for_each(|warning| println!("warning: {warning}"));
    if !warnings.is_empty() {
        println!("warning: the programmed maps decide; {CURE}");
    }
}

fn groups(party: &Party) -> String {
    let groups: Vec<&str> = party.security_groups.iter().map(AsRef::as_ref).collect();
    groups.join(",")
}

fn row(asked: &Asked) -> Vec<String> {
    let told = |answer: &Answer| match answer {
        Answer::Pass(rules) if rules.is_empty() => "pass".to_owned(),
        Answer::Pass(rules) => rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Answer::Drop(reason) => reason.to_string(),
        Answer::NotReached => "-".to_owned(),
    };
    vec![asked.gate.as_str().to_owned(), verdict(&asked.maps).to_owned(), told(&asked.records), told(&asked.maps)]
}

fn verdict(answer: &Answer) -> &'static str {
    match answer {
        Answer::Pass(_) => "pass",
        Answer::Drop(_) => "drop",
        Answer::NotReached => "not reached",
    }
}

/// The first passage, with the second one in it.
fn document(args: &ExplainArgs, passages: &[Passage]) -> Value {
    let mut values: Vec<Value> = passages.iter().map(|passage| value(args, passage)).collect();
    let then = (values.len() > 1).then(|| values.remove(1));
    let mut first = values.swap_remove(0);
    first["then"] = then.unwrap_or_default();
    first
}

fn asked_value(asked: &Asked) -> Value {
    json!({
        "gate": asked.gate.as_str(),
        "records": answer_value(&asked.records),
        "maps": answer_value(&asked.maps),
        "differ": asked.differs(),
    })
}

fn cure_value(cure: &Cure) -> Value {
    let (command, advice) = match &cure.change {
        Some(change) => (Some(change.to_string()), None),
        None => (None, Some(cure.text())),
    };
    json!({
        "gate": cure.gate.as_str(),
        "reply": cure.is_reply,
        "drop_reason": cure.reason.to_string(),
        "command": command,
        "advice": advice,
    })
}

fn value(args: &ExplainArgs, passage: &Passage) -> Value {
    let Passage { ends, packet, explained, cures } = passage;
    let [kind, code] = packet.port.to_be_bytes();
    let is_icmp = packet.protocol == Some(ICMP);
    let port = matches!(packet.protocol, Some(TCP | UDP)).then_some(packet.port);
    let reason = explained.drop_reason();
    json!({
        "protocol": args.protocol.as_str(),
        "port": port,
        "icmp_type": is_icmp.then_some(kind),
        "icmp_code": is_icmp.then_some(code),
        "vpc": ends.vpc,
        "source": match ends.sender() {
            Some(sender) => party_value(sender),
            None => json!({ "address": ends.source_address() }),
        },
        "destination": match &ends.receiver {
            Some(receiver) => party_value(receiver),
            None => json!({ "address": ends.destination }),
        },
        "public_address": ends.public,
        "gates": explained.gates.iter().map(asked_value).collect::<Vec<_>>(),
        "reply": explained.reply.iter().map(asked_value).collect::<Vec<_>>(),
        "changes": cures.iter().map(cure_value).collect::<Vec<_>>(),
        "verdict": if reason.is_some() { "drop" } else { "pass" },
        "drop_reason": reason.map(|reason| reason.to_string()),
        "reply_drop_reason": explained.reply_drop_reason().map(|reason| reason.to_string()),
        "differ": !explained.warnings().is_empty(),
        "warnings": explained.warnings(),
    })
}

fn party_value(party: &Party) -> Value {
    json!({
        "address": party.address,
        "eni": party.eni,
        "task": party.task,
        "subnet": party.subnet,
        "security_groups": party.security_groups,
        "group_set": party.group_set,
        "host": party.attachment.as_ref().map(|attachment| &attachment.host),
    })
}

fn answer_value(answer: &Answer) -> Value {
    let (rules, reason) = match answer {
        Answer::Pass(rules) => (rules.as_slice(), None),
        Answer::Drop(reason) => (&[][..], Some(reason.to_string())),
        Answer::NotReached => (&[][..], None),
    };
    let rules = rules.iter().map(|rule| match rule {
        Deciding::Rule { group, rule } => json!({ "security_group": group, "rule": rule }),
        Deciding::Unrecorded { ruleset, bit } => json!({ "unrecorded": { "ruleset": ruleset, "bit": bit } }),
        Deciding::AclEntry { acl, entry } => json!({ "network_acl": acl, "entry": entry }),
        Deciding::Route { table, destination, target } => {
            json!({ "route_table": table, "destination": destination, "target": target })
        }
        Deciding::Translated(address) => json!({ "leaves_as": address }),
        Deciding::Arrives(address) => json!({ "stands_for": address }),
    });
    json!({ "verdict": verdict(answer).replace(' ', "_"), "rules": rules.collect::<Vec<_>>(), "drop_reason": reason })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_destination_is_read_with_and_without_a_port() {
        let arn = "arn:aws:ecs:us-west-2:123456789012:task/default/0123456789abcdef0123456789abcdef";
        let read = |text: &str, protocol| {
            destination(text, protocol).map(|(to, packet)| (to, packet.port)).map_err(|error| error.to_string())
        };
        let ok = |to: &str, port: u16| Ok((to.to_owned(), port));
        assert_eq!(read("10.0.0.1:80", Some(TCP)), ok("10.0.0.1", 80));
        assert_eq!(read(&format!("{arn}:443"), Some(UDP)), ok(arn, 443));
        assert_eq!(read(arn, Some(ICMP)), ok(arn, 8 << 8));
        assert_eq!(read("eni-1", None), ok("eni-1", 0));
        assert_eq!(read("10.0.0.1:3/4", Some(ICMP)), ok("10.0.0.1", 3 << 8 | 4));
        for (text, protocol, why) in [
            ("10.0.0.1", Some(TCP), "which port"),
            (arn, Some(TCP), "which port"),
            ("10.0.0.1:0", Some(TCP), "not a port"),
            ("10.0.0.1:65536", Some(UDP), "not a port"),
            ("10.0.0.1:80", None, "only TCP and UDP"),
            ("10.0.0.1:300", Some(ICMP), "not an ICMP type"),
        ] {
            let said = read(text, protocol).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
