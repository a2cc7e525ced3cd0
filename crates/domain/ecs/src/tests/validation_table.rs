// SPDX-License-Identifier: Apache-2.0
//! Every message with which AWS refuses a task definition, word for word: one row, one change, one refusal.
//!
//! A row changes a definition that is accepted as it is, so nothing but the change can be the reason. Messages of this
//! program's own are in the other files.

use serde_json::{Value, json};

use super::{World, ec2_definition, fargate_definition, merged, run_request};

/// What is changed, how, the exception, and its words.
type Row = (&'static str, Value, &'static str, &'static str);

const CLIENT: &str = "ClientException";
const INVALID: &str = "InvalidParameterException";

#[track_caller]
fn check(base: &Value, rows: &[Row]) {
    World::with_cluster().call("RegisterTaskDefinition", base.clone()).expect("the base of the table is accepted");
    for (changed, patch, exception, message) in rows {
        let answer = World::with_cluster().call("RegisterTaskDefinition", merged(base.clone(), patch.clone()));
        let words = answer.expect_err(changed);
        assert_eq!(words, format!("{exception}: {message}"), "{changed}");
    }
}

/// A change to the only container.
fn container(patch: Value) -> Value {
    json!({"containerDefinitions": {"0": patch}})
}

fn ports(mappings: Value) -> Value {
    container(json!({"portMappings": mappings}))
}

fn volume(volume: Value) -> Value {
    json!({"volumes": [merged(json!({"name": "v"}), volume)]})
}

/// The container `a`, and `b` with these patches.
fn two(a: Value, b: Value) -> Value {
    let one = |name: &str, patch| merged(json!({"name": name, "image": "i", "memory": 64}), patch);
    json!({"containerDefinitions": [one("a", a), one("b", b)]})
}

#[test]
fn of_the_definition_itself() {
    let proxy = |proxy: Value| json!({"proxyConfiguration": merged(json!({"type": "APPMESH"}), proxy)});
    let many: Vec<Value> = (0..11).map(|n| json!({"name": format!("c{n}"), "image": "i", "memory": 6})).collect();
    let role = "Role is not valid";
    #[rustfmt::skip]
    let rows = [
        ("family", json!({"family": null}), CLIENT, "Family should not be null or empty."),
        ("family", json!({"family": ""}), CLIENT, "Family should not be null or empty."),
        ("family", json!({"family": "a b"}), CLIENT, "Family contains invalid characters."),
        ("family", json!({"family": "a".repeat(256)}), CLIENT, "Family contains invalid characters."),
        ("containerDefinitions", json!({"containerDefinitions": null}), CLIENT, "Container list cannot be empty."),
        ("containerDefinitions", json!({"containerDefinitions": []}), CLIENT, "Container list cannot be empty."),
        ("containerDefinitions", json!({"containerDefinitions": many}), CLIENT, "Too many containers."),
        ("taskRoleArn", json!({"taskRoleArn": "arn:aws:iam::111122223333:user/x"}), CLIENT, role),
        ("taskRoleArn", json!({"taskRoleArn": "a role"}), CLIENT, role),
        ("executionRoleArn", json!({"executionRoleArn": "arn:aws:s3:::bucket"}), CLIENT, role),
        ("cpu", json!({"cpu": "much"}), CLIENT, "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."),
        ("cpu", json!({"cpu": "127"}), CLIENT, "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."),
        ("cpu", json!({"cpu": "196609"}), CLIENT, "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."),
        ("memory", json!({"memory": "512 MB"}), CLIENT, "Invalid 'memory' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."),
        ("memory", json!({"memory": "0"}), CLIENT, "Invalid 'memory' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."),
        ("proxyConfiguration", merged(proxy(json!({"containerName": "nginx"})), json!({"networkMode": "bridge"})), CLIENT, "APPMESH proxy configuration is only supported in networkMode=awsvpc"),
        ("proxyConfiguration.containerName", proxy(json!({"containerName": "envoy"})), CLIENT, "Proxy container [envoy] does not exist"),
        ("proxyConfiguration.properties", proxy(json!({"containerName": "nginx"})), CLIENT, "Ingress port not found"),
        ("inferenceAccelerators", json!({"inferenceAccelerators": [{"deviceName": "d", "deviceType": "t"}]}), CLIENT, "Unsupported field 'inferenceAccelerators'"),
        ("ephemeralStorage", json!({"ephemeralStorage": {"sizeInGiB": 21}}), CLIENT, "Tasks using the EC2 launch type do not support EphemeralStorage"),
        ("tags", json!({"tags": []}), CLIENT, "Tags can not be empty."),
    ];
    check(&ec2_definition(), &rows);
}

#[test]
fn of_a_container() {
    let role = |patch: Value| merged(json!({"executionRoleArn": "exec"}), container(patch));
    let depends = |condition: &str| json!({"dependsOn": [{"containerName": "a", "condition": condition}]});
    let file = |arn: &str| json!({"type": "s3", "value": arn});
    let restart = |period: u32| container(json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": period}}));
    let awslogs = |options: Value| container(json!({"logConfiguration": {"logDriver": "awslogs", "options": options}}));
    let mounted = |at: &str| container(json!({"mountPoints": [{"sourceVolume": "v", "containerPath": at}]}));
    let not_essential = "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container";
    #[rustfmt::skip]
    let rows = [
        ("name", container(json!({"name": null})), CLIENT, "Container.name should not be null or empty."),
        ("name", container(json!({"name": ""})), CLIENT, "Container.name should not be null or empty."),
        ("name", two(json!({}), json!({"name": "a"})), CLIENT, "Container names must be unique within a task definition"),
        ("image", container(json!({"image": null})), CLIENT, "Container.image should not be null or empty."),
        ("image", container(json!({"image": ""})), CLIENT, "Container.image should not be null or empty."),
        ("image", container(json!({"image": "$IMAGE:latest"})), CLIENT, "Container.image contains invalid characters."),
        ("image", container(json!({"image": "nginx:latest "})), CLIENT, "Container.image contains invalid characters."),
        ("image", container(json!({"image": "n".repeat(256)})), CLIENT, "Container.image should be 255 characters or less"),
        ("image before cpu", merged(container(json!({"image": ""})), json!({"cpu": ""})), CLIENT, "Container.image should not be null or empty."),
        ("memoryReservation", merged(two(json!({"memory": 500, "memoryReservation": 300}), json!({"memory": 500, "memoryReservation": 300})), json!({"memory": "512"})), CLIENT, "The sum of all container 'memoryReservation' values cannot be greater than the value of the task 'memory'."),
        ("memory", container(json!({"memory": null})), CLIENT, "Invalid setting for container 'nginx'. At least one of 'memory' or 'memoryReservation' must be specified."),
        ("memory", json!({"memory": "256"}), CLIENT, "The 'memory' setting for container 'nginx' is greater than for the task."),
        ("memoryReservation", container(json!({"memoryReservation": 513})), CLIENT, "Invalid setting for container 'nginx'. 'memory' must be greater than or equal to 'memoryReservation'."),
        ("cpu", merged(json!({"cpu": "128"}), container(json!({"cpu": 129}))), CLIENT, "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value"),
        ("essential", container(json!({"essential": false})), CLIENT, "Task definition doesn't have any essential container"),
        ("environmentFiles", container(json!({"environmentFiles": vec![file("arn:aws:s3:::b/k.env"); 11]})), CLIENT, "The maximum number of environment files was exceeded. Specify ten or less and try again"),
        ("environmentFiles", container(json!({"environmentFiles": [file("k.env")]})), CLIENT, "Invalid arn syntax"),
        ("secrets", container(json!({"secrets": [{"name": "S", "valueFrom": "x"}]})), CLIENT, "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."),
        ("secrets", role(json!({"environment": [{"name": "S", "value": "1"}], "secrets": [{"name": "S", "valueFrom": "x"}]})), CLIENT, "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as 'S'."),
        ("mountPoints", container(json!({"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]})), CLIENT, "Unknown volume 'v'."),
        ("mountPoints", mounted("data"), CLIENT, "Invalid 'containerDefinitions[0].mountPoints[0].containerPath' setting 'data': the path must be absolute."),
        ("mountPoints", mounted("/../etc"), CLIENT, "Invalid 'containerDefinitions[0].mountPoints[0].containerPath' setting '/../etc': the path must be below '/', without '..'."),
        ("mountPoints", mounted("/v:rx"), CLIENT, "Invalid 'containerDefinitions[0].mountPoints[0].containerPath' setting '/v:rx': invalid mode 'rx'."),
        ("mountPoints", mounted("/v:ro,rw"), CLIENT, "Invalid 'containerDefinitions[0].mountPoints[0].containerPath' setting '/v:ro,rw': only one of 'ro' and 'rw' can be given."),
        ("volumesFrom", container(json!({"volumesFrom": [{"sourceContainer": "db"}]})), CLIENT, "Invalid 'volumesFrom' setting. Unknown container: 'db'"),
        ("dependsOn", container(json!({"dependsOn": [{"containerName": "db", "condition": "START"}]})), CLIENT, "Cannot depend on container + 'db' because it does not exist"),
        ("dependsOn", two(json!({}), depends("SUCCESS")), CLIENT, not_essential),
        ("dependsOn", two(json!({}), depends("COMPLETE")), CLIENT, not_essential),
        ("dependsOn", two(json!({}), depends("HEALTHY")), CLIENT, "A dependency container with HEALTHY condition must have health check configured"),
        ("dependsOn", two(json!({"dependsOn": [{"containerName": "b", "condition": "START"}]}), depends("START")), CLIENT, "Container dependsOn contains a cycle"),
        ("startTimeout", container(json!({"startTimeout": 1})), CLIENT, "Granular start timeout on container 'nginx' must be at least 2 seconds."),
        ("stopTimeout", container(json!({"stopTimeout": 1})), CLIENT, "Granular stop timeout on container 'nginx' must be at least 2 seconds."),
        ("restartPolicy", restart(59), CLIENT, "the 'restartAttemptPeriod' setting for container 'nginx' must be between 60 and 1800"),
        ("restartPolicy", restart(1801), CLIENT, "the 'restartAttemptPeriod' setting for container 'nginx' must be between 60 and 1800"),
        ("ulimits", container(json!({"ulimits": [{"name": "nofile", "softLimit": 2, "hardLimit": 1}]})), CLIENT, "Soft limit exceeds hard limit for ulimit nofile"),
        ("logConfiguration", container(json!({"logConfiguration": {"logDriver": "awsfirelens"}})), CLIENT, "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be specified"),
        ("logConfiguration.options", awslogs(json!({})), CLIENT, "Log driver awslogs requires options: awslogs-group, awslogs-region"),
        ("logConfiguration.options", awslogs(json!({"awslogs-group": "g"})), CLIENT, "Log driver awslogs requires options: awslogs-region"),
        ("logConfiguration.options", awslogs(json!({"awslogs-group": "g", "awslogs-region": "r", "awslogs-endpoint": "e"})), CLIENT, "Log driver awslogs disallows options: awslogs-endpoint"),
    ];
    check(&ec2_definition(), &rows);
}

#[test]
fn of_a_network_mode() {
    let in_mode = |mode: &str, patch: Value| merged(json!({"networkMode": mode}), patch);
    let not_matching = |mode: &str| in_mode(mode, ports(json!([{"containerPort": 80, "hostPort": 8080}])));
    let twice = "container port is used multiple times in task";
    let (port, range) = (json!([{"containerPort": 80}]), json!({"containerPortRange": "80-90"}));
    #[rustfmt::skip]
    let rows = [
        ("links", container(json!({"links": ["db"]})), CLIENT, "Links are not supported when networkMode=awsvpc."),
        ("hostname", container(json!({"hostname": "h"})), CLIENT, "hostname is not supported on container when networkMode=awsvpc"),
        ("extraHosts", container(json!({"extraHosts": [{"hostname": "h", "ipAddress": "10.0.0.1"}]})), CLIENT, "Extra hosts are not supported on container when networkMode=awsvpc"),
        ("dnsServers", container(json!({"dnsServers": ["10.0.0.2"]})), CLIENT, "DNS servers are not supported on container when networkMode=awsvpc"),
        ("dnsSearchDomains", container(json!({"dnsSearchDomains": ["x"]})), CLIENT, "DNS search domains are not supported on container when networkMode=awsvpc"),
        ("disableNetworking", container(json!({"disableNetworking": true})), CLIENT, "Disable Networking is not supported on container when networkMode=awsvpc"),
        ("hostPort", not_matching("awsvpc"), CLIENT, "When networkMode=awsvpc, the host ports and container ports in port mappings must match."),
        ("hostPort", not_matching("host"), CLIENT, "When networkMode=host, the host ports and container ports in port mappings must match."),
        ("portMappings", in_mode("none", ports(port.clone())), CLIENT, "Port mappings are not supported when networkMode=none."),
        ("containerPort", ports(json!([{"containerPort": 80}, {"containerPort": 80}])), CLIENT, twice),
        ("containerPort", two(json!({"portMappings": port}), json!({"portMappings": port})), CLIENT, twice),
        ("containerPort", in_mode("host", two(json!({"portMappings": port}), json!({"portMappings": port}))), CLIENT, twice),
        ("containerPortRange", ports(json!([range, {"containerPort": 85}])), CLIENT, twice),
        ("containerPortRange", ports(json!([range, {"containerPortRange": "90-91"}])), CLIENT, twice),
        ("containerPortRange", ports(json!([{"containerPort": 80, "containerPortRange": "80-90"}])), CLIENT, "cannot specify both single port and port range"),
        ("hostPort", in_mode("bridge", ports(json!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]))), CLIENT, "host port is used multiple times in task"),
        ("name", ports(json!([{"containerPort": 80, "name": "web"}, {"containerPort": 81, "name": "web"}])), CLIENT, "port mapping name is already used"),
    ];
    check(&ec2_definition(), &rows);
    // AWS's words, with this program's reason behind them.
    for wrong in ["90-80", "80-80", "80", "80-", "0-9", "a-b", "80-65536", "+80-90", "080-90"] {
        let request = merged(ec2_definition(), ports(json!([{"containerPortRange": wrong}])));
        let words = World::with_cluster().call("RegisterTaskDefinition", request).expect_err(wrong);
        assert!(words.starts_with("ClientException: Invalid 'containerPortRange' setting"), "{words}");
    }
}

#[test]
fn of_a_volume() {
    let efs = |efs: Value| volume(json!({"efsVolumeConfiguration": merged(json!({"fileSystemId": "fs-1"}), efs)}));
    #[rustfmt::skip]
    let rows = [
        ("configuredAtLaunch", volume(json!({"configuredAtLaunch": true})), CLIENT, "Volumes [v] are not referenced by any of the containers"),
        ("rootDirectory", efs(json!({"rootDirectory": "/x", "authorizationConfig": {"accessPointId": "fsap-1"}})), CLIENT, "When using an EFS access point, the root directory must either be set to \"/\" or be omitted"),
        ("authorizationConfig", efs(json!({"authorizationConfig": {"iam": "ENABLED"}})), CLIENT, "EFS IAM authorization requires TransitEncryption to be enabled"),
        ("transitEncryptionPort", efs(json!({"transitEncryptionPort": 2049})), CLIENT, "TransitEncryptionPort requires that TransitEncryption is enabled"),
    ];
    check(&ec2_definition(), &rows);
}

#[test]
fn of_fargate() {
    let role = |patch: Value| merged(json!({"executionRoleArn": "exec"}), patch);
    let linux = |parameters: Value| container(json!({"linuxParameters": parameters}));
    let log = |driver: &str, options: Value| {
        container(json!({"logConfiguration": {"logDriver": driver, "options": options}}))
    };
    let group = json!({"awslogs-group": "g", "awslogs-region": "r"});
    let prefixed = merged(group.clone(), json!({"awslogs-stream-prefix": "p"}));
    let windows = json!({"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}});
    let awsvpc = "Fargate only supports network mode \u{2018}awsvpc\u{2019}.";
    #[rustfmt::skip]
    let rows = [
        ("networkMode", json!({"networkMode": null}), CLIENT, awsvpc),
        ("networkMode", json!({"networkMode": "bridge"}), CLIENT, awsvpc),
        ("networkMode", json!({"networkMode": "host"}), CLIENT, awsvpc),
        ("networkMode", json!({"networkMode": "none"}), CLIENT, awsvpc),
        ("cpu", json!({"cpu": null}), CLIENT, "Fargate requires that 'cpu' be defined at the task level."),
        ("memory", json!({"memory": null}), CLIENT, "Fargate requires that 'memory' be defined at the task level."),
        ("memory", json!({"memory": "4096"}), CLIENT, "No Fargate configuration exists for given values: 256 CPU, 4096 memory. See the Amazon ECS documentation for the valid values."),
        ("cpu", json!({"cpu": "32768", "memory": "122880"}), CLIENT, "No Fargate configuration exists for given values: 32768 CPU, 122880 memory. See the Amazon ECS documentation for the valid values."),
        ("operatingSystemFamily", windows, CLIENT, "No Fargate configuration exists for given values: 256 CPU, 512 memory. See the Amazon ECS documentation for the valid values."),
        ("logConfiguration", log("awslogs", prefixed.clone()), CLIENT, "Fargate requires task definition to have execution role ARN to support log driver awslogs."),
        ("logConfiguration.options", role(log("awslogs", group)), CLIENT, "Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs."),
        ("logConfiguration.options", role(log("awslogs", json!({"awslogs-stream-prefix": "p"}))), CLIENT, "Log driver awslogs requires options: awslogs-group, awslogs-region"),
        ("logConfiguration.options", role(log("awslogs", merged(prefixed, json!({"awslogs-endpoint": "e"})))), CLIENT, "Log driver awslogs disallows options: awslogs-endpoint"),
        ("logConfiguration.logDriver", log("json-file", json!({})), CLIENT, "json-file is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]"),
        ("logConfiguration.logDriver", log("syslog", json!({})), CLIENT, "syslog is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]"),
        ("image", container(json!({"image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/app:1"})), CLIENT, "Fargate requires task definition to have execution role ARN to support ECR images."),
        ("privileged", container(json!({"privileged": true})), CLIENT, "Fargate requires that the 'privileged' setting be 'false'"),
        ("placementConstraints", json!({"placementConstraints": [{"type": "memberOf", "expression": "attribute:a exists"}]}), CLIENT, "Fargate compatible task definitions do not support constraints"),
        ("ipcMode", json!({"ipcMode": "task"}), CLIENT, "Fargate compatible task definitions do not support ipcMode"),
        ("pidMode", json!({"pidMode": "host"}), CLIENT, "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'."),
        ("volumes.host", volume(json!({"host": {"sourcePath": "/srv"}})), CLIENT, "Fargate compatible task definitions do not support sourcePath"),
        ("volumes.dockerVolumeConfiguration", volume(json!({"dockerVolumeConfiguration": {"scope": "task"}})), CLIENT, "Fargate compatible task definitions do not support dockerVolumeConfiguration"),
        ("devices", linux(json!({"devices": [{"hostPath": "/dev/fuse"}]})), CLIENT, "Fargate compatible task definitions do not support devices"),
        ("sharedMemorySize", linux(json!({"sharedMemorySize": 64})), CLIENT, "Fargate compatible task definitions do not support sharedMemorySize"),
        ("maxSwap", linux(json!({"maxSwap": 64})), CLIENT, "Fargate compatible task definitions do not support maxSwap"),
        ("swappiness", linux(json!({"swappiness": 60})), CLIENT, "Fargate compatible task definitions do not support swappiness"),
        ("capabilities", linux(json!({"capabilities": {"add": ["NET_ADMIN"]}})), CLIENT, "NET_ADMIN is not allowed on Fargate."),
        ("capabilities", linux(json!({"capabilities": {"add": ["SYS_PTRACE", "SYS_ADMIN"]}})), CLIENT, "SYS_ADMIN is not allowed on Fargate."),
        ("dockerSecurityOptions", container(json!({"dockerSecurityOptions": ["no-new-privileges"]})), CLIENT, "Fargate compatible task definitions do not support dockerSecurityOptions"),
        ("dockerSecurityOptions", container(json!({"dockerSecurityOptions": ["apparmor:p"]})), CLIENT, "Fargate compatible task definitions do not support dockerSecurityOptions"),
        ("resourceRequirements", container(json!({"resourceRequirements": [{"type": "GPU", "value": "1"}]})), CLIENT, "Tasks using the Fargate launch type do not support GPU resource requirements"),
        ("stopTimeout", container(json!({"stopTimeout": 121})), CLIENT, "Tasks using the Fargate launch type must have a container stop timeout of less than 120 seconds."),
        ("firelensConfiguration", container(json!({"firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "s3"}}})), CLIENT, "Fargate launch type does not support FirelensConfiguration config file from 's3'"),
        ("secrets", container(json!({"secrets": [{"name": "S", "valueFrom": "x"}]})), CLIENT, "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."),
        ("ephemeralStorage", json!({"ephemeralStorage": {"sizeInGiB": 20}}), CLIENT, "EphemeralStorage size should be at least 21"),
        ("ephemeralStorage", json!({"ephemeralStorage": {"sizeInGiB": 201}}), CLIENT, "EphemeralStorage size should be at most 200"),
        ("links", container(json!({"links": ["db"]})), CLIENT, "Links are not supported when networkMode=awsvpc."),
        ("hostname", container(json!({"hostname": "h"})), CLIENT, "hostname is not supported on container when networkMode=awsvpc"),
        ("memory", two(json!({"memory": 300}), json!({"memory": 300})), CLIENT, "The sum of all container 'memory' values cannot be greater than the task-level 'memory' value"),
    ];
    check(&fargate_definition(), &rows);
}

#[test]
fn of_a_definition_that_is_too_long() {
    let environment = json!([{"name": "A", "value": "x".repeat(65_536)}]);
    let request = merged(ec2_definition(), container(json!({"environment": environment})));
    let words = World::with_cluster().call("RegisterTaskDefinition", request).unwrap_err();
    let length = words.strip_prefix("ClientException: Actual length: '").unwrap();
    let (length, rest) = length.split_once('\'').unwrap();
    assert_eq!(rest, ". Max allowed length is '65536' bytes.");
    assert!(length.parse::<usize>().unwrap() > 65_536);
}

#[test]
fn of_a_definition_that_is_used() {
    let mut world = World::with_host();
    world.register();
    world.call("RegisterTaskDefinition", ec2_definition()).unwrap();
    for patch in [
        json!({"family": "bridge", "networkMode": null}),
        json!({"family": "role", "taskRoleArn": "app", "cpu": "256", "memory": "512"}),
    ] {
        world.call("RegisterTaskDefinition", merged(ec2_definition(), patch)).unwrap();
    }
    world.call("DeregisterTaskDefinition", json!({"taskDefinition": "nginx:2"})).unwrap();
    let many: Vec<String> = (1..12).map(|n| format!("nginx:{n}")).collect();
    let run = |definition: &str| merged(run_request(), json!({"taskDefinition": definition}));
    let on_bridge = json!({"taskDefinition": "bridge", "launchType": "FARGATE"});
    let found = [
        world.call("DeregisterTaskDefinition", json!({"taskDefinition": "nginx"})),
        world.call("DescribeTaskDefinition", json!({"taskDefinition": "nginx:9"})),
        world.call("DescribeTaskDefinition", json!({"taskDefinition": "db"})),
        world.call("DeleteTaskDefinitions", json!({"taskDefinitions": many})),
        world.call("RunTask", run("nginx:2")),
        world.call("RunTask", run("db")),
        world.call("RunTask", on_bridge),
        world.call("RunTask", run("role")),
    ];
    let expected = [
        (CLIENT, "Revision is missing."),
        (CLIENT, "Unable to describe task definition."),
        (CLIENT, "Unable to describe task definition."),
        (INVALID, "Size of TaskDefinition references list cannot exceed 10"),
        (CLIENT, "TaskDefinition is inactive"),
        (CLIENT, "TaskDefinition not found."),
        (INVALID, "Task definition does not support launch_type FARGATE."),
        (
            CLIENT,
            "ECS was unable to assume the role 'arn:aws:iam::111122223333:role/app' that was provided for this task. \
             Please verify that the role being passed has the proper trust relationship and permissions and that your \
             IAM user has permissions to pass this role.",
        ),
    ];
    for (found, (exception, message)) in found.into_iter().zip(expected) {
        assert_eq!(found.unwrap_err(), format!("{exception}: {message}"));
    }
    let answer = world.call("DeleteTaskDefinitions", json!({"taskDefinitions": ["nginx:1"]})).unwrap();
    let still = "The specified task definition is still in ACTIVE status. Please deregister the target and try again.";
    assert_eq!(answer["failures"][0]["reason"], still);
}
