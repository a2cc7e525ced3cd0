// SPDX-License-Identifier: Apache-2.0
//! One connection: its origin goes to the server first, then bytes go both ways until both ends are done.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_types::EniId;
use berth_types::edge::Announced;
use tokio::io::{AsyncWriteExt as _, copy};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use super::places::{Places, Sender};

/// How long a connection waits for a server that is not there, as when it restarts.
const SERVER_LIMIT: Duration = Duration::from_secs(10);
/// Pauses between attempts to reach the server: a socket that is missing cannot be awaited.
const SERVER_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// Time for a client to end a connection that the server has ended.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

type Find = dyn Fn(SocketAddrV4, SocketAddrV4) -> Option<EniId> + Send + Sync;

/// The way from the endpoints to the server.
pub(crate) struct Relay {
    server: PathBuf,
    find: Box<Find>,
    places: Arc<Places>,
}

impl Relay {
    /// `find` answers the interface behind the source of a connection to an endpoint.
    pub fn new(
        server: PathBuf,
        find: impl Fn(SocketAddrV4, SocketAddrV4) -> Option<EniId> + Send + Sync + 'static,
    ) -> Self {
        Self { server, find: Box::new(find), places: Arc::default() }
    }

    /// Relays a connection until it has ended. One without a place ends at once.
    pub async fn connection(&self, client: TcpStream, is_tls: bool) -> io::Result<()> {
        let (SocketAddr::V4(source), SocketAddr::V4(endpoint)) = (client.peer_addr()?, client.local_addr()?) else {
            return Ok(());
        };
        let eni = (self.find)(source, endpoint);
        let sender = eni.clone().map_or(Sender::Address(*source.ip()), Sender::Interface);
        let Some(_place) = self.places.take(sender) else { return Ok(()) };
        client.set_nodelay(true)?;
        let mut server = self.server().await?;
        let announced = Announced { source, eni, endpoint: *endpoint.ip(), is_tls };
        let frame = serde_json::to_vec(&announced)?;
        server.write_u32(frame.len() as u32).await?;
        server.write_all(&frame).await?;
        join(client, server).await
    }

    async fn server(&self) -> io::Result<UnixStream> {
        let (until, mut pause) = (Instant::now() + SERVER_LIMIT, SERVER_PAUSES.0);
        loop {
            match UnixStream::connect(&self.server).await {
                Ok(server) => return Ok(server),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(SERVER_PAUSES.1);
        }
    }
}

/// Copies both ways. The end of one side is passed on; once the server has ended, the client has a little time left.
async fn join(mut client: TcpStream, mut server: UnixStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asking = async {
        copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let answering = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::pin!(asking, answering);
    tokio::select! {
        asked = &mut asking => {
            asked?;
            answering.await
        }
        answered = &mut answering => {
            answered?;
            tokio::time::timeout(FAREWELL_LIMIT, asking).await.unwrap_or(Ok(()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixListener};
    use tokio_util::sync::CancellationToken;

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        address: SocketAddr,
        shutdown: CancellationToken,
    }

    impl Place {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let relay = Relay::new(folder.path().join("server"), |_, _| Some(EniId::from_bits(7)));
            let shutdown = CancellationToken::new();
            tokio::spawn(crate::serve(Arc::new(relay), vec![(listener, true)], shutdown.clone()));
            Self { folder, address, shutdown }
        }

        fn server(&self) -> UnixListener {
            UnixListener::bind(self.folder.path().join("server")).unwrap()
        }

        async fn client(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }
    }

    async fn announced(server: &mut UnixStream) -> Announced {
        let mut frame = vec![0; server.read_u32().await.unwrap() as usize];
        server.read_exact(&mut frame).await.unwrap();
        serde_json::from_slice(&frame).unwrap()
    }

    #[tokio::test]
    async fn the_server_learns_the_origin_before_the_first_byte_and_bytes_go_both_ways() {
        let place = Place::new().await;
        let listener = place.server();
        let mut client = place.client().await;
        client.write_all(b"asked").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let told = announced(&mut server).await;
        assert_eq!(SocketAddr::V4(told.source), client.local_addr().unwrap());
        assert_eq!((told.eni, told.endpoint), (Some(EniId::from_bits(7)), Ipv4Addr::LOCALHOST));
        assert!(told.is_tls);
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "asked");
        server.write_all(b"answered").await.unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "answered");
        place.shutdown.cancel();
    }

    #[tokio::test]
    async fn a_connection_waits_for_a_server_that_restarts_and_ends_with_it() {
        let place = Place::new().await;
        let mut client = place.client().await;
        client.write_all(b"x").await.unwrap();
        let listener = place.server();
        let (mut server, _) = listener.accept().await.unwrap();
        announced(&mut server).await;
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        drop((server, listener));
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "the server's end is the client's");
    }

    #[tokio::test]
    async fn who_holds_all_its_places_gets_no_more() {
        let place = Place::new().await;
        let listener = place.server();
        let mut held = Vec::new();
        for _ in 0..256 {
            held.push((place.client().await, listener.accept().await.unwrap()));
        }
        assert_eq!(place.client().await.read(&mut [0; 1]).await.unwrap(), 0);
        held.pop();
        // The place is free once the relay has seen the end.
        while held.len() < 256 {
            let mut client = place.client().await;
            tokio::select! {
                accepted = listener.accept() => held.push((client, accepted.unwrap())),
                _ = client.read_u8() => {}
            }
        }
    }
}
