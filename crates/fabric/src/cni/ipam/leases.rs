// SPDX-License-Identifier: Apache-2.0
//! The lease file: a redb database under a lock that plugins and node share.
//!
//! Writes reach the kernel's page cache in order and are not flushed: a kill cannot lose them, and a power cut ends the
//! boot to which they belong. The file `<path>.lock` is the lock and names the boot of the leases.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use ipnet::IpNet;
use nix::fcntl::{Flock, FlockArg};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use serde::{Deserialize, Serialize};

use super::Pool;

/// Path of the official plugin's leases.
pub const DB_PATH_DEFAULT: &str = "/data/eni-ipam.db";

/// Leases by address.
const LEASES: TableDefinition<&str, &str> = TableDefinition::new("leases");
/// The address allocated or released last, by subnet.
const LAST: TableDefinition<&str, &str> = TableDefinition::new("last");
/// A database of this size needs no more.
const CACHE_BYTES: usize = 1 << 20;
const LOCK_WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// The caller of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub if_name: String,
}

/// An address in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// With the prefix length of its subnet.
    pub address: IpNet,
    /// Its id; may be empty.
    pub id: String,
    /// Name of its network.
    pub network: String,
    /// The caller that requested it.
    pub owner: Owner,
}

/// One address wanted from one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The pool.
    pub pool: Pool,
    /// This address; the next free one if `None`.
    pub address: Option<IpAddr>,
}

/// A request for one address of each of some pools, all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The requested addresses.
    pub wanted: Vec<Wanted>,
    /// Id of the leases. One id has at most one lease per subnet; the same owner asking again gets the same address.
    pub id: String,
    /// Name of the network.
    pub network: String,
    /// Who asks.
    pub owner: Owner,
}

/// Reason why there is no lease.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseFault {
    /// Nothing left.
    #[error("no address left in {pool} ({used} leased); stop tasks or use a larger subnet")]
    Exhausted {
        /// The pool.
        pool: Pool,
        /// How many are leased.
        used: usize,
    },
    /// The id has a lease of another owner.
    #[error("id {id} already has {address}, leased for container {container_id:?}; DEL that one first")]
    IdInUse {
        /// The id.
        id: String,
        /// The leased address.
        address: IpNet,
        /// The holder of the lease.
        container_id: String,
    },
    /// The required address is leased.
    #[error("address {address} is leased for id {id:?}, container {container_id:?}")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// The id it is leased for.
        id: String,
        /// The holder of the lease.
        container_id: String,
    },
    /// Another process held the file for too long.
    #[error("lease file {path} stayed locked for {wait_ms} ms; another plugin hangs or holds it", path = .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// The waiting time.
        wait_ms: u128,
    },
    /// The file could not be opened or locked.
    #[error("could not open lease file {path}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The database failed.
    #[error("lease file {path} failed; if it is damaged, delete it when no task runs", path = .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: redb::Error,
    },
    /// A record is invalid.
    #[error("lease file {path} has an unreadable record {key}; delete the file when no task runs", path = .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Key of the record.
        key: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
}

impl LeaseFault {
    /// True if a retry may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}

/// The lease file. Every call opens it, so that any number of processes share it.
#[derive(Clone, Debug)]
pub struct Ipam {
    path: PathBuf,
    lock_wait: Duration,
}

impl Ipam {
    /// The leases at a path.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), lock_wait: LOCK_WAIT_DEFAULT }
    }

    /// The leases a plugin uses: `IPAM_DB_PATH` and `IPAM_DB_CONNECTION_TIMEOUT` (`5s`, `500ms`, `1m` or seconds).
    pub fn from_env() -> Self {
        let path = std::env::var_os("IPAM_DB_PATH").filter(|path| !path.is_empty());
        let wait = std::env::var("IPAM_DB_CONNECTION_TIMEOUT").ok().and_then(|text| duration(&text));
        Self {
            path: path.map_or_else(|| PathBuf::from(DB_PATH_DEFAULT), PathBuf::from),
            lock_wait: wait.unwrap_or(LOCK_WAIT_DEFAULT),
        }
    }

    /// The same with another limit on waiting for the lock.
    pub fn with_lock_wait(self, lock_wait: Duration) -> Self {
        Self { lock_wait, ..self }
    }

    /// Leases addresses in one commit. The second value is true if they were leased before.
    pub fn allocate(&self, request: &LeaseRequest) -> Result<(Vec<Lease>, bool), LeaseFault> {
        let file = self.open()?;
        let held = file.leases()?;
        let last = |pool: &Pool| file.last(&pool.subnet());
        let mut leases = Vec::new();
        let mut is_new = false;
        for wanted in &request.wanted {
            let lease = match standing(request, wanted, &held)? {
                Some(lease) => lease,
                None => {
                    is_new = true;
                    fresh(request, wanted, &held, last(&wanted.pool)?)?
                }
            };
            leases.push(lease);
        }
        if is_new {
            file.write(&leases, &[], leases.iter())?;
        }
        Ok((leases, !is_new))
    }

    /// Frees the leases of an id. An unknown id counts as success. Returns the freed leases.
    pub fn release(&self, id: &str) -> Result<Vec<Lease>, LeaseFault> {
        self.release_where(|lease| lease.id == id)
    }

    /// Frees an address. A free address counts as success. Returns the freed lease.
    pub fn release_address(&self, address: IpAddr) -> Result<Vec<Lease>, LeaseFault> {
        self.release_where(|lease| lease.address.addr() == address)
    }

    /// Frees the leases for which a test is true. Returns the freed leases.
    pub fn release_where(&self, is_over: impl Fn(&Lease) -> bool) -> Result<Vec<Lease>, LeaseFault> {
        let file = self.open()?;
        let over: Vec<_> = file.leases()?.into_iter().filter(|lease| is_over(lease)).collect();
        if !over.is_empty() {
            file.write(&[], &over, over.iter())?;
        }
        Ok(over)
    }

    /// All leases, by address.
    pub fn leases(&self) -> Result<Vec<Lease>, LeaseFault> {
        self.open()?.leases()
    }

    fn open(&self) -> Result<LeaseFile, LeaseFault> {
        let fault = |cause| LeaseFault::Open { path: self.path.clone(), cause };
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(fault)?;
        }
        let mut lock = self.lock()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(fault)?;
        let mut named = String::new();
        lock.read_to_string(&mut named).map_err(fault)?;
        let is_of_this_boot = named == boot && self.path.exists();
        if !is_of_this_boot {
            lock.set_len(0).map_err(fault)?;
            match fs::remove_file(&self.path) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(fault(cause)),
                Ok(()) | Err(_) => {}
            }
        }
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(&self.path).map_err(fault)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Pages(file))
            .map_err(|cause| LeaseFault::Database { path: self.path.clone(), cause: cause.into() })?;
        let leases = LeaseFile { path: self.path.clone(), database, lock };
        if !is_of_this_boot {
            leases.write(&[], &[], [].iter())?;
            // Only now: after a kill before this line the next call starts again.
            let mut name = &*leases.lock;
            name.seek(SeekFrom::Start(0)).and_then(|_| name.write_all(boot.as_bytes())).map_err(fault)?;
        }
        Ok(leases)
    }

    fn lock(&self) -> Result<Flock<File>, LeaseFault> {
        let fault = |cause| LeaseFault::Open { path: self.path.clone(), cause };
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(name).map_err(fault)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(fault(errno.into())),
        };
        // A blocking lock has no time limit. A thread that gets it too late releases it by ending.
        let (sender, receiver) = mpsc::channel();
        let waiter = move || drop(sender.send(Flock::lock(file, FlockArg::LockExclusive)));
        std::thread::Builder::new().name("ipam-lock".into()).spawn(waiter).map_err(fault)?;
        match receiver.recv_timeout(self.lock_wait) {
            Ok(Ok(lock)) => Ok(lock),
            Ok(Err((_, errno))) => Err(fault(errno.into())),
            Err(_) => Err(LeaseFault::Locked { path: self.path.clone(), wait_ms: self.lock_wait.as_millis() }),
        }
    }
}

/// The lease that the id already has in the pool, if the same owner asks again (after a crash between lease and device,
/// for example). Any other caller with this id gets an error.
fn standing(request: &LeaseRequest, wanted: &Wanted, held: &[Lease]) -> Result<Option<Lease>, LeaseFault> {
    let subnet = wanted.pool.subnet();
    let of_id = held.iter().find(|lease| {
        let is_same = if request.id.is_empty() {
            lease.id.is_empty() && !request.owner.container_id.is_empty() && lease.owner == request.owner
        } else {
            lease.id == request.id
        };
        is_same && lease.address.trunc() == subnet
    });
    match of_id {
        None => Ok(None),
        Some(lease)
            if lease.owner == request.owner && wanted.address.is_none_or(|want| want == lease.address.addr()) =>
        {
            Ok(Some(lease.clone()))
        }
        Some(lease) => Err(LeaseFault::IdInUse {
            id: lease.id.clone(),
            address: lease.address,
            container_id: lease.owner.container_id.clone(),
        }),
    }
}

fn fresh(request: &LeaseRequest, wanted: &Wanted, held: &[Lease], last: Option<IpAddr>) -> Result<Lease, LeaseFault> {
    let pool = wanted.pool;
    let address = match wanted.address {
        Some(address) => match held.iter().find(|lease| lease.address.addr() == address) {
            None => address,
            Some(lease) => {
                return Err(LeaseFault::AddressInUse {
                    address,
                    id: lease.id.clone(),
                    container_id: lease.owner.container_id.clone(),
                });
            }
        },
        None => {
            let used: BTreeSet<_> =
                held.iter().map(|lease| lease.address.addr()).filter(|ip| pool.subnet().contains(ip)).collect();
            pool.next(last, &used).ok_or(LeaseFault::Exhausted { pool, used: used.len() })?
        }
    };
    Ok(Lease {
        address: pool.with_prefix(address),
        id: request.id.clone(),
        network: request.network.clone(),
        owner: request.owner.clone(),
    })
}

/// The file, open and locked.
struct LeaseFile {
    path: PathBuf,
    // Dropped before the lock: the database is closed before the next process may open it.
    database: Database,
    lock: Flock<File>,
}

impl LeaseFile {
    fn leases(&self) -> Result<Vec<Lease>, LeaseFault> {
        let read = || -> Result<Vec<(String, String)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(LEASES)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                rows.push((key.value().to_owned(), value.value().to_owned()));
            }
            Ok(rows)
        };
        let rows = read().map_err(|cause| self.fault(cause))?;
        let parse = |(key, text): (String, String)| {
            serde_json::from_str(&text).map_err(|cause| LeaseFault::Record { path: self.path.clone(), key, cause })
        };
        rows.into_iter().map(parse).collect()
    }

    fn last(&self, subnet: &IpNet) -> Result<Option<IpAddr>, LeaseFault> {
        let read = || -> Result<Option<IpAddr>, redb::Error> {
            let table = self.database.begin_read()?.open_table(LAST)?;
            Ok(table.get(subnet.to_string().as_str())?.and_then(|text| text.value().parse().ok()))
        };
        read().map_err(|cause| self.fault(cause))
    }

    fn write<'a>(
        &self,
        put: &[Lease],
        gone: &[Lease],
        last: impl Iterator<Item = &'a Lease>,
    ) -> Result<(), LeaseFault> {
        let encoded = put.iter().map(|lease| {
            let key = lease.address.addr().to_string();
            let text = serde_json::to_string(lease);
            text.map(|text| (key.clone(), text)).map_err(|cause| LeaseFault::Record {
                path: self.path.clone(),
                key,
                cause,
            })
        });
        let encoded: Vec<_> = encoded.collect::<Result<_, _>>()?;
        let commit = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut leases = transaction.open_table(LEASES)?;
                for (key, text) in &encoded {
                    leases.insert(key.as_str(), text.as_str())?;
                }
                for lease in gone {
                    leases.remove(lease.address.addr().to_string().as_str())?;
                }
                let mut lasts = transaction.open_table(LAST)?;
                for lease in last {
                    let (subnet, address) = (lease.address.trunc().to_string(), lease.address.addr().to_string());
                    lasts.insert(subnet.as_str(), address.as_str())?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        commit().map_err(|cause| self.fault(cause))
    }

    fn fault(&self, cause: redb::Error) -> LeaseFault {
        LeaseFault::Database { path: self.path.clone(), cause }
    }
}

/// A file without flushes, for the reason at the top of this module.
#[derive(Debug)]
struct Pages(File);

impl StorageBackend for Pages {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    /// Not needed: see the top of this module.
    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_all_at(data, offset)
    }
}

/// `5s`, `500ms`, `1m`, or a number of seconds.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}
