// SPDX-License-Identifier: Apache-2.0
//! Device access in a cgroup of version 2: a program takes the place of version 1's file.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

/// `BPF_PROG_LOAD`, `BPF_PROG_ATTACH`; `BPF_PROG_TYPE_CGROUP_DEVICE`, `BPF_CGROUP_DEVICE`.
const LOAD: i64 = 5;
const ATTACH: i64 = 8;
const PROGRAM_TYPE: u32 = 15;
const ATTACH_TYPE: u32 = 6;

/// `r0 = 0; exit`: admits nothing.
const PROGRAM: [u64; 2] = [0xb7, 0x95];
const LICENSE: &std::ffi::CStr = c"GPL";

/// The head of the kernel's `union bpf_attr` for loading a program.
#[repr(C)]
struct Load {
    program_type: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The head of the kernel's `union bpf_attr` for attaching a program.
#[repr(C)]
struct Attach {
    cgroup: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Forbids processes of a cgroup (a folder of a version 2 hierarchy), and of cgroups inside it, to use or create
/// devices.
///
/// # Errors
/// The folder is no such cgroup, or the right to load programs is missing.
pub fn deny_devices(cgroup: &Path) -> io::Result<()> {
    let cgroup = File::open(cgroup)?;
    let mut load = Load {
        program_type: PROGRAM_TYPE,
        instructions: PROGRAM.len() as u32,
        program: PROGRAM.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    let loaded = call(LOAD, &mut load)?;
    let descriptor = i32::try_from(loaded).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for this call, and no other value owns it.
    #[allow(unsafe_code)]
    let program = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let (cgroup, program) = (cgroup.as_raw_fd() as u32, program.as_raw_fd() as u32);
    let mut attach = Attach { cgroup, program, attach_type: ATTACH_TYPE, flags: 0 };
    call(ATTACH, &mut attach).map(drop)
}

/// The system call `bpf`; `T` is the part of its argument that the command reads.
fn call<T>(command: i64, argument: &mut T) -> io::Result<i64> {
    // SAFETY: the argument is as long as said, and what it points to lives longer than the call.
    #[allow(unsafe_code)]
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(argument), size_of::<T>()) };
    Ok(Errno::result(done)?)
}
