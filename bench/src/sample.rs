// SPDX-License-Identifier: Apache-2.0
//! One sample of a path: a client and a server thread, each in its namespace, both pinned to the first core; for
//! datagrams one thread with a socket in each.
//!
//! On one core the figures include no wake-up between cores, so that they repeat on a shared machine. Blocking sockets;
//! 64-byte messages; the server closes first, so that its side holds the TIME_WAIT.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use berth_fabric::kernel::netns::Namespace;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use nix::unistd::Pid;

use crate::table::percentile;

const MESSAGE_BYTES: usize = 64;
const STREAM_CHUNK_BYTES: usize = 128 * 1024;
const WARM_UP: Duration = Duration::from_millis(50);
const SAMPLE: Duration = Duration::from_millis(150);
/// Datagrams per system call.
const BATCH: usize = 64;
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The traffic between a client and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A 64-byte request and its answer, repeated.
    RoundTrip,
    /// Connect, 64 bytes each way, close.
    Connections,
    /// 128 KiB writes.
    Stream,
    /// 64-byte datagrams in one direction, many per system call.
    Datagrams,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RoundTrip, Self::Connections, Self::Stream, Self::Datagrams];
}

/// The figures of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Median round trip in microseconds: lower is better.
    RoundTrip,
    /// The round trip that one in a hundred exceeds.
    SlowRoundTrip,
    /// Connections per second.
    Connections,
    /// Gbit/s.
    Stream,
    /// Thousands of datagrams received per second.
    Datagrams,
}

impl Figure {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] = [Self::RoundTrip, Self::SlowRoundTrip, Self::Connections, Self::Stream, Self::Datagrams];

    /// Heading of its column.
    pub fn heading(self) -> &'static str {
        match self {
            Self::RoundTrip => "RTT p50 us",
            Self::SlowRoundTrip => "p99 us",
            Self::Connections => "conn/s",
            Self::Stream => "Gbit/s",
            Self::Datagrams => "UDP kpps",
        }
    }

    /// Of two samples of one path, the better one.
    pub fn better(self, a: f64, b: f64) -> f64 {
        match self {
            Self::RoundTrip | Self::SlowRoundTrip => a.min(b),
            Self::Connections | Self::Stream | Self::Datagrams => a.max(b),
        }
    }
}

/// Runs one sample between two namespaces.
pub fn take(kind: Kind, client: &Namespace, server: &Namespace, address: Ipv4Addr) -> Result<Vec<(Figure, f64)>> {
    let ends = (client, server, address);
    match kind {
        Kind::RoundTrip => converse(ends, |peer, _| while echo(peer).is_ok() {}, |to, _| round_trip(to)),
        // A wake-up connection ends by closing without an answer.
        Kind::Connections => converse(
            ends,
            |peer, _| drop(echo(peer)),
            |to, _| connections(to).map(|figure| vec![(Figure::Connections, figure)]),
        ),
        Kind::Stream => {
            converse(ends, swallow, |to, received| stream(to, received).map(|figure| vec![(Figure::Stream, figure)]))
        }
        Kind::Datagrams => datagrams(client, server, address).map(|kpps| vec![(Figure::Datagrams, kpps)]),
    }
}

/// The server's handler of a connection; it returns the number of received bytes.
type Serve = fn(&mut TcpStream, &AtomicU64);
/// The client's work with the server's address, and its result; it may read the server's count.
type Ask = fn(SocketAddrV4, &AtomicU64) -> Result<Vec<(Figure, f64)>>;

/// Runs a thread on each side, for traffic in which both wait for each other.
fn converse(
    (client, server, address): (&Namespace, &Namespace, Ipv4Addr),
    serve: Serve,
    ask: Ask,
) -> Result<Vec<(Figure, f64)>> {
    let (ready_tx, ready) = mpsc::channel();
    let stop = AtomicBool::new(false);
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        let (stop, received) = (&stop, &received);
        let serving = scope.spawn(move || {
            pin()?;
            server.inside(|| listen(serve, address, &ready_tx, stop, received))?
        });
        let asking = scope.spawn(move || -> Result<Vec<(Figure, f64)>> {
            pin()?;
            let to: SocketAddrV4 = ready.recv().context("the server thread ended before it listened")?;
            let figures = client.inside(|| ask(to, received))?;
            stop.store(true, Ordering::SeqCst);
            // Wakes the server from accept; a server that has ended already counts as woken.
            let _ = client.inside(|| TcpStream::connect_timeout(&to.into(), CONNECT_LIMIT))?;
            figures
        });
        let figures = asking.join().map_err(|_| anyhow::anyhow!("the client thread panicked"))?;
        serving.join().map_err(|_| anyhow::anyhow!("the server thread panicked"))??;
        figures
    })
}

fn pin() -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &first).context("pin the thread to the first core")
}

fn listen(
    serve: Serve,
    address: Ipv4Addr,
    ready: &mpsc::Sender<SocketAddrV4>,
    stop: &AtomicBool,
    received: &AtomicU64,
) -> Result<()> {
    let listener = TcpListener::bind((address, 0)).with_context(|| format!("listen on {address}"))?;
    ready.send(SocketAddrV4::new(address, listener.local_addr()?.port())).ok();
    while !stop.load(Ordering::SeqCst) {
        let (mut peer, _) = listener.accept()?;
        peer.set_nodelay(true)?;
        serve(&mut peer, received);
    }
    Ok(())
}

fn swallow(peer: &mut TcpStream, received: &AtomicU64) {
    let mut buffer = vec![0u8; STREAM_CHUNK_BYTES];
    while let Ok(n @ 1..) = peer.read(&mut buffer) {
        received.fetch_add(n as u64, Ordering::Relaxed);
    }
}

fn echo(peer: &mut TcpStream) -> std::io::Result<()> {
    let mut message = [0u8; MESSAGE_BYTES];
    peer.read_exact(&mut message)?;
    peer.write_all(&message)
}

fn ask(server: &mut TcpStream) -> std::io::Result<()> {
    let mut message = [7u8; MESSAGE_BYTES];
    server.write_all(&message)?;
    server.read_exact(&mut message)
}

fn connect(to: SocketAddrV4) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to.into(), CONNECT_LIMIT).with_context(|| format!("connect to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn round_trip(to: SocketAddrV4) -> Result<Vec<(Figure, f64)>> {
    let mut server = connect(to)?;
    let (begin, mut samples_us) = (Instant::now(), Vec::new());
    while begin.elapsed() < WARM_UP + SAMPLE {
        let asked = Instant::now();
        ask(&mut server)?;
        if begin.elapsed() > WARM_UP {
            samples_us.push(asked.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (half, slow) = (percentile(&mut samples_us, 0.5), percentile(&mut samples_us, 0.99));
    Ok(vec![(Figure::RoundTrip, half), (Figure::SlowRoundTrip, slow)])
}

fn connections(to: SocketAddrV4) -> Result<f64> {
    let mut begin = Instant::now();
    let (mut count, mut warm) = (0u64, false);
    while begin.elapsed() < SAMPLE || !warm {
        if !warm && begin.elapsed() > WARM_UP {
            (begin, count, warm) = (Instant::now(), 0, true);
        }
        let mut server = connect(to)?;
        ask(&mut server)?;
        // The server closes first: wait for its end of stream.
        let _ = server.read(&mut [0u8; 1])?;
        count += 1;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

fn stream(to: SocketAddrV4, received: &AtomicU64) -> Result<f64> {
    let mut server = connect(to)?;
    let chunk = vec![7u8; STREAM_CHUNK_BYTES];
    let write_for = |server: &mut TcpStream, limit: Duration| -> std::io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            server.write_all(&chunk)?;
        }
        Ok(())
    };
    write_for(&mut server, WARM_UP)?;
    let (begin, before) = (Instant::now(), received.load(Ordering::Relaxed));
    write_for(&mut server, SAMPLE)?;
    let bytes = received.load(Ordering::Relaxed) - before;
    Ok(bytes as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9)
}

/// Sends and receives by turns on one thread, so that the figure contains no wake-up and no decision of the scheduler,
/// only the cost of a datagram's path. The sockets belong to the namespaces they were opened in.
fn datagrams(client: &Namespace, server: &Namespace, address: Ipv4Addr) -> Result<f64> {
    let pinned = || {
        pin()?;
        take_turns(client, server, address)
    };
    let outcome = thread::scope(|scope| scope.spawn(pinned).join());
    outcome.map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
}

fn take_turns(client: &Namespace, server: &Namespace, address: Ipv4Addr) -> Result<f64> {
    let receiver = server.inside(|| UdpSocket::bind((address, 0)))?.with_context(|| format!("listen on {address}"))?;
    let to = receiver.local_addr()?;
    let sender = client.inside(|| -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(to)?;
        Ok(socket)
    })??;
    let mut turns = Turns::new(&sender, &receiver);
    turns.take_for(WARM_UP)?;
    let begin = Instant::now();
    let datagrams = turns.take_for(SAMPLE)?;
    Ok(datagrams as f64 / begin.elapsed().as_secs_f64() / 1e3)
}

/// The two ends of a run of datagrams.
struct Turns<'a> {
    sender: &'a UdpSocket,
    receiver: &'a UdpSocket,
    sent: MultiHeaders<SockaddrIn>,
    received: MultiHeaders<SockaddrIn>,
}

impl<'a> Turns<'a> {
    fn new(sender: &'a UdpSocket, receiver: &'a UdpSocket) -> Self {
        let headers = || MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        Self { sender, receiver, sent: headers(), received: headers() }
    }

    /// Number of datagrams that arrived.
    fn take_for(&mut self, limit: Duration) -> Result<u64> {
        let (begin, mut arrived) = (Instant::now(), 0);
        while begin.elapsed() < limit {
            self.send()?;
            arrived += self.receive()?;
        }
        Ok(arrived)
    }

    fn send(&mut self) -> Result<()> {
        let message = [7u8; MESSAGE_BYTES];
        let slices = [[IoSlice::new(&message)]; BATCH];
        let nowhere_else = [None; BATCH];
        let fd = self.sender.as_raw_fd();
        sendmmsg(fd, &mut self.sent, &slices, nowhere_else, [], MsgFlags::empty()).context("send datagrams")?;
        Ok(())
    }

    /// Receives all available datagrams. Delivery on one core ends before the sending call returns.
    fn receive(&mut self) -> Result<u64> {
        let mut buffers = [[0u8; MESSAGE_BYTES]; BATCH];
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let fd = self.receiver.as_raw_fd();
        match recvmmsg(fd, &mut self.received, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => Ok(messages.count() as u64),
            Err(nix::errno::Errno::EAGAIN) => Ok(0),
            Err(errno) => Err(errno).context("receive datagrams"),
        }
    }
}
