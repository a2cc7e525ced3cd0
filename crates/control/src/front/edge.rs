// SPDX-License-Identifier: Apache-2.0
//! The entrance of regional endpoints: connections that `berth edge` relays, each with its origin in a frame before it.
//!
//! TLS ends here, so that the edge holds no key. Callers are strangers from inside VPCs: the limits count by interface, and
//! the door is that of the AWS API alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use berth_shapes::Service;
use berth_state::records::Single;
use berth_types::edge::{Announced, FRAME_BYTES_MAX};
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Source;
use super::doors::Doors;
use super::{Front, serve};

/// From the connection to its complete frame. The edge sends it at once.
const FRAME_LIMIT: Duration = Duration::from_secs(5);
/// Pause after the kernel could not give a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for requests in progress when the server stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Serves relayed connections until `stop`.
pub(crate) async fn serve_endpoints(
    front: Arc<Front>,
    listener: UnixListener,
    tls: TlsAcceptor,
    stop: CancellationToken,
) {
    let doors = Arc::new(Doors::new(Vec::new(), "regional-endpoint", front.clone()));
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a relayed connection; raise the limit of open files if this repeats");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (front, doors, tls, stop, cut) = (front.clone(), doors.clone(), tls.clone(), stop.clone(), cut.clone());
        tasks.spawn(async move {
            if let Err(error) = relayed(&front, doors, stream, tls, (&stop, &cut)).await {
                tracing::debug!(%error, "a relayed connection ended early");
            }
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
        cut.cancel();
        tasks.wait().await;
    }
}

async fn relayed(
    front: &Front,
    doors: Arc<Doors>,
    mut stream: UnixStream,
    tls: TlsAcceptor,
    (stop, cut): (&CancellationToken, &CancellationToken),
) -> io::Result<()> {
    let read = tokio::time::timeout(FRAME_LIMIT, announced(&mut stream));
    let announced = read.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let service = match endpoint(front, announced.endpoint) {
        Endpoint::OfAll => None,
        Endpoint::Of(service) => Some(service),
        // Nothing answers at the other addresses of the range.
        Endpoint::Nothing => return Ok(()),
    };
    let source = Source { address: IpAddr::V4(*announced.source.ip()), eni: announced.eni, service };
    let Some(visit) = front.connections.admit(source, cut) else { return Ok(()) };
    let tls = announced.is_tls.then_some(tls);
    visit.cut.run_until_cancelled(serve::attend(doors, stream, tls, &visit, stop)).await;
    front.connections.leave(&visit);
    Ok(())
}

async fn announced(stream: &mut UnixStream) -> io::Result<Announced> {
    let bytes = stream.read_u32().await? as usize;
    if bytes > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {bytes} bytes")));
    }
    let mut frame = vec![0; bytes];
    stream.read_exact(&mut frame).await?;
    Ok(serde_json::from_slice(&frame)?)
}

/// What answers at an address of the range.
enum Endpoint {
    OfAll,
    Of(Service),
    Nothing,
}

fn endpoint(front: &Front, address: Ipv4Addr) -> Endpoint {
    let snapshot = front.published.snapshot();
    let Some(world) = snapshot.vpc().world.get(&Single) else { return Endpoint::Nothing };
    if address == world.endpoint_of_all() {
        return Endpoint::OfAll;
    }
    let named = world.endpoints_of_services().find(|(of, _)| *of == address);
    let service = named.and_then(|(_, name)| Service::ALL.iter().find(|service| service.name() == name));
    service.map_or(Endpoint::Nothing, |service| Endpoint::Of(*service))
}

/// Names and addresses of every regional endpoint, for its certificate: AWS's own names, and those that Berth adds.
pub(crate) fn names(region: &str, front: &Front) -> Vec<String> {
    let own = [format!("aws.{region}.internal"), format!("*.aws.{region}.internal")];
    let of_services = Service::ALL.iter().flat_map(|service| {
        let name = service.name();
        [format!("{name}.{region}.amazonaws.com"), format!("{name}.amazonaws.com")]
    });
    let snapshot = front.published.snapshot();
    let world = snapshot.vpc().world.get(&Single);
    let addresses = world.into_iter().flat_map(|world| {
        let services = world.endpoints_of_services().map(|(address, _)| address);
        services.chain([world.endpoint_of_all()]).collect::<Vec<_>>()
    });
    own.into_iter().chain(of_services).chain(addresses.map(|address| address.to_string())).collect()
}
