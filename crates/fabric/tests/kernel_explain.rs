// SPDX-License-Identifier: Apache-2.0
//! `explain` from the pinned maps agrees with real packets. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Map, MapData};
use berth_fabric::DropReason;
use berth_fabric::explain::{Answer, Deciding, Explanation, Packet, Programmed, explain};
use berth_types::explain::{Attached, Ends, Party, Source};
use berth_types::{SecurityGroupRuleId, Vni};
use lab::Lab;
use lab::talk::Outcome;

const TCP: u8 = 6;

fn party(lab: &Lab, name: &str) -> Party {
    let id = lab.at(name).id.clone();
    let eni = &lab.intent.enis[&id];
    Party {
        eni: id,
        address: eni.address,
        subnet: eni.subnet.clone(),
        subnet_cidr: eni.subnet_cidr,
        task: None,
        security_groups: lab.intent.group_sets[&eni.group_set].groups.clone(),
        group_set: eni.group_set,
        attachment: Some(Attached { host: lab.config().host.clone(), is_usable: true }),
    }
}

fn ask(lab: &Lab, from: &str, to: &str, port: u16) -> Explanation {
    let vpc = &lab.intent.vpcs[&Vni(1)];
    let ends = Ends {
        vpc: vpc.vpc.clone(),
        vni: Vni(1),
        cidrs: vpc.cidrs.clone(),
        source: Source::Interface(party(lab, from)),
        destination: lab.at(to).address,
        public: None,
        receiver: Some(party(lab, to)),
        group_sets: lab.intent.group_sets.clone(),
        security_groups: lab.intent.security_groups.clone(),
        ways: lab.intent.clone(),
    };
    let config = lab.config();
    let programmed = Programmed::read(&config.instance, &config.run_dir).unwrap();
    explain(&ends, Packet { protocol: Some(TCP), port, is_reply: false }, &programmed, &config.host)
}

fn rules(answer: &Answer) -> Vec<SecurityGroupRuleId> {
    let Answer::Pass(rules) = answer else { panic!("{answer}") };
    rules
        .iter()
        .map(|rule| match rule {
            Deciding::Rule { rule, .. } => rule.clone(),
            other => panic!("{other}"),
        })
        .collect()
}

#[test]
fn the_rule_that_is_named_is_the_one_that_lets_the_packet_through() {
    let mut lab = Lab::new();
    let out = lab.write_rules("web", &["all to 0.0.0.0/0"]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("db", 1, "10.0.1.20/24", &["db"]);
    let by_group = lab.allow("db", &["tcp 5000-5999 from sg:web"]);
    let by_range = lab.allow("db", &["tcp 80 from 10.0.1.0/24", "tcp 443 from 10.0.2.0/24"]);
    for (port, inside) in [(5432, &by_group[..]), (80, &by_range[..1])] {
        let explained = ask(&lab, "web", "db", port);
        assert_eq!(explained.warnings(), Vec::<String>::new());
        assert_eq!(explained.drop_reason(), None);
        assert_eq!(rules(&explained.gates[2].maps), out);
        assert_eq!(rules(&explained.gates[7].maps), inside);
        assert_eq!(lab.connects("web", "db", port), Outcome::Refused, "it arrived, and nobody listens");
    }
    let explained = ask(&lab, "web", "db", 443);
    assert_eq!(explained.drop_reason(), Some(DropReason::SecurityGroupIngress));
    let counted = lab.drops_during("db", |lab| assert!(lab.is_silent("web", "db", 443)));
    assert_eq!(counted, [DropReason::SecurityGroupIngress]);
    // The rules are removed: no other rule admits their packets.
    lab.revoke("db", &by_group);
    assert_eq!(ask(&lab, "web", "db", 5432).drop_reason(), Some(DropReason::SecurityGroupIngress));
    lab.unplug("web");
    assert_eq!(ask(&lab, "web", "db", 80).drop_reason(), Some(DropReason::NotProgrammed));
}

#[test]
fn a_row_that_somebody_took_out_of_the_map_is_told() {
    let mut lab = Lab::new();
    lab.write_rules("web", &["all to 0.0.0.0/0"]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("db", 1, "10.0.1.20/24", &["db"]);
    lab.allow("db", &["tcp 80 from 0.0.0.0/0"]);
    assert_eq!(ask(&lab, "web", "db", 80).warnings(), Vec::<String>::new());

    let pin = lab.fabric().pins().join("rule_ports");
    let map = Map::LpmTrie(MapData::from_pin(pin).unwrap());
    let mut ports: LpmTrie<_, [u8; 8], [u64; 16]> = map.try_into().unwrap();
    let of_tcp = |key: &aya::maps::lpm_trie::Key<[u8; 8]>| key.data()[4..7] == [TCP, 0, 80];
    let keys: Vec<_> = ports.keys().map(Result::unwrap).filter(of_tcp).collect();
    assert_eq!(keys.len(), 1);
    ports.remove(&keys[0]).unwrap();

    let explained = ask(&lab, "web", "db", 80);
    assert_eq!(explained.drop_reason(), Some(DropReason::SecurityGroupIngress));
    let warnings = explained.warnings();
    assert!(warnings.len() == 1 && warnings[0].starts_with("ingress: the records say pass by"), "{warnings:?}");
    assert!(lab.is_silent("web", "db", 80), "the kernel is what counts");

    lab.restart();
    lab.program();
    assert_eq!(ask(&lab, "web", "db", 80).warnings(), Vec::<String>::new(), "the next node repairs it");
    assert_eq!(lab.connects("web", "db", 80), Outcome::Refused);
}
