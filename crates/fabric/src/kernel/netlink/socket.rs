// SPDX-License-Identifier: Apache-2.0
//! The socket itself: framing, sequence numbers, acknowledgements, interrupted dumps.

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NlasIterator, parse_string,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket as Raw, SocketAddr, protocols::NETLINK_ROUTE};

use crate::kernel::Refused;

/// The maximum size of a dump's datagram; single replies are far smaller.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of restarts of a dump because the table changed during it.
const DUMP_ATTEMPTS_MAX: u32 = 64;
const NLMSGERR_ATTR_MSG: u16 = 1;

pub(super) struct Socket {
    raw: Raw,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Replies of one dump, and whether the table changed meanwhile.
#[derive(Default)]
struct Replies {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

impl Socket {
    pub(super) fn open() -> Result<Self, Refused> {
        let mut raw = Raw::new(NETLINK_ROUTE)?;
        raw.bind_auto()?;
        raw.connect(&SocketAddr::new(0, 0))?;
        raw.set_cap_ack(true)?;
        raw.set_ext_ack(true)?;
        Ok(Self { raw, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_BYTES_MAX) })
    }

    /// Sends a request and reads until the kernel has acknowledged (`NLM_F_ACK`) or the dump is complete
    /// (`NLM_F_DUMP`); `flags` must contain one of the two.
    pub(super) fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Refused> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let replies = self.ask_once(request.clone(), flags)?;
            if !replies.interrupted {
                return Ok(replies.messages);
            }
            if attempts == DUMP_ATTEMPTS_MAX {
                return Err(Refused { errno: libc::EINTR, said: Some("the table never stood still".into()) });
            }
        }
    }

    fn ask_once(&mut self, request: RouteNetlinkMessage, flags: u16) -> Result<Replies, Refused> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags | NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.raw.send(&bytes, 0)?;
        self.replies()
    }

    fn replies(&mut self) -> Result<Replies, Refused> {
        let mut replies = Replies::default();
        loop {
            self.buffer.clear();
            match self.raw.recv(&mut self.buffer, 0) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let frame = NetlinkBuffer::new_checked(rest).map_err(Refused::garbled)?;
                let (length, flags, ours) =
                    (frame.length() as usize, frame.flags(), frame.sequence_number() == self.sequence);
                let bytes = &rest[..length];
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
                // A remainder of an abandoned request.
                if !ours {
                    continue;
                }
                replies.interrupted |= flags & NLM_F_DUMP_INTR != 0;
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map_err(Refused::garbled)?;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => replies.messages.push(inner),
                    NetlinkPayload::Done(done) if done.code == 0 => return Ok(replies),
                    NetlinkPayload::Done(done) => return Err(Refused::errno(-done.code)),
                    NetlinkPayload::Error(error) => match error.code {
                        None => return Ok(replies),
                        Some(code) => {
                            return Err(Refused { errno: -code.get(), said: sentence(flags, &error.header) });
                        }
                    },
                    NetlinkPayload::Overrun(_) => return Err(Refused::errno(libc::ENOBUFS)),
                    _ => {}
                }
            }
        }
    }
}

/// The kernel's message in an extended acknowledgement: attributes after the header of the refused request.
fn sentence(flags: u16, error: &[u8]) -> Option<String> {
    const HEADER_BYTES: usize = 16;
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    NlasIterator::new(error.get(HEADER_BYTES..)?)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .and_then(|attribute| parse_string(attribute.value()).ok())
}
