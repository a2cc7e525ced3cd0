// SPDX-License-Identifier: Apache-2.0
//! The messages between server and node: their form on the link, and patches.

#![allow(clippy::unwrap_used)]
use std::net::Ipv4Addr;

use super::*;
use crate::mode::{NetworkMode, Protocol};
use crate::{Ipv4Cidr, VpcId};
use proptest::prelude::*;

fn intent(subnets: &BTreeMap<u8, u8>) -> HostIntent {
    let vpc = |k: u8, v: u8| {
        let cidrs = vec![Ipv4Cidr::containing(Ipv4Addr::new(10, v, 0, 0), 16).unwrap()];
        (
            Vni(k.into()),
            VpcIntent { vpc: VpcId::from_bits(k.into()), cidrs, subnets: BTreeMap::new(), internet_gateway: None },
        )
    };
    HostIntent { vpcs: subnets.iter().map(|(k, v)| vpc(*k, *v)).collect(), ..HostIntent::default() }
}

#[test]
fn a_task_written_before_there_were_other_modes_has_an_interface() {
    let text = r#"{"arn":"a","cluster_arn":"c","family":"f","revision":1,"launch_type":"FARGATE",
        "availability_zone":"z","desired":"RUNNING","eni":"eni-00000000000000001","hostname":null,
        "dns":{"servers":[],"search":[]},"cpu_units":null,"memory_mib":null,"volumes":[],"containers":[]}"#;
    let task: TaskIntent = serde_json::from_str(text).unwrap();
    assert_eq!((task.network_mode, task.eni), (NetworkMode::Awsvpc, Some(EniId::from_bits(1))));
    let port: PortIntent = serde_json::from_str(r#"{"container_port":80,"protocol":"tcp"}"#).unwrap();
    assert_eq!((port.host_port, port.protocol), (None, Protocol::Tcp));
}

#[test]
fn a_plug_of_a_shell_keeps_the_form_of_the_first_version() {
    let task = TaskId::from_bits(1);
    let shell = Plug::Standalone(Standalone { namespace: "seat-1".to_owned(), holder: Holder::Shell });
    let forms = [
        (r#"{"in_place":"00000000000000000000000000000001"}"#, Plug::InPlace(task.clone())),
        (r#"{"host_first":"00000000000000000000000000000001"}"#, Plug::HostFirst(task)),
        (r#"{"seat":"seat-1"}"#, shell.clone()),
    ];
    for (text, plug) in forms {
        assert_eq!(serde_json::to_string(&plug).unwrap(), text);
        assert_eq!(serde_json::from_str::<Plug>(text).unwrap(), plug);
    }
    let general = r#"{"standalone":{"namespace":"seat-1","holder":"shell"}}"#;
    assert_eq!(serde_json::from_str::<Plug>(general).unwrap(), shell);
    assert!(serde_json::from_str::<Plug>(r#"{"standalone":{"namespace":"a","holder":"stranger"}}"#).is_err());
}

/// Each map with an entry, as it stands on the link, in the order of the link.
const MAPS: [(&str, &str); 11] = [
    (
        "vpcs",
        concat!(
            r#"{"7":{"vpc":"vpc-00000000000000001","cidrs":["10.0.0.0/16"],"#,
            r#""subnets":{"subnet-00000000000000001":{"cidr":"10.0.1.0/24"}}}}"#,
        ),
    ),
    ("group_sets", r#"{"1":{"vni":7,"groups":["sg-00000000000000001"]}}"#),
    (
        "security_groups",
        concat!(
            r#"{"sg-00000000000000001":{"rules":{"sgr-00000000000000001":"#,
            r#"{"direction":"ingress","protocol":6,"ports":{"ports":[80,81]},"peer":{"cidr":"0.0.0.0/0"}},"#,
            r#""sgr-00000000000000002":"#,
            r#"{"direction":"egress","protocol":null,"ports":"all","peer":{"group":"sg-00000000000000001"}}}}}"#,
        ),
    ),
    (
        "endpoints",
        concat!(
            r#"{"eni-00000000000000001":{"vni":7,"address":"10.0.1.4","mac":"02:00:00:00:00:01","#,
            r#""group_set":1,"host":"0000000000000000000000000000000a"}}"#,
        ),
    ),
    (
        "enis",
        concat!(
            r#"{"eni-00000000000000001":{"vni":7,"subnet":"subnet-00000000000000001","subnet_cidr":"10.0.1.0/24","#,
            r#""vpc_cidrs":["10.0.0.0/16"],"mac":"02:00:00:00:00:01","address":"10.0.1.4","group_set":1,"#,
            r#""source_dest_check":true,"mtu":9001,"plug":{"seat":"shell-1"}}}"#,
        ),
    ),
    (
        "tasks",
        concat!(
            r#"{"00000000000000000000000000000001":{"arn":"a","cluster_arn":"c","family":"f","revision":1,"#,
            r#""launch_type":"FARGATE","availability_zone":"z","desired":"RUNNING","network_mode":"awsvpc","#,
            r#""eni":"eni-00000000000000001","hostname":null,"dns":{"servers":["10.0.0.2"],"search":["internal"]},"#,
            r#""cpu_units":256,"memory_mib":512,"volumes":[],"containers":[{"name":"web","arn":"x","endpoint_id":"e","#,
            r#""image":"nginx","entry_point":null,"command":["a"],"environment":[["K","V"]],"essential":true,"#,
            r#""cpu_units":1,"memory_mib":null,"memory_reservation_mib":null,"stop_timeout_s":30,"#,
            r#""working_directory":null,"user":null,"readonly_root_filesystem":false,"pseudo_terminal":false,"#,
            r#""labels":{},"mounts":[{"volume":"v","path":"/v","read_only":true}],"#,
            r#""ports":[{"container_port":80,"protocol":"tcp"}]}]}}"#,
        ),
    ),
    (
        "route_tables",
        concat!(
            r#"{"rtb-00000000000000001":{"vni":7,"routes":{"0.0.0.0/0":{"internet_gateway":"igw-00000000000000001"},"#,
            r#""10.0.0.0/16":"local","10.1.0.0/16":{"peering":{"id":"pcx-00000000000000001","vni":8}},"#,
            r#""10.2.0.0/16":"blackhole"}}}"#,
        ),
    ),
    (
        "network_acls",
        concat!(
            r#"{"acl-00000000000000001":{"vni":7,"entries":[{"number":100,"direction":"ingress","protocol":null,"#,
            r#""ports":"all","cidr":"0.0.0.0/0","admits":true}]}}"#,
        ),
    ),
    (
        "public_addresses",
        concat!(
            r#"{"198.18.0.9":{"vni":7,"eni":"eni-00000000000000001","address":"10.0.1.4","#,
            r#""host":"0000000000000000000000000000000a"}}"#,
        ),
    ),
    (
        "nat_gateways",
        concat!(
            r#"{"nat-00000000000000001":{"vni":7,"subnet":"subnet-00000000000000001","eni":"eni-00000000000000002","#,
            r#""addresses":["10.0.1.9"],"host":"0000000000000000000000000000000a"}}"#,
        ),
    ),
    ("worlds", r#"{"198.18.0.0/20":{"host_address":"198.18.0.1"}}"#),
];

/// A JSON object with these members, after those written out in `first`.
fn object(first: &str, member: impl Fn(&str, &str) -> String) -> String {
    let members: Vec<String> = MAPS.iter().map(|(name, entries)| member(name, entries)).collect();
    format!("{{{first}{}}}", members.join(","))
}

#[test]
fn the_form_of_intents_and_patches_on_the_link_does_not_change() {
    let text = object("", |name, entries| format!(r#""{name}":{entries}"#));
    let (none, whole) = (HostIntent::default(), serde_json::from_str::<HostIntent>(&text).unwrap());
    assert_eq!(serde_json::to_string(&whole).unwrap(), text);

    let filling = serde_json::to_string(&diff(1, &none, 2, &whole)).unwrap();
    let put = |name: &str, entries: &str| format!(r#""{name}":{{"put":{entries},"gone":[]}}"#);
    assert_eq!(filling, object(r#""from":1,"to":2,"#, put));

    let emptying = serde_json::to_string(&diff(2, &whole, 3, &none)).unwrap();
    assert_eq!(
        emptying,
        concat!(
            r#"{"from":2,"to":3,"vpcs":{"put":{},"gone":[7]},"group_sets":{"put":{},"gone":[1]},"#,
            r#""security_groups":{"put":{},"gone":["sg-00000000000000001"]},"#,
            r#""endpoints":{"put":{},"gone":["eni-00000000000000001"]},"#,
            r#""enis":{"put":{},"gone":["eni-00000000000000001"]},"#,
            r#""tasks":{"put":{},"gone":["00000000000000000000000000000001"]},"#,
            r#""route_tables":{"put":{},"gone":["rtb-00000000000000001"]},"#,
            r#""network_acls":{"put":{},"gone":["acl-00000000000000001"]},"#,
            r#""public_addresses":{"put":{},"gone":["198.18.0.9"]},"#,
            r#""nat_gateways":{"put":{},"gone":["nat-00000000000000001"]},"#,
            r#""worlds":{"put":{},"gone":["198.18.0.0/20"]}}"#,
        )
    );
}

#[test]
fn maps_that_an_earlier_version_does_not_send_are_empty() {
    let intent: HostIntent = serde_json::from_str("{}").unwrap();
    assert_eq!(intent, HostIntent::default());
    let patch: IntentPatch = serde_json::from_str(r#"{"from":1,"to":2}"#).unwrap();
    assert!(patch.is_empty());
}

proptest! {
    #[test]
    fn a_patch_leads_to_the_new_intent_over_the_wire(old: BTreeMap<u8, u8>, new: BTreeMap<u8, u8>) {
        let (mut held, wanted) = (intent(&old), intent(&new));
        let patch = diff(1, &held, 2, &wanted);
        prop_assert_eq!(patch.is_empty(), held == wanted);
        let text = serde_json::to_string(&patch).unwrap();
        apply(&mut held, serde_json::from_str(&text).unwrap());
        prop_assert_eq!(held, wanted);
    }
}
