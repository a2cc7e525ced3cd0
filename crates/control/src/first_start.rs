//! What the first start makes: the administrator's access key, the default network, the default cluster.
//!
//! Everything here is done at every start and does nothing the second time, so a first start that was cut short is
//! finished by the next one. Streams do not outlive a server: hosts the records still show as connected are not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use berth_domain::sts::record::{AccessKey, AccessKeyId};
use berth_domain::{Change, Draft, Env, Snapshot, ecs, vpc};
use berth_types::Arn;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::clock::Place;
use crate::commit::{CommitFault, Committer};
use crate::fault::Fault;

const CREDENTIALS: &str = "credentials";

/// Letters of access key ids.
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Letters of secrets.
const SECRET_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const KEY_ID_RANDOM_LETTERS: usize = 16;
const USER_ID_RANDOM_LETTERS: usize = 17;
const SECRET_RANDOM_LETTERS: usize = 40;

/// The file `credentials` in the data folder: how local tools reach the API as the administrator.
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
    /// Where the API listens, e.g. `http://127.0.0.1:4566`.
    pub endpoint: String,
}

impl Credentials {
    /// Where the file is in this data folder.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(CREDENTIALS)
    }
}

/// Makes what is missing in the records.
pub(crate) async fn ensure_records(committer: &Committer, place: &Place) -> Result<(), Fault> {
    let fresh = fresh_key(&place.account)?;
    let rule = move |snap: &Snapshot, env: &Env| Ok(first_records(snap, fresh, env));
    let answer = committer.send(place.service_env(), rule).await.map_err(Fault::FirstStart)?;
    answer.await.unwrap_or(Err(CommitFault::Stopped)).map_err(Fault::FirstStart)
}

fn first_records(snap: &Snapshot, fresh: AccessKey, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    if administrator(snap, &env.account).is_none() {
        draft.put(fresh);
    }
    let network = vpc::ensure_default_network(&draft, env);
    draft.take(network);
    let cluster = ecs::ensure_default_cluster(&draft, env);
    draft.take(cluster);
    for host in snap.hosts.values().filter(|host| host.connected) {
        let gone = ecs::host_disconnected(&draft, &host.id, env);
        draft.take(gone);
    }
    draft.change(())
}

/// Refuses records that were made for another region or account: both are in every ARN and zone.
pub(crate) fn check_place(snap: &Snapshot, place: &Place, data_dir: &Path) -> Result<(), Fault> {
    let differs = |what, found: &str, asked: &str| Fault::OtherPlace {
        path: data_dir.to_owned(),
        what,
        found: found.to_owned(),
        asked: asked.to_owned(),
    };
    for key in snap.access_keys.values() {
        let account = key.owner_arn.parse::<Arn>().map(|arn| arn.account).unwrap_or_default();
        if account != place.account {
            return Err(differs("account", &account, &place.account));
        }
    }
    for subnet in snap.subnets.values() {
        let region = subnet.availability_zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
        if region != place.region {
            return Err(differs("region", region, &place.region));
        }
    }
    Ok(())
}

/// The administrator's key.
pub(crate) fn administrator<'a>(snap: &'a Snapshot, account: &str) -> Option<&'a AccessKey> {
    let arn = administrator_arn(account);
    snap.access_keys.values().find(|key| key.owner_arn == arn).map(AsRef::as_ref)
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

/// Random letters of an alphabet whose size is a power of two, so that each is equally likely.
fn letters<const N: usize>(alphabet: &[u8; N], count: usize) -> Result<String, Fault> {
    const { assert!(N.is_power_of_two() && N <= 256) };
    let mut bytes = vec![0; count];
    OsRng.try_fill_bytes(&mut bytes).map_err(Fault::Randomness)?;
    Ok(bytes.into_iter().map(|byte| char::from(alphabet[usize::from(byte) % N])).collect())
}

/// Writes the administrator's credentials for local tools, whole or not at all, readable by the owner only.
pub(crate) fn write_credentials(data_dir: &Path, credentials: &Credentials) -> Result<(), Fault> {
    let path = Credentials::path(data_dir);
    let write = || -> io::Result<()> {
        let text = serde_json::to_vec_pretty(credentials)?;
        if std::fs::read(&path).is_ok_and(|present| present == text) {
            return Ok(());
        }
        let beside = data_dir.join(format!("{CREDENTIALS}.new"));
        // A leftover of a start that was cut short may have other permissions.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(|cause| Fault::Credentials { path: path.clone(), cause })
}
