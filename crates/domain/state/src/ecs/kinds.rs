// SPDX-License-Identifier: Apache-2.0
//! The kinds of records of ECS, with their names in the store.

use berth_types::{HostId, TaskId};

use super::index::Index;
use super::name::{ClusterName, FamilyName, TaskDefinitionKey};
use super::record::{AccountSetting, AccountSettingKey, Cluster, Host, Task, TaskDefinition, TaskDefinitionFamily};
use crate::records::{as_stored, records};

records! { indexed by Index, lifted by as_stored;
    /// ECS account settings.
    account_settings: AccountSettingKey => AccountSetting = "account-setting" v 1;
    /// ECS clusters.
    clusters: ClusterName => Cluster = "cluster" v 1;
    /// Highest revision ever used by a family.
    families: FamilyName => TaskDefinitionFamily = "task-definition-family" v 1;
    /// Task definitions.
    task_definitions: TaskDefinitionKey => TaskDefinition = "task-definition" v 1;
    /// Tasks.
    tasks: TaskId => Task = "task" v 1;
    /// Hosts, each a container instance of at most one cluster.
    hosts: HostId => Host = "host" v 1;
}
