// SPDX-License-Identifier: Apache-2.0
//! Clusters as answered, with the numbers of their tasks.

use berth_shapes::ecs::{self as shape, KeyValuePair};
use berth_state::ecs::{Cluster, ClusterName, Progress, cluster_arn};
use berth_state::{Env, Refusal, Snapshot};
use berth_types::intent::LaunchType;

use super::provider_strategy::show_strategy;
use super::refuse::invalid;
use super::tag;

/// Optional members of a cluster in an answer.
#[derive(Clone, Copy, Default)]
pub(super) struct Include {
    statistics: bool,
    tags: bool,
    settings: bool,
}

impl Include {
    /// The members in answers of operations that change a cluster.
    pub fn created() -> Self {
        Self { statistics: false, tags: true, settings: true }
    }

    /// Reads the `include` of DescribeClusters.
    pub fn read(asked: Option<&[String]>) -> Result<Self, Refusal> {
        let mut include = Self::default();
        for word in asked.unwrap_or_default() {
            match word.as_str() {
                "STATISTICS" => include.statistics = true,
                "TAGS" => include.tags = true,
                "SETTINGS" => include.settings = true,
                // A cluster has neither: only providers of Auto Scaling groups attach something, configurations are refused.
                "ATTACHMENTS" | "CONFIGURATIONS" => {}
                other => return Err(invalid(format!("Invalid include value '{other}'."))),
            }
        }
        Ok(include)
    }
}

/// Tasks of a cluster that are not STOPPED, by launch type (EC2, FARGATE).
pub(super) struct Counts {
    running: [usize; 2],
    pending: [usize; 2],
    ending: [usize; 2],
}

impl Counts {
    /// The counts of a cluster.
    pub fn of(snap: &Snapshot, cluster: &ClusterName) -> Self {
        let count = |progress| {
            [LaunchType::Ec2, LaunchType::Fargate].map(|kind| snap.ecs().index().counts.of(cluster, kind, progress))
        };
        Self { running: count(Progress::Running), pending: count(Progress::Pending), ending: count(Progress::Ending) }
    }

    /// True if a task is left.
    pub fn is_any(&self) -> bool {
        [self.running, self.pending, self.ending].concat().iter().any(|count| *count > 0)
    }

    fn statistics(&self) -> Vec<KeyValuePair> {
        let none = 0;
        [
            ("runningEC2TasksCount", self.running[0]),
            ("runningFargateTasksCount", self.running[1]),
            ("pendingEC2TasksCount", self.pending[0]),
            ("pendingFargateTasksCount", self.pending[1]),
            ("runningExternalTasksCount", none),
            ("pendingExternalTasksCount", none),
            ("activeEC2ServiceCount", none),
            ("activeFargateServiceCount", none),
            ("drainingEC2ServiceCount", none),
            ("drainingFargateServiceCount", none),
            ("activeExternalServiceCount", none),
            ("drainingExternalServiceCount", none),
        ]
        .map(|(name, value)| KeyValuePair { name: Some(name.to_owned()), value: Some(value.to_string()) })
        .to_vec()
    }
}

fn count(n: usize) -> Option<i32> {
    Some(i32::try_from(n).unwrap_or(i32::MAX))
}

/// The cluster as AWS returns it.
pub(super) fn show(snap: &Snapshot, cluster: &Cluster, include: Include, env: &Env) -> shape::Cluster {
    let counts = Counts::of(snap, &cluster.name);
    let status = if cluster.deleted_at.is_some() { "INACTIVE" } else { "ACTIVE" };
    let setting = shape::ClusterSetting {
        name: Some("containerInsights".to_owned()),
        value: Some(cluster.container_insights.as_str().to_owned()),
    };
    shape::Cluster {
        active_services_count: Some(0),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        cluster_arn: Some(cluster_arn(&cluster.name, env)),
        cluster_name: Some(cluster.name.0.clone()),
        default_capacity_provider_strategy: Some(show_strategy(&cluster.default_strategy)),
        pending_tasks_count: count(counts.pending.iter().sum()),
        registered_container_instances_count: count(snap.ecs().instances(&cluster.name).count()),
        running_tasks_count: count(counts.running.iter().sum()),
        settings: Some(if include.settings { vec![setting] } else { Vec::new() }),
        statistics: Some(if include.statistics { counts.statistics() } else { Vec::new() }),
        status: Some(status.to_owned()),
        tags: Some(if include.tags { tag::show(&cluster.tags) } else { Vec::new() }),
        ..Default::default()
    }
}
