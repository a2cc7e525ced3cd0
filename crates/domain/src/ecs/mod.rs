//! Clusters, task definitions, tasks, container instances, reports of nodes.

pub mod record;
