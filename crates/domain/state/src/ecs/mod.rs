// SPDX-License-Identifier: Apache-2.0
//! Records of ECS: clusters, task definitions, tasks, hosts; and the indexes over hosts that placement reads.

mod arn;
mod counts;
mod deleted;
mod index;
mod kinds;
mod load;
mod name;
mod need;
mod notation;
mod ranking;
mod record;
mod related;
mod stored;
mod waiting;
mod words;

pub use arn::*;
pub use counts::*;
pub use deleted::DeletedDefinitions;
pub use index::Index;
pub use kinds::{Record, RecordKey, Records};
pub use load::*;
pub use name::{ClusterName, FamilyName, TaskDefinitionKey};
pub use need::*;
pub use notation::{ContainerPath, is_seccomp_unconfined, read_link};
pub use ranking::*;
pub use record::*;
pub use waiting::WaitingHosts;
pub use words::*;
