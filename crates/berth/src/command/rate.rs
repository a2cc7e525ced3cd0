// SPDX-License-Identifier: Apache-2.0
//! `berth rate`: limits of interfaces and NAT gateways, for which AWS has no operation.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use berth_fabric::Exceeded;
use berth_types::admin::{Limited, RateChange, RateOf, Reply, Request};
use berth_types::intent::Rate;
use serde_json::json;

use crate::args::{Format, RateArgs};
use crate::installation::Installation;
use crate::show::table;
use crate::{admin, hosts};

/// Sets a limit, if one is given, and prints what is in effect.
pub fn run(installation: &Installation, args: &RateArgs) -> Result<ExitCode> {
    let set = args.rate.as_deref().map(change).transpose()?;
    let request = match &args.target {
        Some(target) => Request::Rate { target: target.clone(), set },
        None => Request::Rates,
    };
    let rates = match admin::ask(installation, request)? {
        Reply::Rates(rates) => rates,
        other => bail!("the server answered {other:?} to a question about limits"),
    };
    let hosts = exceeded(installation)?;
    let of = |rate: &RateOf| hosts.iter().find_map(|host| dropped(host, rate));
    match args.output {
        Format::Json => {
            let value = |rate: &RateOf| {
                json!({
                    "id": name(rate),
                    "bits_per_second": rate.rate.map(|rate| rate.bits_per_second),
                    "dropped_packets": of(rate),
                })
            };
            println!("{}", serde_json::to_string_pretty(&rates.iter().map(value).collect::<Vec<_>>())?);
        }
        Format::Table => {
            let row = |rate: &RateOf| {
                let limit = rate.rate.map_or("none".to_owned(), |rate| told(rate.bits_per_second));
                vec![name(rate), limit, of(rate).map_or("-".to_owned(), |count| count.to_string())]
            };
            print!("{}", table(&["ID", "RATE", "DROPPED PACKETS"], &rates.iter().map(row).collect::<Vec<_>>()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn name(rate: &RateOf) -> String {
    match &rate.limited {
        Limited::Eni(id) => id.to_string(),
        Limited::NatGateway { id, .. } => id.to_string(),
    }
}

/// Dropped packets, from the maps of the hosts on this machine.
fn exceeded(installation: &Installation) -> Result<Vec<Exceeded>> {
    let hosts = hosts::up(installation)?.into_iter().chain(hosts::local(installation)?);
    // A host without a data path has dropped nothing.
    Ok(hosts.filter_map(|host| Exceeded::read(&host.installation.instance, &host.installation.run).ok()).collect())
}

fn dropped(host: &Exceeded, rate: &RateOf) -> Option<u64> {
    match &rate.limited {
        Limited::Eni(id) => host.of_eni(id),
        Limited::NatGateway { vni, address, .. } => host.of_nat(*vni, (*address)?),
    }
}

/// Reads a rate such as `100mbit`, or `none`.
fn change(text: &str) -> Result<RateChange> {
    if text == "none" {
        return Ok(RateChange::NoLimit);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "bit" => 1,
        "kbit" => 1_000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => bail!(
            "{text:?} is not a rate; write a whole number with its unit, such as 500kbit, 100mbit or 10gbit, or none"
        ),
    };
    let number: u64 =
        number.parse().with_context(|| format!("{text:?} is not a rate; it begins with a whole number"))?;
    let bits_per_second = number.saturating_mul(factor);
    if !(Rate::MIN..=Rate::MAX).contains(&bits_per_second) {
        bail!("{text} is out of range; a rate is from {} to {}", told(Rate::MIN), told(Rate::MAX));
    }
    Ok(RateChange::Limit(Rate { bits_per_second }))
}

fn told(bits_per_second: u64) -> String {
    let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
    let fitting =
        units.into_iter().find(|(factor, _)| bits_per_second >= *factor && bits_per_second.is_multiple_of(*factor));
    fitting.map_or(format!("{bits_per_second}bit"), |(factor, unit)| format!("{}{unit}", bits_per_second / factor))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_rate_is_a_whole_number_with_its_unit() {
        let read = |text: &str| match change(text) {
            Ok(RateChange::Limit(rate)) => Ok(told(rate.bits_per_second)),
            Ok(RateChange::NoLimit) => Ok("none".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        for (text, meant) in [
            ("100mbit", "100mbit"),
            ("1500kbit", "1500kbit"),
            ("10Gbit", "10gbit"),
            ("2000bit", "2kbit"),
            ("none", "none"),
        ] {
            assert_eq!(read(text).unwrap(), meant);
        }
        for (text, why) in [
            ("100", "not a rate"),
            ("mbit", "not a rate"),
            ("1.5gbit", "not a rate"),
            ("1bit", "out of range"),
            ("-1mbit", "not a rate"),
        ] {
            assert!(read(text).unwrap_err().contains(why), "{text}");
        }
    }
}
