// SPDX-License-Identifier: Apache-2.0
//! Connections of an endpoint: how many one client and all clients together may hold. The one that was unused for the
//! longest time gives way to a new one, so that no client takes the places of the others.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Connections of one client address.
const PER_CLIENT_MAX: usize = 16;
/// Connections of all clients.
const ALL_MAX: usize = 512;
/// Longest pause after a connection could not be accepted, if none ends before.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The open connections of an endpoint.
#[derive(Default)]
pub(super) struct Connections {
    table: Mutex<Table>,
    /// A connection has ended.
    freed: Notify,
}

#[derive(Default)]
struct Table {
    open: BTreeMap<u64, Open>,
    /// Counts connections and uses: a higher number is later.
    clock: u64,
}

struct Open {
    client: IpAddr,
    used: u64,
    close: CancellationToken,
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The connection that gives way to a new one of `client`, if one has to.
    fn giving_way(&self, client: IpAddr) -> Option<u64> {
        let mut held: BTreeMap<IpAddr, usize> = BTreeMap::new();
        self.open.values().for_each(|one| *held.entry(one.client).or_default() += 1);
        if held.get(&client).is_some_and(|count| *count >= PER_CLIENT_MAX) {
            return self.longest_unused(|one| one.client == client);
        }
        if self.open.len() < ALL_MAX {
            return None;
        }
        let most = held.values().copied().max()?;
        self.longest_unused(|one| held.get(&one.client) == Some(&most))
    }

    fn longest_unused(&self, is_meant: impl Fn(&Open) -> bool) -> Option<u64> {
        let meant = self.open.iter().filter(|(_, one)| is_meant(one));
        meant.min_by_key(|(_, one)| one.used).map(|(id, _)| *id)
    }

    /// Asks a connection to end; its place is free at once.
    fn close(&mut self, id: u64) {
        if let Some(one) = self.open.remove(&id) {
            one.close.cancel();
        }
    }
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, client: IpAddr) -> Slot {
        let mut table = self.table();
        if let Some(id) = table.giving_way(client) {
            table.close(id);
        }
        let (id, close) = (table.tick(), CancellationToken::new());
        table.open.insert(id, Open { client, used: id, close: close.clone() });
        Slot { connections: self.clone(), id, close }
    }

    fn close_longest_unused(&self) {
        let mut table = self.table();
        if let Some(id) = table.longest_unused(|_| true) {
            table.close(id);
        }
    }
}

/// A connection's place, until this value is dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    id: u64,
    close: CancellationToken,
}

impl Slot {
    /// The connection is used now.
    pub fn used(&self) {
        let mut table = self.connections.table();
        let now = table.tick();
        if let Some(one) = table.open.get_mut(&self.id) {
            one.used = now;
        }
    }

    /// Ends when the connection has to give way.
    pub async fn given_way(&self) {
        self.close.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.id);
        self.connections.freed.notify_one();
    }
}

/// Where connections come from.
pub(super) trait Accept: Sync {
    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

/// Accepts connections until shutdown and serves each on a task of its own.
pub(super) async fn accept_each<Served: Future<Output = ()> + Send + 'static>(
    listener: &impl Accept,
    what: &'static str,
    shutdown: &CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr, Slot) -> Served,
) {
    let connections = Arc::new(Connections::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.next() => accepted,
            () = shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let place = connections.admit(client.ip());
                tokio::spawn(serve(stream, client, place));
            }
            Err(cause) if is_of_one_connection(&cause) => {
                tracing::debug!(%cause, what, "could not accept a connection")
            }
            Err(cause) => {
                // Descriptors or memory are used up: asking again at once would fail at once.
                tracing::warn!(%cause, what, "no connection is accepted; the longest unused one is closed");
                connections.close_longest_unused();
                tokio::select! {
                    () = connections.freed.notified() => {}
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    () = shutdown.cancelled() => return,
                }
            }
        }
    }
}

/// True if only the connection that was to be accepted has failed (accept(2)).
fn is_of_one_connection(cause: &io::Error) -> bool {
    const OWN: [i32; 10] = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
    ];
    cause.raw_os_error().is_some_and(|errno| OWN.contains(&errno))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    fn client(n: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 1, n).into()
    }

    #[test]
    fn the_longest_unused_connection_of_the_same_client_gives_way() {
        let connections = Arc::new(Connections::default());
        let quiet = connections.admit(client(2));
        let mut places: Vec<Slot> = (0..PER_CLIENT_MAX).map(|_| connections.admit(client(1))).collect();
        places[0].used();
        places.push(connections.admit(client(1)));
        let closed: Vec<usize> = (0..places.len()).filter(|at| places[*at].close.is_cancelled()).collect();
        assert_eq!(closed, [1], "the first one was used since");
        assert!(!quiet.close.is_cancelled());
        drop(places);
        assert_eq!(connections.table().open.len(), 1);
    }

    #[test]
    fn a_full_table_takes_from_the_client_with_most() {
        let connections = Arc::new(Connections::default());
        let greedy: Vec<Slot> = (0..PER_CLIENT_MAX).map(|_| connections.admit(client(1))).collect();
        let others = ALL_MAX - PER_CLIENT_MAX;
        let address = |n: usize| IpAddr::from(Ipv4Addr::from(u32::try_from(n).unwrap() + 0x7f01_0000));
        let modest: Vec<Slot> = (0..others).map(|n| connections.admit(address(n))).collect();
        let _newcomer = connections.admit(client(2));
        assert!(greedy[0].close.is_cancelled());
        assert!(modest.iter().all(|place| !place.close.is_cancelled()));
        assert_eq!(connections.table().open.len(), ALL_MAX);
    }

    /// Answers each byte, and ends when it has to.
    async fn echo(mut stream: TcpStream, _: SocketAddr, place: Slot) {
        let mut byte = [0];
        loop {
            tokio::select! {
                read = stream.read_exact(&mut byte) => if read.is_err() { return },
                () = place.given_way() => return,
            }
            place.used();
            if stream.write_all(&byte).await.is_err() {
                return;
            }
        }
    }

    async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    async fn answers(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        stream.write_all(b"x").await.is_ok() && stream.read_exact(&mut byte).await.is_ok()
    }

    #[tokio::test]
    async fn a_client_that_holds_many_connections_keeps_nobody_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (to, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let token = shutdown.clone();
        let accepting = tokio::spawn(async move { accept_each(&listener, "test", &token, echo).await });
        let mut held = Vec::new();
        for _ in 0..ALL_MAX / 8 {
            held.push(connect(client(1), to).await);
        }
        assert!(answers(&mut connect(client(2), to).await).await);
        assert_eq!(held[0].read(&mut [0]).await.unwrap(), 0, "the oldest one was closed");
        assert!(answers(held.last_mut().unwrap()).await);
        shutdown.cancel();
        accepting.await.unwrap();
    }

    /// Accepts one connection, then runs out of descriptors until that one ends.
    struct Exhausted {
        listener: TcpListener,
        calls: AtomicUsize,
    }

    impl Accept for Exhausted {
        async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
            match self.calls.fetch_add(1, Ordering::Relaxed) {
                1 => Err(io::Error::from_raw_os_error(libc::EMFILE)),
                _ => self.listener.accept().await,
            }
        }
    }

    #[tokio::test]
    async fn without_descriptors_a_connection_is_closed_instead_of_asking_again_and_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (to, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let exhausted = Arc::new(Exhausted { listener, calls: AtomicUsize::new(0) });
        let (token, accepting) = (shutdown.clone(), exhausted.clone());
        let accepting = tokio::spawn(async move { accept_each(&*accepting, "test", &token, echo).await });
        let mut first = connect(client(1), to).await;
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
        assert!(answers(&mut connect(client(2), to).await).await);
        assert_eq!(exhausted.calls.load(Ordering::Relaxed), 4, "one for each connection, the failed one, the next one");
        shutdown.cancel();
        accepting.await.unwrap();
    }
}
