// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn the_name_goes_before_the_type() {
    let config = json!({ "type": "vpc-eni" });
    assert_eq!(which("/opt/cni/bin/ecs-bridge", &config).unwrap(), Plugin::EcsBridge);
    assert_eq!(which("berth-cni", &config).unwrap(), Plugin::VpcEni);
    assert_eq!(which("berth-cni", &json!({})).unwrap_err().code, CniError::INVALID_CONFIG);
}

#[test]
fn each_plugin_answers_to_its_own_name() {
    for plugin in [Plugin::EcsEni, Plugin::VpcEni, Plugin::EcsBridge, Plugin::EcsIpam] {
        assert_eq!(Plugin::named(plugin.name()), Some(plugin));
    }
}

#[test]
fn a_config_without_version_is_too_old() {
    let env = BTreeMap::from([("CNI_COMMAND".to_owned(), "ADD".to_owned())]);
    let (error, _) = answer("ecs-eni", &env, b"{}").unwrap_err();
    assert_eq!(error.code, CniError::INCOMPATIBLE_VERSION);
}

#[test]
fn a_caller_without_a_command_is_told() {
    let (error, version) = answer("ecs-eni", &BTreeMap::new(), b"").unwrap_err();
    assert_eq!(error.to_json(&version)["msg"], "required env variables [CNI_COMMAND] missing");
}
