//! Capacity providers and the settings of clusters.

use expect_test::expect;
use serde_json::{Value, json};

use super::{World, fargate_definition, hello, merged, run_request};
use crate::ecs::{
    create_cluster, delete_account_setting, describe_capacity_providers, describe_clusters, list_account_settings,
    put_account_setting, put_account_setting_default, put_cluster_capacity_providers, register_task_definition,
    run_task, update_cluster, update_cluster_settings,
};

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
    note(world.write(create_cluster, request));
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
        note(world.write(put_cluster_capacity_providers, request));
    }
    note(world.write(create_cluster, json!({"clusterName": "x", "capacityProviders": ["mine"]})));
    for request in [
        json!({}),
        json!({"capacityProviders": ["FARGATE_SPOT", "mine"], "include": ["TAGS"]}),
        json!({"maxResults": 1}),
        json!({"include": ["COLOUR"]}),
    ] {
        let answer = world.read(describe_capacity_providers, request);
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
    let mut world = World::new();
    let mut large = hello(1);
    large.capacity.memory_mib = 100_000;
    large.capacity.cpu_units = 100_000;
    world.connect(&large);
    world.write(register_task_definition, fargate_definition()).unwrap();
    let mut found = String::new();
    let mut run = |world: &mut World, what: &str, patch: Value| {
        let mut request = merged(run_request(), patch);
        if request["launchType"] == json!("") {
            request.as_object_mut().unwrap().remove("launchType");
        }
        let shown = world.write(run_task, request).map_or_else(
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
    world.write(put_cluster_capacity_providers, request).unwrap();
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
    let mut world = World::new();
    let mut found = String::new();
    let setting =
        |value: &str| json!({"cluster": "default", "settings": [{"name": "containerInsights", "value": value}]});
    let mut note = |answer: Result<Value, String>| {
        let shown = answer.map_or_else(|words| words, |answer| answer["cluster"]["settings"].to_string());
        found.push_str(&format!("{shown}\n"));
    };
    note(world.write(update_cluster_settings, setting("enhanced")));
    note(world.write(update_cluster, json!({"cluster": "default"})));
    note(world.write(update_cluster, setting("enabled")));
    note(world.write(update_cluster_settings, setting("some")));
    note(world.write(update_cluster_settings, json!({"cluster": "default", "settings": []})));
    note(world.write(update_cluster_settings, json!({"cluster": "other", "settings": setting("enabled")["settings"]})));
    let serving = json!({"cluster": "default", "serviceConnectDefaults": {"namespace": "x"}});
    note(world.write(update_cluster, serving));
    let told = world.read(describe_clusters, json!({"include": ["SETTINGS"]})).unwrap();
    found.push_str(&told["clusters"][0]["settings"].to_string());
    expect![[r#"
        [{"name":"containerInsights","value":"enhanced"}]
        [{"name":"containerInsights","value":"enhanced"}]
        [{"name":"containerInsights","value":"enabled"}]
        InvalidParameterException: Invalid value 'some' for the cluster setting containerInsights.
        InvalidParameterException: settings can not be empty.
        ClusterNotFoundException: Cluster not found.
        InvalidParameterException: serviceConnectDefaults is not supported by this endpoint yet.
        [{"name":"containerInsights","value":"enabled"}]"#]]
    .assert_eq(&found);
}

#[test]
fn a_setting_holds_for_a_principal_or_the_account() {
    let mut world = World::new();
    let user = "arn:aws:iam::111122223333:user/ann";
    let mut found = String::new();
    let mut note = |answer: Result<Value, String>| {
        let shown = answer.map_or_else(
            |words| words,
            |answer| {
                let one = [answer["setting"].clone()];
                let settings = answer["settings"].as_array().map_or(&one[..], Vec::as_slice).iter();
                let settings = settings.map(|it| format!("{}={} {}", it["name"], it["value"], it["principalArn"]));
                settings.collect::<Vec<_>>().join(", ")
            },
        );
        found.push_str(&format!("{shown}\n"));
    };
    let insights = |value: &str| json!({"name": "containerInsights", "value": value});
    note(world.read(list_account_settings, json!({})));
    note(world.write(put_account_setting_default, insights("enabled")));
    note(world.write(put_account_setting, merged(insights("enhanced"), json!({"principalArn": user}))));
    note(world.read(list_account_settings, json!({"principalArn": user})));
    note(world.read(list_account_settings, json!({"principalArn": user, "effectiveSettings": true})));
    note(world.read(list_account_settings, json!({"effectiveSettings": true, "name": "containerInsights"})));
    note(world.read(list_account_settings, merged(insights("disabled"), json!({"effectiveSettings": true}))));
    note(world.write(delete_account_setting, json!({"name": "containerInsights", "principalArn": user})));
    for wrong in [
        insights("some"),
        json!({"name": "taskLongArnFormat", "value": "disabled"}),
        json!({"name": "colour", "value": "red"}),
        json!({"name": "guardDutyActivate", "value": "on"}),
        merged(insights("enabled"), json!({"principalArn": "arn:aws:iam::999999999999:user/bob"})),
    ] {
        note(world.write(put_account_setting, wrong));
    }
    note(world.read(list_account_settings, json!({"value": "enabled"})));
    let created = world.write(create_cluster, json!({"clusterName": "watched"})).unwrap();
    found.push_str(&created["cluster"]["settings"].to_string());
    expect![[r#"

        "containerInsights"="enabled" "arn:aws:iam::111122223333:root"
        "containerInsights"="enhanced" "arn:aws:iam::111122223333:user/ann"
        "containerInsights"="enhanced" "arn:aws:iam::111122223333:user/ann"
        "awsvpcTrunking"="disabled" "arn:aws:iam::111122223333:user/ann", "containerInsights"="enhanced" "arn:aws:iam::111122223333:user/ann", "containerInstanceLongArnFormat"="enabled" "arn:aws:iam::111122223333:user/ann", "defaultLogDriverMode"="non-blocking" "arn:aws:iam::111122223333:user/ann", "fargateEventWindows"="disabled" "arn:aws:iam::111122223333:user/ann", "fargateFIPSMode"="disabled" "arn:aws:iam::111122223333:user/ann", "fargateTaskRetirementWaitPeriod"="7" "arn:aws:iam::111122223333:user/ann", "serviceLongArnFormat"="enabled" "arn:aws:iam::111122223333:user/ann", "tagResourceAuthorization"="off" "arn:aws:iam::111122223333:user/ann", "taskLongArnFormat"="enabled" "arn:aws:iam::111122223333:user/ann"
        "containerInsights"="enabled" "arn:aws:iam::111122223333:root"

        "containerInsights"="enabled" "arn:aws:iam::111122223333:user/ann"
        InvalidParameterException: Invalid value 'some' for setting containerInsights. Must be one of [disabled, enabled, enhanced]
        InvalidParameterException: Invalid value 'disabled' for setting taskLongArnFormat. Must be one of [enabled]
        InvalidParameterException: Invalid setting name 'colour'.
        InvalidParameterException: guardDutyActivate is managed by AWS and cannot be changed.
        InvalidParameterException: Invalid principalArn 'arn:aws:iam::999999999999:user/bob'.
        InvalidParameterException: name must be specified when value is.
        [{"name":"containerInsights","value":"enabled"}]"#]].assert_eq(&found);
}
