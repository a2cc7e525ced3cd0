// SPDX-License-Identifier: Apache-2.0
//! The program on a device: a clsact qdisc and one filter, which stay when this process ends.
//!
//! Must be called inside the namespace of the device.

use aya::programs::SchedClassifier;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, TcHandle, qdisc_add_clsact,
};

use crate::fault::Fault;

const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Attaches the program to the ingress of `device`, replacing one that is attached already. Each packet meets the old
/// program or the new one, never none.
pub fn attach(program: &mut SchedClassifier, device: &str) -> Result<(), Fault> {
    let fault = |step: &'static str, source: std::io::Error| Fault::Attach { step, device: device.to_owned(), source };
    let fresh = match qdisc_add_clsact(device) {
        Ok(()) => true,
        Err(TcError::NetlinkError(e)) if e.raw_os_error() == Some(libc::EEXIST) => false,
        Err(e) => return Err(fault("add the clsact qdisc", std::io::Error::other(e))),
    };
    let options = TcAttachOptions::Netlink(NlOptions { priority: PRIORITY, handle: HANDLE, classid: None });
    let attached = if fresh {
        program.attach_with_options(device, TcAttachType::Ingress, options)
    } else {
        replace(program, device).or_else(|_| program.attach_with_options(device, TcAttachType::Ingress, options))
    };
    let id = attached.map_err(|e| fault("attach the program", std::io::Error::other(e)))?;
    let link = program.take_link(id).map_err(|e| fault("keep the program attached", std::io::Error::other(e)))?;
    // Dropping the link would detach the filter, which must outlive this process.
    std::mem::forget(link);
    Ok(())
}

fn replace(
    program: &mut SchedClassifier,
    device: &str,
) -> Result<aya::programs::tc::SchedClassifierLinkId, aya::programs::ProgramError> {
    let link = SchedClassifierLink::attached(device, TcAttachType::Ingress, PRIORITY, HANDLE, None)
        .map_err(|e| aya::programs::ProgramError::TcError(TcError::IoError(e)))?;
    program.attach_to_link(link)
}
