// SPDX-License-Identifier: Apache-2.0
//! What containers of a task definition may ask for: every word of refusal, and what comes back of what was accepted.

use berth_types::report::{HealthStatus, TaskStage};
use expect_test::expect;
use serde_json::{Value, json};

use super::{World, ec2_definition, fargate_definition, merged, report, run_request, table};

fn cases(base: &Value, cases: &[(&str, Value)]) -> String {
    let mut world = World::with_cluster();
    table(cases, |patch| world.call("RegisterTaskDefinition", merged(base.clone(), patch)))
}

/// A change to the only container.
fn container(patch: Value) -> Value {
    json!({"containerDefinitions": {"0": patch}})
}

fn linux(parameters: Value) -> Value {
    container(json!({"linuxParameters": parameters}))
}

/// The container `app`, and `other` with this patch.
fn two(app: Value, other: Value) -> Value {
    let one = |name: &str, patch| merged(json!({"name": name, "image": "i", "memory": 64}), patch);
    json!({"containerDefinitions": [one("app", app), one("other", other)]})
}

#[test]
fn linux_settings_are_checked() {
    let ulimit = |name: &str, soft: i32, hard: i32| {
        container(json!({"ulimits": [{"name": name, "softLimit": soft, "hardLimit": hard}]}))
    };
    let control = |name: &str| container(json!({"systemControls": [{"namespace": name, "value": "1"}]}));
    let found = cases(
        &ec2_definition(),
        &[
            ("capability", linux(json!({"capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]}}))),
            ("unknown capability", linux(json!({"capabilities": {"add": ["FLY"]}}))),
            ("unknown dropped", linux(json!({"capabilities": {"drop": ["FLY"]}}))),
            ("device", linux(json!({"devices": [{"hostPath": "/dev/fuse"}]}))),
            ("device without path", linux(json!({"devices": [{"containerPath": "/dev/fuse"}]}))),
            ("device permission", linux(json!({"devices": [{"hostPath": "/dev/fuse", "permissions": ["own"]}]}))),
            ("tmpfs", linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["mode=700"]}]}))),
            ("tmpfs without path", linux(json!({"tmpfs": [{"size": 1}]}))),
            ("tmpfs without size", linux(json!({"tmpfs": [{"containerPath": "/t"}]}))),
            ("tmpfs size 0", linux(json!({"tmpfs": [{"containerPath": "/t", "size": 0}]}))),
            ("tmpfs option", linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["size=9"]}]}))),
            (
                "tmpfs remount",
                linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["remount"]}]})),
            ),
            ("tmpfs bind", linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["rbind"]}]}))),
            ("tmpfs shared", linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["shared"]}]}))),
            (
                "tmpfs two",
                linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["uid=1,size=9g"]}]})),
            ),
            (
                "tmpfs blocks",
                linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["nr_blocks=4k"]}]})),
            ),
            ("tmpfs in proc", linux(json!({"tmpfs": [{"containerPath": "/t/../proc/sys", "size": 1}]}))),
            ("tmpfs on sys", linux(json!({"tmpfs": [{"containerPath": "/sys/", "size": 1}]}))),
            ("tmpfs on the root", linux(json!({"tmpfs": [{"containerPath": "//", "size": 1}]}))),
            ("tmpfs on shared memory", linux(json!({"tmpfs": [{"containerPath": "/dev/shm", "size": 1}]}))),
            ("swappiness 101", linux(json!({"swappiness": 101}))),
            ("negative swap", linux(json!({"maxSwap": -1}))),
            ("negative shared memory", linux(json!({"sharedMemorySize": -1}))),
            ("ulimit", ulimit("nofile", 10, 20)),
            ("unlimited", ulimit("core", -1, -1)),
            ("soft over hard", ulimit("nofile", 30, 20)),
            ("soft unlimited", ulimit("nofile", -1, 20)),
            ("ulimit name", ulimit("files", 1, 1)),
            ("no hard limit", container(json!({"ulimits": [{"name": "nofile", "softLimit": 1}]}))),
            ("network control", control("net.core.somaxconn")),
            ("ipc control", control("kernel.shmmax")),
            ("queue control", control("fs.mqueue.msg_max")),
            ("other control", control("vm.swappiness")),
            ("control without value", container(json!({"systemControls": [{"namespace": "net.core.somaxconn"}]}))),
            ("control of the host", merged(control("net.core.somaxconn"), json!({"networkMode": "host"}))),
            ("no new privileges", container(json!({"dockerSecurityOptions": ["no-new-privileges"]}))),
            ("seccomp unconfined", container(json!({"dockerSecurityOptions": ["seccomp=unconfined"]}))),
            ("seccomp profile", container(json!({"dockerSecurityOptions": ["seccomp=/p.json"]}))),
            ("apparmor", container(json!({"dockerSecurityOptions": ["apparmor:x"]}))),
        ],
    );
    expect![[r#"
        capability: ok
        unknown capability: ClientException: 'FLY' is not a valid value for containerDefinitions[0].linuxParameters.capabilities.add.
        unknown dropped: ClientException: 'FLY' is not a valid value for containerDefinitions[0].linuxParameters.capabilities.drop.
        device: ok
        device without path: ClientException: containerDefinitions[0].linuxParameters.devices[0].hostPath should not be null or empty.
        device permission: ClientException: 'own' is not a valid value for containerDefinitions[0].linuxParameters.devices[0].permissions.
        tmpfs: ok
        tmpfs without path: ClientException: containerDefinitions[0].linuxParameters.tmpfs[0].containerPath should not be null or empty.
        tmpfs without size: ClientException: containerDefinitions[0].linuxParameters.tmpfs[0].size must be at least 1 MiB.
        tmpfs size 0: ClientException: containerDefinitions[0].linuxParameters.tmpfs[0].size must be at least 1 MiB.
        tmpfs option: ClientException: 'size=9' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].mountOptions.
        tmpfs remount: ClientException: 'remount' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].mountOptions.
        tmpfs bind: ClientException: 'rbind' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].mountOptions.
        tmpfs shared: ClientException: 'shared' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].mountOptions.
        tmpfs two: ClientException: 'uid=1,size=9g' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].mountOptions.
        tmpfs blocks: ok
        tmpfs in proc: ClientException: '/t/../proc/sys' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].containerPath.
        tmpfs on sys: ClientException: '/sys/' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].containerPath.
        tmpfs on the root: ClientException: '//' is not a valid value for containerDefinitions[0].linuxParameters.tmpfs[0].containerPath.
        tmpfs on shared memory: ok
        swappiness 101: ClientException: the 'swappiness' setting for container 'nginx' must be between 0 and 100
        negative swap: ClientException: Invalid setting for container 'nginx'. 'maxSwap' must not be negative.
        negative shared memory: ClientException: Invalid setting for container 'nginx'. 'sharedMemorySize' must not be negative.
        ulimit: ok
        unlimited: ok
        soft over hard: ClientException: Soft limit exceeds hard limit for ulimit nofile
        soft unlimited: ClientException: Soft limit exceeds hard limit for ulimit nofile
        ulimit name: ClientException: 'files' is not a valid value for containerDefinitions[0].ulimits[0].name.
        no hard limit: ClientException: containerDefinitions[0].ulimits[0].hardLimit must be at least -1.
        network control: ok
        ipc control: ok
        queue control: ok
        other control: ClientException: 'vm.swappiness' is not a valid value for containerDefinitions[0].systemControls[0].namespace.
        control without value: ClientException: containerDefinitions[0].systemControls[0].value should not be null or empty.
        control of the host: ClientException: containerDefinitions[0].systemControls[0].namespace 'net.core.somaxconn' is not supported when networkMode=host.
        no new privileges: ok
        seccomp unconfined: ok
        seccomp profile: ClientException: containerDefinitions[0].dockerSecurityOptions seccomp=/p.json is not supported by this endpoint yet.
        apparmor: ClientException: containerDefinitions[0].dockerSecurityOptions apparmor:x is not supported by this endpoint yet.
    "#]].assert_eq(&found);
}

#[test]
fn lives_are_checked() {
    let check = |check: Value| container(json!({"healthCheck": merged(json!({"command": ["CMD", "x"]}), check)}));
    let restart = |policy: Value| container(json!({"restartPolicy": policy}));
    let on = |name: &str, condition: &str| json!({"dependsOn": [{"containerName": name, "condition": condition}]});
    let checked = json!({"healthCheck": {"command": ["CMD-SHELL", "true"]}});
    let side = json!({"essential": false});
    let found = cases(
        &ec2_definition(),
        &[
            ("health check", check(json!({}))),
            ("no check", check(json!({"command": ["NONE"]}))),
            ("check without command", check(json!({"command": []}))),
            ("check by name", check(json!({"command": ["curl", "x"]}))),
            ("check for the shell", check(json!({"command": ["CMD-SHELL", "a", "b"]}))),
            ("interval 4", check(json!({"interval": 4}))),
            ("interval 301", check(json!({"interval": 301}))),
            ("timeout 1", check(json!({"timeout": 1}))),
            ("timeout 61", check(json!({"timeout": 61}))),
            ("retries 0", check(json!({"retries": 0}))),
            ("retries 11", check(json!({"retries": 11}))),
            ("start period 301", check(json!({"startPeriod": 301}))),
            ("restart", restart(json!({"enabled": true}))),
            ("restart or not", restart(json!({"restartAttemptPeriod": 60}))),
            ("period 59", restart(json!({"enabled": true, "restartAttemptPeriod": 59}))),
            ("period 1801", restart(json!({"enabled": true, "restartAttemptPeriod": 1801}))),
            ("51 codes", restart(json!({"enabled": true, "ignoredExitCodes": (0..51).collect::<Vec<_>>()}))),
            ("start timeout 1", container(json!({"startTimeout": 1}))),
            ("stop timeout 1", container(json!({"stopTimeout": 1}))),
            ("timeouts", container(json!({"startTimeout": 2, "stopTimeout": 2}))),
            ("start", two(json!({}), on("app", "START"))),
            ("complete", two(on("other", "COMPLETE"), side.clone())),
            ("success of an essential", two(json!({}), on("app", "SUCCESS"))),
            ("complete of an essential", two(json!({}), on("app", "COMPLETE"))),
            ("healthy without check", two(json!({}), on("app", "HEALTHY"))),
            ("healthy with none", two(json!({"healthCheck": {"command": ["NONE"]}}), on("app", "HEALTHY"))),
            ("healthy", two(checked, on("app", "HEALTHY"))),
            ("condition", two(json!({}), on("app", "DONE"))),
            ("unknown", two(json!({}), on("db", "START"))),
            ("itself", two(json!({}), on("other", "START"))),
            ("cycle", two(on("other", "START"), on("app", "START"))),
        ],
    );
    expect![[r#"
        health check: ok
        no check: ok
        check without command: ClientException: the 'command' setting of healthCheck for container 'nginx' must not be empty
        check by name: ok
        check for the shell: ok
        interval 4: ClientException: the 'interval' setting for container 'nginx' must be between 5 and 300
        interval 301: ClientException: the 'interval' setting for container 'nginx' must be between 5 and 300
        timeout 1: ClientException: the 'timeout' setting for container 'nginx' must be between 2 and 60
        timeout 61: ClientException: the 'timeout' setting for container 'nginx' must be between 2 and 60
        retries 0: ClientException: the 'retries' setting for container 'nginx' must be between 1 and 10
        retries 11: ClientException: the 'retries' setting for container 'nginx' must be between 1 and 10
        start period 301: ClientException: the 'startPeriod' setting for container 'nginx' must be between 0 and 300
        restart: ok
        restart or not: ClientException: the 'enabled' setting for container 'nginx' must be specified
        period 59: ClientException: the 'restartAttemptPeriod' setting for container 'nginx' must be between 60 and 1800
        period 1801: ClientException: the 'restartAttemptPeriod' setting for container 'nginx' must be between 60 and 1800
        51 codes: ClientException: the 'ignoredExitCodes' setting for container 'nginx' can have at most 50 items
        start timeout 1: ClientException: Granular start timeout on container 'nginx' must be at least 2 seconds.
        stop timeout 1: ClientException: Granular stop timeout on container 'nginx' must be at least 2 seconds.
        timeouts: ok
        start: ok
        complete: ok
        success of an essential: ClientException: A dependency container with SUCCESS or COMPLETE condition cannot be an essential container
        complete of an essential: ClientException: A dependency container with SUCCESS or COMPLETE condition cannot be an essential container
        healthy without check: ClientException: A dependency container with HEALTHY condition must have health check configured
        healthy with none: ClientException: A dependency container with HEALTHY condition must have health check configured
        healthy: ok
        condition: ClientException: 'DONE' is not a valid value for containerDefinitions[1].dependsOn[0].condition.
        unknown: ClientException: Cannot depend on container + 'db' because it does not exist
        itself: ClientException: Container dependsOn contains a cycle
        cycle: ClientException: Container dependsOn contains a cycle
    "#]].assert_eq(&found);
}

#[test]
fn volumes_are_checked() {
    let volume = |volume: Value| json!({"volumes": [merged(json!({"name": "v"}), volume)]});
    let docker = |docker: Value| volume(json!({"dockerVolumeConfiguration": docker}));
    let efs = |efs: Value| volume(json!({"efsVolumeConfiguration": merged(json!({"fileSystemId": "fs-1"}), efs)}));
    let from = |name: &str| json!({"volumesFrom": [{"sourceContainer": name}]});
    let found = cases(
        &ec2_definition(),
        &[
            ("no name", volume(json!({"name": null}))),
            ("bad name", volume(json!({"name": "a b"}))),
            ("host", volume(json!({"host": {"sourcePath": "/srv"}}))),
            ("host path", volume(json!({"host": {"sourcePath": "srv"}}))),
            ("docker", docker(json!({"scope": "shared", "autoprovision": true, "driver": "local"}))),
            ("docker scope", docker(json!({"scope": "world"}))),
            ("docker task autoprovision", docker(json!({"autoprovision": true}))),
            ("docker options", docker(json!({"driverOpts": {"type": "nfs"}}))),
            ("both", volume(json!({"host": {"sourcePath": "/srv"}, "dockerVolumeConfiguration": {}}))),
            ("efs", efs(json!({}))),
            (
                "efs access point",
                efs(json!({"rootDirectory": "/x", "authorizationConfig": {"accessPointId": "fsap-1"}})),
            ),
            ("efs iam", efs(json!({"authorizationConfig": {"iam": "ENABLED"}}))),
            ("efs port", efs(json!({"transitEncryptionPort": 1}))),
            ("fsx", volume(json!({"fsxWindowsFileServerVolumeConfiguration": {}}))),
            ("s3", volume(json!({"s3filesVolumeConfiguration": {}}))),
            ("at launch, unused", volume(json!({"configuredAtLaunch": true}))),
            (
                "at launch",
                merged(
                    volume(json!({"configuredAtLaunch": true})),
                    container(json!({"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]})),
                ),
            ),
            ("unknown volume", container(json!({"mountPoints": [{"sourceVolume": "x", "containerPath": "/x"}]}))),
            ("mount without path", container(json!({"mountPoints": [{"sourceVolume": "x"}]}))),
            ("volumes from", two(json!({}), from("app"))),
            ("volumes from nobody", two(json!({}), from("db"))),
            ("volumes from each other", two(from("other"), from("app"))),
            ("ephemeral", json!({"ephemeralStorage": {"sizeInGiB": 21}})),
        ],
    );
    expect![[r#"
        no name: ClientException: volumes[0].name should not be null or empty.
        bad name: ClientException: Volume name 'a b' is invalid. Up to 255 letters (uppercase and lowercase), numbers, hyphens, and underscores are allowed.
        host: ok
        host path: ClientException: volumes[0].host.sourcePath must be an absolute path.
        docker: ok
        docker scope: ClientException: 'world' is not a valid value for volumes[0].dockerVolumeConfiguration.scope.
        docker task autoprovision: ClientException: volumes[0].dockerVolumeConfiguration.autoprovision can only be true when the scope is shared.
        docker options: ClientException: volumes[0].dockerVolumeConfiguration.driverOpts is not supported by this endpoint yet.
        both: ClientException: volumes[0] can have only one of host and dockerVolumeConfiguration.
        efs: ClientException: volumes[0].efsVolumeConfiguration is not supported by this endpoint yet.
        efs access point: ClientException: When using an EFS access point, the root directory must either be set to "/" or be omitted
        efs iam: ClientException: EFS IAM authorization requires TransitEncryption to be enabled
        efs port: ClientException: TransitEncryptionPort requires that TransitEncryption is enabled
        fsx: ClientException: volumes[0].fsxWindowsFileServerVolumeConfiguration is not supported by this endpoint yet.
        s3: ClientException: volumes[0].s3filesVolumeConfiguration is not supported by this endpoint yet.
        at launch, unused: ClientException: Volumes [v] are not referenced by any of the containers
        at launch: ClientException: volumes[0].configuredAtLaunch is not supported by this endpoint yet.
        unknown volume: ClientException: Unknown volume 'x'.
        mount without path: ClientException: containerDefinitions[0].mountPoints[0].containerPath should not be null or empty.
        volumes from: ok
        volumes from nobody: ClientException: Invalid 'volumesFrom' setting. Unknown container: 'db'
        volumes from each other: ClientException: Invalid 'volumesFrom' setting. Containers cannot take their volumes from each other.
        ephemeral: ClientException: Tasks using the EC2 launch type do not support EphemeralStorage
    "#]].assert_eq(&found);
}

#[test]
fn log_drivers_are_checked() {
    let log = |driver: &str, options: Value| {
        container(json!({"logConfiguration": {"logDriver": driver, "options": options}}))
    };
    let found = cases(
        &ec2_definition(),
        &[
            ("json-file", log("json-file", json!({"max-size": "10m", "max-file": "3"}))),
            ("size", log("json-file", json!({"max-size": "much"}))),
            ("size unit", log("json-file", json!({"max-size": "1mm"}))),
            ("files", log("json-file", json!({"max-file": "0"}))),
            ("most files", log("json-file", json!({"max-file": "1000", "max-size": "1024G"}))),
            ("too many files", log("json-file", json!({"max-file": "4294967295"}))),
            ("too large", log("json-file", json!({"max-size": "99999999999999999999g"}))),
            ("labels", log("json-file", json!({"labels": "a"}))),
            ("none", log("none", json!({}))),
            ("none with options", log("none", json!({"max-size": "1m"}))),
            ("syslog", log("syslog", json!({}))),
            ("splunk", log("splunk", json!({}))),
            ("paper", log("paper", json!({}))),
        ],
    );
    expect![[r#"
        json-file: ok
        size: ClientException: 'much' is not a valid value for the log option max-size.
        size unit: ClientException: '1mm' is not a valid value for the log option max-size.
        files: ClientException: '0' is not a valid value for the log option max-file.
        most files: ok
        too many files: ClientException: '4294967295' is not a valid value for the log option max-file. It must be between 1 and 1000.
        too large: ClientException: '99999999999999999999g' is not a valid value for the log option max-size. It must be at most 1024g.
        labels: ClientException: Log driver json-file disallows options: labels
        none: ok
        none with options: ClientException: Log driver none disallows options: max-size
        syslog: ClientException: containerDefinitions[0].logConfiguration.logDriver syslog is not supported by this endpoint yet.
        splunk: ClientException: containerDefinitions[0].logConfiguration.logDriver splunk is not supported by this endpoint yet.
        paper: ClientException: paper is not a valid log driver. Must be one of [awsfirelens, awslogs, fluentd, gelf, journald, json-file, none, splunk, syslog]
    "#]].assert_eq(&found);
}

#[test]
fn what_needs_other_services_is_refused() {
    let role = json!({"executionRoleArn": "exec"});
    let with_role = |patch: Value| merged(role.clone(), container(patch));
    let file = |value: &str| json!({"value": value, "type": "s3"});
    let found = cases(
        &ec2_definition(),
        &[
            ("secrets without role", container(json!({"secrets": [{"name": "A", "valueFrom": "x"}]}))),
            ("secrets", with_role(json!({"secrets": [{"name": "A", "valueFrom": "x"}]}))),
            (
                "secret and variable",
                with_role(json!({
                    "environment": [{"name": "A", "value": "1"}], "secrets": [{"name": "A", "valueFrom": "x"}],
                })),
            ),
            ("file", container(json!({"environmentFiles": [file("arn:aws:s3:::b/k.env")]}))),
            ("file name", container(json!({"environmentFiles": [file("k.env")]}))),
            ("files", container(json!({"environmentFiles": vec![file("arn:aws:s3:::b/k.env"); 11]}))),
            ("credentials", container(json!({"repositoryCredentials": {"credentialsParameter": "x"}}))),
            ("gpu", container(json!({"resourceRequirements": [{"type": "GPU", "value": "1"}]}))),
            ("firelens", container(json!({"firelensConfiguration": {"type": "fluentbit"}}))),
            ("version consistency", container(json!({"versionConsistency": "sometimes"}))),
            ("credential spec", container(json!({"credentialSpecs": ["credentialspec:x"]}))),
            ("proxy in bridge", json!({"networkMode": "bridge", "proxyConfiguration": {"containerName": "nginx"}})),
            ("proxy of nobody", json!({"proxyConfiguration": {"containerName": "envoy"}})),
            ("proxy without port", json!({"proxyConfiguration": {"containerName": "nginx"}})),
            (
                "proxy",
                json!({"proxyConfiguration": {
                    "containerName": "nginx", "properties": [{"name": "ProxyIngressPort", "value": "1"}]}}),
            ),
            ("range", container(json!({"portMappings": [{"containerPortRange": "90-80"}]}))),
            ("range of words", container(json!({"portMappings": [{"containerPortRange": "a-b"}]}))),
            ("pid", json!({"pidMode": "mine"})),
            ("ipc", json!({"ipcMode": "mine"})),
        ],
    );
    expect![[r#"
        secrets without role: ClientException: When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.
        secrets: ClientException: containerDefinitions[0].secrets is not supported by this endpoint yet.
        secret and variable: ClientException: The secret name must be unique and not shared with any new or existing environment variables set on the container, such as 'A'.
        file: ClientException: containerDefinitions[0].environmentFiles is not supported by this endpoint yet.
        file name: ClientException: Invalid arn syntax
        files: ClientException: The maximum number of environment files was exceeded. Specify ten or less and try again
        credentials: ClientException: containerDefinitions[0].repositoryCredentials is not supported by this endpoint yet.
        gpu: ClientException: containerDefinitions[0].resourceRequirements is not supported by this endpoint yet.
        firelens: ClientException: containerDefinitions[0].firelensConfiguration is not supported by this endpoint yet.
        version consistency: ClientException: 'sometimes' is not a valid value for containerDefinitions[0].versionConsistency.
        credential spec: ClientException: containerDefinitions[0].credentialSpecs is not supported by this endpoint yet.
        proxy in bridge: ClientException: APPMESH proxy configuration is only supported in networkMode=awsvpc
        proxy of nobody: ClientException: Proxy container [envoy] does not exist
        proxy without port: ClientException: Ingress port not found
        proxy: ClientException: proxyConfiguration is not supported by this endpoint yet.
        range: ClientException: Invalid 'containerPortRange' setting '90-80'. The first port must be less than the last port.
        range of words: ClientException: Invalid 'containerPortRange' setting 'a-b'. It must be two port numbers between 1 and 65535 with a hyphen between them.
        pid: ClientException: 'mine' is not a valid value for pidMode.
        ipc: ClientException: 'mine' is not a valid value for ipcMode.
    "#]].assert_eq(&found);
}

#[test]
fn namespaces_are_shared_in_every_mode_and_those_of_the_host_cannot_be_set() {
    let of_host = |name: &str| {
        let control = json!({"systemControls": [{"namespace": name, "value": "1"}]});
        merged(json!({"ipcMode": "host"}), container(control))
    };
    let found = cases(
        &ec2_definition(),
        &[
            ("pid of a task in bridge", json!({"networkMode": "bridge", "pidMode": "task"})),
            ("pid of the host in bridge", json!({"networkMode": "bridge", "pidMode": "host"})),
            ("ipc of a task in host", json!({"networkMode": "host", "ipcMode": "task"})),
            ("control of the host", of_host("kernel.msgmax")),
            ("control of the network", of_host("net.core.somaxconn")),
        ],
    );
    expect![[r#"
        pid of a task in bridge: ok
        pid of the host in bridge: ok
        ipc of a task in host: ok
        control of the host: ClientException: The system control 'kernel.msgmax' is not supported when ipcMode=host.
        control of the network: ok
    "#]]
    .assert_eq(&found);
}

#[test]
fn fargate_has_fewer_of_them() {
    let found = cases(
        &fargate_definition(),
        &[
            (
                "firelens from s3",
                container(json!({"firelensConfiguration": {
                    "type": "fluentbit", "options": {"config-file-type": "s3"}}})),
            ),
            ("max swap", linux(json!({"maxSwap": 1}))),
            ("swappiness", linux(json!({"swappiness": 1}))),
            ("tmpfs", linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1}]}))),
            ("ptrace", linux(json!({"capabilities": {"add": ["SYS_PTRACE"], "drop": ["MKNOD"]}}))),
            ("init", linux(json!({"initProcessEnabled": true}))),
            ("start timeout 121", container(json!({"startTimeout": 121}))),
            ("ulimit", container(json!({"ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 1}]}))),
            ("ephemeral 200", json!({"ephemeralStorage": {"sizeInGiB": 200}})),
            ("pid task", json!({"pidMode": "task"})),
        ],
    );
    expect![[r#"
        firelens from s3: ClientException: Fargate launch type does not support FirelensConfiguration config file from 's3'
        max swap: ClientException: Fargate compatible task definitions do not support maxSwap
        swappiness: ClientException: Fargate compatible task definitions do not support swappiness
        tmpfs: ok
        ptrace: ok
        init: ok
        start timeout 121: ClientException: Tasks using the Fargate launch type must have a container start timeout of less than 120 seconds.
        ulimit: ok
        ephemeral 200: ok
        pid task: ok
    "#]]
    .assert_eq(&found);
}

/// What comes back is what was registered, with the defaults AWS fills in.
#[test]
fn what_is_registered_comes_back_with_defaults() {
    let mut world = World::with_cluster();
    let given = json!({
        "family": "full", "networkMode": "awsvpc", "pidMode": "task", "ipcMode": "none", "memory": "512",
        "volumes": [
            {"name": "empty"}, {"name": "host", "host": {"sourcePath": "/srv"}},
            {"name": "task", "dockerVolumeConfiguration": {"labels": {"a": "b"}}},
            {"name": "shared", "dockerVolumeConfiguration": {
                "scope": "shared", "autoprovision": true, "driver": "local"}},
        ],
        "containerDefinitions": [
            {
                "name": "app", "image": "i", "interactive": true, "pseudoTerminal": true, "privileged": true,
                "versionConsistency": "disabled", "user": "1:1", "workingDirectory": "/w", "readonlyRootFilesystem": true,
                "dockerLabels": {"l": "v"}, "dockerSecurityOptions": ["no-new-privileges"],
                "systemControls": [{"namespace": "net.core.somaxconn", "value": "1"}],
                "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": -1}],
                "linuxParameters": {
                    "capabilities": {"add": ["SYS_PTRACE"]}, "initProcessEnabled": true, "maxSwap": 0,
                    "sharedMemorySize": 65, "swappiness": 0,
                    "devices": [{"hostPath": "/dev/fuse", "permissions": ["read"]}],
                    "tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["noexec"]}],
                },
                "mountPoints": [{"sourceVolume": "empty", "containerPath": "/e", "readOnly": false}],
                "volumesFrom": [{"sourceContainer": "side", "readOnly": true}],
                "logConfiguration": {"logDriver": "json-file", "options": {"max-size": "1m", "max-file": "2"}},
            },
            {"name": "side", "image": "i", "essential": false},
        ],
    });
    world.call("RegisterTaskDefinition", given.clone()).unwrap();
    let described = world.call("DescribeTaskDefinition", json!({"taskDefinition": "full"})).unwrap();
    let described = &described["taskDefinition"];
    let mut expected = given["containerDefinitions"][0].clone();
    let filled = json!({"cpu": 0, "essential": true, "environment": [], "portMappings": []});
    expected = merged(expected, filled);
    assert_eq!(described["containerDefinitions"][0], expected);
    assert_eq!(described["pidMode"], "task");
    assert_eq!(described["ipcMode"], "none");
    assert_eq!(
        described["volumes"],
        json!([
            {"name": "empty", "host": {}}, {"name": "host", "host": {"sourcePath": "/srv"}},
            {"name": "task", "dockerVolumeConfiguration": {"scope": "task", "labels": {"a": "b"}}},
            {"name": "shared", "dockerVolumeConfiguration": {
                "scope": "shared", "autoprovision": true, "driver": "local"}},
        ])
    );
    assert_eq!(described["compatibilities"], json!(["EC2"]));
    let names: Vec<&str> = described["requiresAttributes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attribute| attribute["name"].as_str().unwrap().rsplit("capability.").next().unwrap())
        .collect();
    expect![[r#"
        logging-driver.json-file
        privileged-container
        docker-remote-api.1.25
        docker-plugin.local
        task-cpu-mem-limit
        pid-ipc-namespace-sharing
        docker-remote-api.1.18
        task-eni"#]]
    .assert_eq(&names.join("\n"));
}

#[test]
fn a_task_is_as_healthy_as_its_essential_containers() {
    use HealthStatus::{Healthy, Unhealthy, Unknown};
    let mut world = World::with_host();
    let check = json!({"healthCheck": {"command": ["CMD", "true"]}});
    let containers = json!([
        merged(json!({"name": "a", "image": "i"}), check.clone()),
        merged(json!({"name": "b", "image": "i"}), check.clone()),
        {"name": "plain", "image": "i"},
        merged(json!({"name": "side", "image": "i", "essential": false}), check),
    ]);
    let definition = merged(fargate_definition(), json!({"family": "checked", "containerDefinitions": containers}));
    world.call("RegisterTaskDefinition", definition).unwrap();
    let answer = world.call("RunTask", merged(run_request(), json!({"taskDefinition": "checked"}))).unwrap();
    let arn = answer["tasks"][0]["taskArn"].clone();
    let id: berth_types::TaskId = arn.as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
    let mut found = String::new();
    for health in [
        [None, None, None],
        [Some(Healthy), Some(Unknown), Some(Healthy)],
        [Some(Healthy), Some(Healthy), Some(Unhealthy)],
        [Some(Unhealthy), Some(Unknown), Some(Healthy)],
    ] {
        let mut seen = report(&world.snap.ecs().tasks[&id].clone(), TaskStage::Running, None);
        for (at, health) in [0, 1, 3].into_iter().zip(health) {
            seen.containers[at].health = health;
        }
        world.task_report(&seen);
        let answer = world.call("DescribeTasks", json!({"tasks": [arn]})).unwrap();
        let task = &answer["tasks"][0];
        let each: Vec<&Value> = task["containers"].as_array().unwrap().iter().map(|one| &one["healthStatus"]).collect();
        found.push_str(&format!("{} {each:?} {} {}\n", task["healthStatus"], task["desiredStatus"], task["version"]));
    }
    expect![[r#"
        "UNKNOWN" [String("UNKNOWN"), String("UNKNOWN"), String("UNKNOWN"), String("UNKNOWN")] "RUNNING" 2
        "UNKNOWN" [String("HEALTHY"), String("UNKNOWN"), String("UNKNOWN"), String("HEALTHY")] "RUNNING" 3
        "HEALTHY" [String("HEALTHY"), String("HEALTHY"), String("UNKNOWN"), String("UNHEALTHY")] "RUNNING" 4
        "UNHEALTHY" [String("UNHEALTHY"), String("UNKNOWN"), String("UNKNOWN"), String("HEALTHY")] "RUNNING" 5
    "#]]
    .assert_eq(&found);
}
