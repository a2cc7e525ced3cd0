// SPDX-License-Identifier: Apache-2.0
//! `berth server`: the AWS API and the records.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use berth_control::{Limits, NetworkSettings, Rates, ServerConfig};
use tokio::sync::oneshot;

use crate::args::ServerArgs;
use crate::command::daemon;
use crate::installation::{Installation, Role};
use crate::ready;

/// Runs until it is stopped.
pub fn run(installation: &Installation, args: &ServerArgs) -> Result<ExitCode> {
    daemon::start_log();
    daemon::be_spared();
    installation.create()?;
    let _claim = installation.claim(Role::Server)?;
    let (tell, told) = oneshot::channel();
    let options = &args.server;
    let config = ServerConfig {
        data_dir: installation.data.clone(),
        run_dir: installation.run.clone(),
        instance: installation.instance.clone(),
        listen: options.listen,
        transport: options.transport(),
        admin_listen: options.admin_listen(),
        region: options.region.clone(),
        account: options.account.clone(),
        network: NetworkSettings {
            public_pool: options.public_pool,
            quotas: options.quota.iter().cloned().collect(),
            ec2_task_public_ip: options.ec2_task_public_ip,
        },
        trust_any_key: options.trust_any_key,
        stopped_tasks_kept: Duration::from_secs(u64::from(options.keep_stopped_tasks) * 60),
        rates: Rates::read(options.throttle.iter().map(String::as_str))?,
        limits: Limits::default(),
        endpoint_limits: Limits::of_endpoints(),
        ready: Some(tell),
        fault_points: Default::default(),
    };
    daemon::run(|cancel| async {
        tokio::spawn(async {
            if told.await.is_ok()
                && let Err(error) = ready::say_ready()
            {
                tracing::warn!(error = format!("{error:#}"), "could not report that the server is ready");
            }
        });
        berth_control::run(config, cancel).await.context("the server ended")
    })?;
    Ok(ExitCode::SUCCESS)
}
