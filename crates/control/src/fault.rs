// SPDX-License-Identifier: Apache-2.0
//! Faults at the start or end of a server. Every message names the object and the remedy.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use berth_state::Undecodable;
use berth_store::StoreFault;

use crate::authority::AuthorityFault;
use crate::commit::CommitFault;
use crate::config::UnsafeListen;

/// The server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A folder could not be created or read.
    #[error("could not create the folder {}; check its parent's permissions", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The records could not be opened or read.
    #[error("could not open the records")]
    Store(#[source] StoreFault),
    /// A record could not be understood.
    #[error("could not read the records")]
    Record(#[source] Undecodable),
    /// A first-start rule was not stored.
    #[error("could not store the records of the first start")]
    FirstStart(#[source] CommitFault),
    /// The operating system returned no random bytes.
    #[error("the operating system gave no random bytes for the administrator's access key")]
    Randomness(#[source] rand::rand_core::OsError),
    /// The data folder belongs to another region or account.
    #[error("the data folder {} was made for {what} {found}, not {asked}; start with --{what} {found} or another --data folder", path.display())]
    OtherLocality {
        /// The data folder.
        path: PathBuf,
        /// `region` or `account`.
        what: &'static str,
        /// The value in the records.
        found: String,
        /// The requested value.
        asked: String,
    },
    /// The credentials file could not be written.
    #[error("could not write the administrator's credentials to {}; check permissions and free space", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The API's address is in use or not an address of this machine.
    #[error("could not listen on {address}; stop what listens there or choose another --listen address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The address of the own pages is in use or not an address of this machine.
    #[error("could not listen on {address}; stop what listens there or choose another --admin-listen address")]
    AdminListen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Other machines would reach an address without the required protection.
    #[error(transparent)]
    UnsafeListen(#[from] UnsafeListen),
    /// The server has no certificate.
    #[error("could not prepare TLS")]
    Tls(#[source] AuthorityFault),
    /// The socket of hosts and command line could not be created.
    #[error("could not listen on {}; check the run folder's permissions", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another server answers on the socket.
    #[error("another Berth server listens on {}; stop it or choose another --run folder", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// A thread could not be created.
    #[error("could not start the commit loop's thread; the machine is out of threads or memory")]
    Thread(#[source] io::Error),
    /// The commit loop ended while the server was running.
    #[error("the commit loop ended unexpectedly; its last log lines say why; start the server again")]
    LoopEnded,
}
