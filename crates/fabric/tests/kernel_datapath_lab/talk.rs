// SPDX-License-Identifier: Apache-2.0
//! Conversations between seats with ordinary sockets.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::{Lab, Seat};

/// Limit for packets that must arrive: only reached when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Limit for packets that must not arrive: the second SYN is sent after a second.
const SILENCE: Duration = Duration::from_millis(400);

/// The result at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    TimedOut,
    Refused,
}

/// One established connection, both ends.
pub struct Connection {
    pub client: TcpStream,
    pub server: TcpStream,
}

impl Seat {
    pub fn listen(&self, port: u16) -> TcpListener {
        self.namespace.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap()
    }

    pub fn udp(&self, port: u16) -> UdpSocket {
        let socket = self.namespace.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub fn dial(&self, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
        self.namespace.inside(|| TcpStream::connect_timeout(&to, patience)).unwrap()
    }

    /// As soon as there is a free port: the last acknowledgement of an earlier connection may be in transit.
    pub fn dial_when_a_port_is_free(&self, to: SocketAddr) -> TcpStream {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.dial(to, PATIENCE) {
                Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable && Instant::now() < until => {
                    std::thread::yield_now();
                }
                dialed => return dialed.unwrap(),
            }
        }
    }
}

fn outcome<T>(result: io::Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Answered,
        Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => Outcome::TimedOut,
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(e) => panic!("unexpected: {e}"),
    }
}

impl Lab {
    fn to(&self, name: &str, port: u16) -> SocketAddr {
        (self.at(name).address, port).into()
    }

    /// A connection attempt that must succeed or be refused.
    pub fn connects(&self, from: &str, to: &str, port: u16) -> Outcome {
        outcome(self.at(from).dial(self.to(to, port), PATIENCE))
    }

    /// A connection attempt that must have no answer.
    pub fn is_silent(&self, from: &str, to: &str, port: u16) -> bool {
        outcome(self.at(from).dial(self.to(to, port), SILENCE)) == Outcome::TimedOut
    }

    pub fn connection(&self, from: &str, to: &str, port: u16) -> Connection {
        let listener = self.at(to).listen(port);
        let client = self.at(from).dial(self.to(to, port), PATIENCE).unwrap();
        let (server, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), self.at(from).address);
        for end in [&client, &server] {
            end.set_read_timeout(Some(PATIENCE)).unwrap();
            end.set_nodelay(true).unwrap();
        }
        Connection { client, server }
    }
}

impl Connection {
    /// Text there and back.
    pub fn talk(&mut self) {
        let mut heard = [0; 4];
        self.client.write_all(b"ping").unwrap();
        self.server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ping");
        self.server.write_all(b"pong").unwrap();
        self.client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
    }

    /// The server closes first, so that the client's port is free at once.
    pub fn close(mut self) {
        drop(self.server);
        assert_eq!(self.client.read(&mut [0; 1]).unwrap(), 0);
    }

    /// True if data of the client no longer arrives.
    pub fn is_cut(&mut self) -> bool {
        self.client.write_all(b"ping").unwrap();
        self.server.set_read_timeout(Some(SILENCE)).unwrap();
        let heard = self.server.read(&mut [0; 4]);
        matches!(heard, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

/// True if nothing arrives within the time of silence.
pub fn hears_nothing(socket: &UdpSocket) -> bool {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let heard = socket.recv(&mut [0; 2048]);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(heard, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// True if the datagram that arrives is this one.
pub fn hears(socket: &UdpSocket, text: &[u8]) -> bool {
    let mut buffer = vec![0; 65536];
    let (bytes, _) = socket.recv_from(&mut buffer).unwrap();
    &buffer[..bytes] == text
}
