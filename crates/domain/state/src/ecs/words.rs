// SPDX-License-Identifier: Apache-2.0
//! Enumerated values of AWS that records keep: each type has the values of one member, stored as AWS writes them.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$value_doc])* #[serde(rename = $word)] $value,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value,)*];

            /// Reads the word AWS uses.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$value),)*
                    _ => None,
                }
            }

            /// The word AWS uses.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }
        }
    )*};
}

words! {
    /// The cluster setting containerInsights.
    ContainerInsights {
        /// No metrics.
        Disabled = "disabled",
        /// Metrics of clusters and services.
        Enabled = "enabled",
        /// Metrics of tasks and containers too.
        Enhanced = "enhanced",
    }
    /// A launch type whose rules a definition satisfies.
    Compatibility {
        /// Container instances outside of AWS.
        External = "EXTERNAL",
        /// Container instances.
        Ec2 = "EC2",
        /// Fargate.
        Fargate = "FARGATE",
    }
    /// PID namespace that the containers of a task share.
    PidMode {
        /// The task's.
        Task = "task",
        /// The host's.
        Host = "host",
    }
    /// IPC namespace (shared memory, semaphores, message queues) that the containers of a task share.
    IpcMode {
        /// The task's.
        Task = "task",
        /// The host's.
        Host = "host",
        /// None; a container has no `/dev/shm` either.
        None = "none",
    }
    /// The processor a definition is made for.
    CpuArchitecture {
        /// 64-bit x86.
        X86_64 = "X86_64",
        /// 64-bit ARM.
        Arm64 = "ARM64",
    }
    /// The operating system a definition is made for.
    OperatingSystemFamily {
        /// Linux.
        Linux = "LINUX",
    }
    /// Where the output of a container goes.
    LogDriver {
        /// To a container of the task that routes it.
        Awsfirelens = "awsfirelens",
        /// CloudWatch Logs.
        Awslogs = "awslogs",
        /// Fluentd.
        Fluentd = "fluentd",
        /// Graylog.
        Gelf = "gelf",
        /// The journal of the host.
        Journald = "journald",
        /// A file of the host.
        JsonFile = "json-file",
        /// Nowhere.
        None = "none",
        /// Splunk.
        Splunk = "splunk",
        /// The syslog of the host.
        Syslog = "syslog",
    }
    /// Lifetime of a Docker volume.
    DockerScope {
        /// That of its task.
        Task = "task",
        /// Until it is removed.
        Shared = "shared",
    }
    /// Whether all tasks of a deployment run the image to which its tag resolved first.
    VersionConsistency {
        /// All tasks run that image.
        Enabled = "enabled",
        /// Each task resolves the tag for itself.
        Disabled = "disabled",
    }
    /// Application protocol of a port.
    AppProtocol {
        /// HTTP/1.
        Http = "http",
        /// HTTP/2.
        Http2 = "http2",
        /// gRPC.
        Grpc = "grpc",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_word_is_stored_as_aws_writes_it() {
        macro_rules! check {
            ($($name:ident)*) => {$(
                for value in $name::ALL {
                    let stored = serde_json::to_value(value).unwrap();
                    assert_eq!(stored, value.as_str());
                    assert_eq!(serde_json::from_value::<$name>(stored).unwrap(), *value);
                    assert_eq!($name::parse(value.as_str()), Some(*value));
                }
                assert_eq!($name::parse("other"), None);
            )*};
        }
        check!(ContainerInsights Compatibility PidMode IpcMode CpuArchitecture OperatingSystemFamily LogDriver);
        check!(DockerScope VersionConsistency AppProtocol);
    }
}
