// SPDX-License-Identifier: Apache-2.0
//! The records of the first start: the administrator's access key, the default network, the world, the default cluster.
//!
//! All of this runs at every start and changes nothing the second time, so the next start completes an interrupted one.
//! Streams do not outlive a server: hosts that the records show as connected are marked as disconnected.

use std::io;
use std::path::{Path, PathBuf};

use berth_ecs as ecs;
use berth_state::iam::{AccessKey, AccessKeyId};
use berth_state::vpc::Settings;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::Arn;
use berth_vpc as vpc;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::clock::Locality;
use crate::commit::{CommitFault, Committer};
use crate::config::NetworkSettings;
use crate::fault::Fault;
use crate::whole_file;

const CREDENTIALS: &str = "credentials";

/// Letters of access key ids.
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Letters of secrets.
const SECRET_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const KEY_ID_RANDOM_LETTERS: usize = 16;
const USER_ID_RANDOM_LETTERS: usize = 17;
const SECRET_RANDOM_LETTERS: usize = 40;

/// The file `credentials` in the data folder: the API's address and the administrator's key for local tools.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Region served.
    pub region: String,
    /// Account served.
    pub account: String,
    /// Address of the API, e.g. `http://127.0.0.1:4566`.
    pub endpoint: String,
}

impl Credentials {
    /// Path of the file in this data folder.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(CREDENTIALS)
    }
}

/// Creates the missing records.
///
/// # Errors
/// The pool of public addresses cannot be used, a quota is not known, or the records are not stored.
pub(crate) async fn ensure_records(
    committer: &Committer,
    locality: &Locality,
    network: NetworkSettings,
) -> Result<(), Fault> {
    let fresh = fresh_key(&locality.account)?;
    let rule = move |snap: &Snapshot, env: &Env| first_records(snap, fresh, &network, env);
    let answer = committer.send("first-start", locality.service_env(), rule).await.map_err(Fault::FirstStart)?;
    answer.await.unwrap_or(Err(CommitFault::Stopped)).map_err(Fault::FirstStart)
}

fn first_records(
    snap: &Snapshot,
    fresh: AccessKey,
    settings: &NetworkSettings,
    env: &Env,
) -> Result<Change<()>, Refusal> {
    let mut draft = Draft::of(snap);
    if administrator(snap, &env.account).is_none() {
        draft.put(fresh);
    }
    let network = vpc::ensure_default_network(&draft, env);
    draft.take(network);
    let world = vpc::ensure_world(&draft, settings.public_pool, env)?;
    draft.take(world);
    let quotas = vpc::set_quotas(&draft, &settings.quotas)?;
    draft.take(quotas);
    let rules = Settings { ec2_task_public_ip: settings.ec2_task_public_ip };
    let kept = vpc::set_settings(&draft, &rules);
    draft.take(kept);
    for host in snap.ecs().hosts.values().filter(|host| host.connected) {
        let gone = ecs::host_disconnected(&draft, &host.id, env);
        draft.take(gone);
    }
    Ok(draft.change(()))
}

/// Refuses records of another region or account: both are in every ARN and zone.
pub(crate) fn check_locality(snap: &Snapshot, locality: &Locality, data_dir: &Path) -> Result<(), Fault> {
    let differs = |what, found: &str, asked: &str| Fault::OtherLocality {
        path: data_dir.to_owned(),
        what,
        found: found.to_owned(),
        asked: asked.to_owned(),
    };
    for key in snap.iam().access_keys.values() {
        let account = key.owner_arn.parse::<Arn>().map(|arn| arn.account).unwrap_or_default();
        if account != locality.account {
            return Err(differs("account", &account, &locality.account));
        }
    }
    for subnet in snap.vpc().subnets.values() {
        let region = subnet.availability_zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
        if region != locality.region {
            return Err(differs("region", region, &locality.region));
        }
    }
    Ok(())
}

/// The administrator's key.
pub(crate) fn administrator<'a>(snap: &'a Snapshot, account: &str) -> Option<&'a AccessKey> {
    let arn = administrator_arn(account);
    snap.iam().access_keys.values().find(|key| key.owner_arn == arn).map(AsRef::as_ref)
}

fn administrator_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:user/administrator")
}

fn fresh_key(account: &str) -> Result<AccessKey, Fault> {
    Ok(AccessKey {
        id: AccessKeyId(format!("AKIA{}", letters(ID_LETTERS, KEY_ID_RANDOM_LETTERS)?)),
        secret: letters(SECRET_LETTERS, SECRET_RANDOM_LETTERS)?,
        owner_arn: administrator_arn(account),
        owner_id: format!("AIDA{}", letters(ID_LETTERS, USER_ID_RANDOM_LETTERS)?),
    })
}

/// Random characters of an alphabet whose size is a power of two, so that each is equally likely.
fn letters<const N: usize>(alphabet: &[u8; N], count: usize) -> Result<String, Fault> {
    const { assert!(N.is_power_of_two() && N <= 256) };
    let mut bytes = vec![0; count];
    OsRng.try_fill_bytes(&mut bytes).map_err(Fault::Randomness)?;
    Ok(bytes.into_iter().map(|byte| char::from(alphabet[usize::from(byte) % N])).collect())
}

/// Writes the administrator's credentials for local tools atomically, readable only by the owner.
pub(crate) fn write_credentials(data_dir: &Path, credentials: &Credentials) -> Result<(), Fault> {
    let path = Credentials::path(data_dir);
    let write = || -> io::Result<()> {
        let text = serde_json::to_vec_pretty(credentials)?;
        if std::fs::read(&path).is_ok_and(|present| present == text) {
            return Ok(());
        }
        whole_file::write(data_dir, CREDENTIALS, &text, 0o600)
    };
    write().map_err(|cause| Fault::Credentials { path: path.clone(), cause })
}
