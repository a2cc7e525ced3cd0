// SPDX-License-Identifier: Apache-2.0
//! Capacity providers and the settings of clusters.

use expect_test::expect;
use serde_json::{Value, json};

use super::{World, check, fargate_definition, hello, merged, run_request};

fn item(provider: &str, base: i32, weight: i32) -> Value {
    json!({"capacityProvider": provider, "base": base, "weight": weight})
}

#[test]
fn a_cluster_uses_the_providers_it_is_given() {
    let mut world = World::with_host();
    let mut found = String::new();
    let mut note = |answer: Result<Value, String>| {
        let shown = answer.map_or_else(
            |words| words,
            |answer| {
                let cluster = &answer["cluster"];
                format!("{} {}", cluster["capacityProviders"], cluster["defaultCapacityProviderStrategy"])
            },
        );
        found.push_str(&format!("{shown}\n"));
    };
    let request = json!({"clusterName": "demo", "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "defaultCapacityProviderStrategy": [item("FARGATE", 1, 1), item("FARGATE_SPOT", 0, 4)]});
    note(world.call("CreateCluster", request));
    let arn = "arn:aws:ecs:us-west-2:111122223333:capacity-provider/FARGATE_SPOT";
    for (providers, strategy) in [
        (json!(["FARGATE", "FARGATE"]), json!([])),
        (json!([arn]), json!([{"capacityProvider": "FARGATE_SPOT"}])),
        (json!(["FARGATE"]), json!([item("FARGATE_SPOT", 0, 1)])),
        (json!(["mine"]), json!([])),
        (json!(["FARGATE", "FARGATE_SPOT"]), json!([item("FARGATE", 1, 1), item("FARGATE_SPOT", 1, 1)])),
        (json!(["FARGATE"]), json!([item("FARGATE", 0, 1), item("FARGATE", 0, 1)])),
        (json!(["FARGATE"]), json!([item("FARGATE", 0, 1001)])),
        (json!(["FARGATE"]), json!([item("FARGATE", -1, 1)])),
        (json!([]), json!([])),
    ] {
        let request = json!({"cluster": "demo", "capacityProviders": providers,
            "defaultCapacityProviderStrategy": strategy});
        note(world.call("PutClusterCapacityProviders", request));
    }
    note(world.call("CreateCluster", json!({"clusterName": "x", "capacityProviders": ["mine"]})));
    for request in [
        json!({}),
        json!({"capacityProviders": ["FARGATE_SPOT", "mine"], "include": ["TAGS"]}),
        json!({"maxResults": 1}),
        json!({"include": ["COLOUR"]}),
    ] {
        let answer = world.call("DescribeCapacityProviders", request);
        found.push_str(&format!("{}\n", answer.map_or_else(|words| words, |answer| answer.to_string())));
    }
    expect![[r#"
        ["FARGATE","FARGATE_SPOT"] [{"base":1,"capacityProvider":"FARGATE","weight":1},{"base":0,"capacityProvider":"FARGATE_SPOT","weight":4}]
        ["FARGATE"] []
        ["FARGATE_SPOT"] [{"base":0,"capacityProvider":"FARGATE_SPOT","weight":1}]
        InvalidParameterException: The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster. Associate the capacity provider with the cluster and try again.
        InvalidParameterException: The specified capacity provider was not found. Specify a valid name or ARN and try again.
        InvalidParameterException: The specified capacity provider strategy contains multiple capacity providers with a base value defined. A maximum of one capacity provider in a strategy can have a base value defined. Remove the base value from all but one capacity provider in the strategy and try again.
        InvalidParameterException: The specified capacity provider strategy cannot contain duplicate capacity providers.
        InvalidParameterException: weight must be between 0 and 1000.
        InvalidParameterException: base must be between 0 and 100000.
        [] []
        InvalidParameterException: The specified capacity provider was not found. Specify a valid name or ARN and try again.
        {"capacityProviders":[{"capacityProviderArn":"arn:aws:ecs:us-west-2:111122223333:capacity-provider/FARGATE","name":"FARGATE","status":"ACTIVE","tags":[],"type":"FARGATE"},{"capacityProviderArn":"arn:aws:ecs:us-west-2:111122223333:capacity-provider/FARGATE_SPOT","name":"FARGATE_SPOT","status":"ACTIVE","tags":[],"type":"FARGATE_SPOT"}],"failures":[]}
        {"capacityProviders":[{"capacityProviderArn":"arn:aws:ecs:us-west-2:111122223333:capacity-provider/FARGATE_SPOT","name":"FARGATE_SPOT","status":"ACTIVE","tags":[],"type":"FARGATE_SPOT"}],"failures":[{"arn":"arn:aws:ecs:us-west-2:111122223333:capacity-provider/mine","reason":"MISSING"}]}
        {"capacityProviders":[{"capacityProviderArn":"arn:aws:ecs:us-west-2:111122223333:capacity-provider/FARGATE","name":"FARGATE","status":"ACTIVE","tags":[],"type":"FARGATE"}],"failures":[],"nextToken":"htapSC0JYEREZXNjcmliZUNhcGFjaXR5UHJvdmlkZXJzfEZBUkdBVEU"}
        InvalidParameterException: Invalid include value 'COLOUR'.
    "#]].assert_eq(&found);
}

#[test]
fn a_strategy_spreads_tasks_over_providers() {
    let mut world = World::with_cluster();
    let mut large = hello(1);
    large.capacity.memory_mib = 100_000;
    large.capacity.cpu_units = 100_000;
    world.connect(&large);
    world.call("RegisterTaskDefinition", fargate_definition()).unwrap();
    let mut found = String::new();
    let mut run = |world: &mut World, what: &str, patch: Value| {
        let mut request = merged(run_request(), patch);
        if request["launchType"] == json!("") {
            request.as_object_mut().unwrap().remove("launchType");
        }
        let shown = world.call("RunTask", request).map_or_else(
            |words| words,
            |answer| {
                let tasks = answer["tasks"].as_array().unwrap().iter();
                let tasks = tasks.map(|task| format!("{} {}", task["launchType"], task["capacityProviderName"]));
                tasks.collect::<Vec<_>>().join(", ")
            },
        );
        found.push_str(&format!("{what}: {shown}\n"));
    };
    let strategy = json!([item("FARGATE", 1, 1), item("FARGATE_SPOT", 0, 3)]);
    let by_strategy = json!({"launchType": "", "count": 5, "capacityProviderStrategy": strategy});
    run(&mut world, "not associated", by_strategy.clone());
    let request = json!({"cluster": "default", "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "defaultCapacityProviderStrategy": [item("FARGATE_SPOT", 0, 1)]});
    world.call("PutClusterCapacityProviders", request).unwrap();
    run(&mut world, "strategy", by_strategy);
    run(&mut world, "default strategy", json!({"launchType": "", "count": 2}));
    run(&mut world, "launch type", json!({"launchType": "FARGATE"}));
    run(&mut world, "EC2", json!({"launchType": "EC2"}));
    run(&mut world, "both", json!({"launchType": "FARGATE", "capacityProviderStrategy": [item("FARGATE", 0, 1)]}));
    run(&mut world, "no weight", json!({"launchType": "", "capacityProviderStrategy": [item("FARGATE", 0, 0)]}));
    expect![[r#"
        not associated: InvalidParameterException: The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster. Associate the capacity provider with the cluster and try again.
        strategy: "FARGATE" "FARGATE", "FARGATE" "FARGATE_SPOT", "FARGATE" "FARGATE_SPOT", "FARGATE" "FARGATE", "FARGATE" "FARGATE_SPOT"
        default strategy: "FARGATE" "FARGATE_SPOT", "FARGATE" "FARGATE_SPOT"
        launch type: "FARGATE" null
        EC2: "EC2" null
        both: InvalidParameterException: Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.
        no weight: InvalidParameterException: There are no capacity providers in the capacity provider strategy with a weight value greater than zero. Specify a weight value greater than zero for at least one capacity provider and try again.
    "#]].assert_eq(&found);
}

#[test]
fn settings_of_a_cluster_are_changed_and_told() {
    let insights = |value: &str| format!("settings.1.name=containerInsights settings.1.value={value}");
    check(
        &format!(
            "UpdateClusterSettings cluster=default {} | settings
             UpdateCluster cluster=default | settings
             UpdateCluster cluster=default {} | settings
             UpdateClusterSettings cluster=default {}
             UpdateClusterSettings cluster=default settings=[]
             UpdateClusterSettings cluster=other {}
             UpdateCluster cluster=default serviceConnectDefaults.namespace=x
             DescribeClusters include.1=SETTINGS | settings",
            insights("enhanced"),
            insights("enabled"),
            insights("some"),
            insights("enabled"),
        ),
        expect![[r#"
            UpdateClusterSettings cluster=default settings.1.name=containerInsights settings.1.value=enhanced | settings
              cluster={settings=[{name=containerInsights value=enhanced}]}
            UpdateCluster cluster=default | settings
              cluster={settings=[{name=containerInsights value=enhanced}]}
            UpdateCluster cluster=default settings.1.name=containerInsights settings.1.value=enabled | settings
              cluster={settings=[{name=containerInsights value=enabled}]}
            UpdateClusterSettings cluster=default settings.1.name=containerInsights settings.1.value=some
              refused InvalidParameterException: Invalid value 'some' for the cluster setting containerInsights.
            UpdateClusterSettings cluster=default settings=[]
              refused InvalidParameterException: settings can not be empty.
            UpdateClusterSettings cluster=other settings.1.name=containerInsights settings.1.value=enabled
              refused ClusterNotFoundException: Cluster not found.
            UpdateCluster cluster=default serviceConnectDefaults.namespace=x
              refused InvalidParameterException: serviceConnectDefaults is not supported by this endpoint yet.
            DescribeClusters include.1=SETTINGS | settings
              clusters=[{settings=[{name=containerInsights value=enabled}]}]
        "#]],
    );
}

#[test]
fn a_setting_holds_for_a_principal_or_the_account() {
    let of_ann = "principalArn=arn:aws:iam::111122223333:user/ann";
    check(
        &format!(
            "ListAccountSettings
             PutAccountSettingDefault name=containerInsights value=enabled
             PutAccountSetting name=containerInsights value=enhanced {of_ann}
             ListAccountSettings {of_ann}
             ListAccountSettings {of_ann} effectiveSettings=true
             ListAccountSettings effectiveSettings=true name=containerInsights
             ListAccountSettings effectiveSettings=true name=containerInsights value=disabled
             DeleteAccountSetting name=containerInsights {of_ann}
             PutAccountSetting name=containerInsights value=some
             PutAccountSetting name=taskLongArnFormat value=disabled
             PutAccountSetting name=colour value=red
             PutAccountSetting name=guardDutyActivate value=on
             PutAccountSetting name=containerInsights value=enabled principalArn=arn:aws:iam::999999999999:user/bob
             ListAccountSettings value=enabled
             CreateCluster clusterName=watched | settings"
        ),
        expect![[r#"
            ListAccountSettings
              nothing
            PutAccountSettingDefault name=containerInsights value=enabled
              setting={name=containerInsights principalArn=arn:aws:iam::111122223333:root type=user value=enabled}
            PutAccountSetting name=containerInsights value=enhanced principalArn=arn:aws:iam::111122223333:user/ann
              setting={name=containerInsights principalArn=arn:aws:iam::111122223333:user/ann type=user value=enhanced}
            ListAccountSettings principalArn=arn:aws:iam::111122223333:user/ann
              settings=[{name=containerInsights principalArn=arn:aws:iam::111122223333:user/ann type=user value=enhanced}]
            ListAccountSettings principalArn=arn:aws:iam::111122223333:user/ann effectiveSettings=true
              settings=[{name=awsvpcTrunking principalArn=arn:aws:iam::111122223333:user/ann type=user value=disabled}, {name=containerInsights principalArn=arn:aws:iam::111122223333:user/ann type=user value=enhanced}, {name=containerInstanceLongArnFormat principalArn=arn:aws:iam::111122223333:user/ann type=user value=enabled}, {name=defaultLogDriverMode principalArn=arn:aws:iam::111122223333:user/ann type=user value=non-blocking}, {name=fargateEventWindows principalArn=arn:aws:iam::111122223333:user/ann type=user value=disabled}, {name=fargateFIPSMode principalArn=arn:aws:iam::111122223333:user/ann type=user value=disabled}, {name=fargateTaskRetirementWaitPeriod principalArn=arn:aws:iam::111122223333:user/ann type=user value=7}, {name=serviceLongArnFormat principalArn=arn:aws:iam::111122223333:user/ann type=user value=enabled}, {name=tagResourceAuthorization principalArn=arn:aws:iam::111122223333:user/ann type=user value=off}, {name=taskLongArnFormat principalArn=arn:aws:iam::111122223333:user/ann type=user value=enabled}]
            ListAccountSettings effectiveSettings=true name=containerInsights
              settings=[{name=containerInsights principalArn=arn:aws:iam::111122223333:root type=user value=enabled}]
            ListAccountSettings effectiveSettings=true name=containerInsights value=disabled
              nothing
            DeleteAccountSetting name=containerInsights principalArn=arn:aws:iam::111122223333:user/ann
              setting={name=containerInsights principalArn=arn:aws:iam::111122223333:user/ann type=user value=enabled}
            PutAccountSetting name=containerInsights value=some
              refused InvalidParameterException: Invalid value 'some' for setting containerInsights. Must be one of [disabled, enabled, enhanced]
            PutAccountSetting name=taskLongArnFormat value=disabled
              refused InvalidParameterException: Invalid value 'disabled' for setting taskLongArnFormat. Must be one of [enabled]
            PutAccountSetting name=colour value=red
              refused InvalidParameterException: Invalid setting name 'colour'.
            PutAccountSetting name=guardDutyActivate value=on
              refused InvalidParameterException: guardDutyActivate is managed by AWS and cannot be changed.
            PutAccountSetting name=containerInsights value=enabled principalArn=arn:aws:iam::999999999999:user/bob
              refused InvalidParameterException: Invalid principalArn 'arn:aws:iam::999999999999:user/bob'.
            ListAccountSettings value=enabled
              refused InvalidParameterException: name must be specified when value is.
            CreateCluster clusterName=watched | settings
              cluster={settings=[{name=containerInsights value=enabled}]}
        "#]],
    );
}
