//! What a server is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use berth_types::FaultPoints;
use tokio::sync::oneshot;

use crate::commit::CommitStep;
use crate::throttle::Rates;

/// Settings of one server.
#[derive(Debug)]
pub struct ServerConfig {
    /// Holds `state.redb` and `credentials`; made when absent. Nobody else may read it.
    pub data_dir: PathBuf,
    /// Holds `server.sock`; made when absent.
    pub run_dir: PathBuf,
    /// Name of this instance, shown by the health endpoint.
    pub instance: String,
    /// Where the AWS API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Region served, such as `us-west-2`. It is in every ARN, so it cannot change for a data folder.
    pub region: String,
    /// Account served, twelve digits. It is in every ARN, so it cannot change for a data folder.
    pub account: String,
    /// Accept access keys nobody was given, as the account's root and without a look at their signature.
    pub trust_any_key: bool,
    /// How long stopped tasks can be described.
    pub stopped_tasks_kept: Duration,
    /// How often each group of operations may be called.
    pub rates: Rates,
    /// Told the bound address once requests are answered.
    pub ready: Option<oneshot::Sender<SocketAddr>>,
    /// Where a test wants the process to die.
    pub fault_points: FaultPoints<CommitStep>,
}
