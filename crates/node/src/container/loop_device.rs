// SPDX-License-Identifier: Apache-2.0
//! Loop devices: a file as a disk. A device lets go of its file when the last mount of it ends.

use std::ffi::c_ulong;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::Fault;

/// Where the kernel hands out devices.
const CONTROL: &str = "/dev/loop-control";
/// Tries for a device, each lost to another process that attached to the free one first.
const TRIES_MAX: u32 = 100;

const LOOP_CTL_GET_FREE: c_ulong = 0x4C82;
const LOOP_CONFIGURE: c_ulong = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// A device with a file. Dropped without a mount, it lets the file go.
pub(crate) struct LoopDevice {
    path: PathBuf,
    /// Held until the mount holds the device.
    _device: File,
}

impl LoopDevice {
    /// Its path in `/dev`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Gives a file to a free device.
pub(crate) fn attach(file: &File, image: &Path) -> Result<LoopDevice, Fault> {
    for _ in 0..TRIES_MAX {
        let (path, device) = open(free()?)?;
        match configure(&device, file) {
            Ok(()) => return Ok(LoopDevice { path, _device: device }),
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(Fault::file("attach to a loop device", image)(errno.into())),
        }
    }
    Err(Fault::file("attach to a loop device", image)(io::ErrorKind::ResourceBusy.into()))
}

/// Number of a device that is free now; the kernel makes one if there is none.
pub(crate) fn free() -> Result<u32, Fault> {
    let path = Path::new(CONTROL);
    let control = File::options().read(true).write(true).open(path).map_err(|cause| {
        let cause = io::Error::new(cause.kind(), format!("{cause}; `modprobe loop` loads the kernel's loop devices"));
        Fault::file("open", path)(cause)
    })?;
    get_free(&control).map_err(|errno| Fault::file("get a loop device from", path)(errno.into()))
}

/// Opens a device; one without a node in `/dev`, where no udev makes them, gets it.
fn open(number: u32) -> Result<(PathBuf, File), Fault> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let open = || File::options().read(true).write(true).open(&path);
    let opened = match open() {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => make_node(number, &path).and_then(|()| open()),
        other => other,
    };
    let device = opened.map_err(Fault::file("open", &path))?;
    Ok((path, device))
}

fn make_node(number: u32, path: &Path) -> io::Result<()> {
    let text = fs::read_to_string(format!("/sys/block/loop{number}/dev"))?;
    let numbers =
        text.trim().split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major, minor) = numbers.ok_or(io::ErrorKind::InvalidData)?;
    match mknod(path, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, makedev(major, minor)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[allow(unsafe_code)]
fn get_free(control: &File) -> Result<u32, Errno> {
    // SAFETY: this request has no argument.
    let number = unsafe { nix::libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    Errno::result(number).map(i32::unsigned_abs)
}

#[allow(unsafe_code)]
fn configure(device: &File, file: &File) -> Result<(), Errno> {
    let info = Info {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LO_FLAGS_AUTOCLEAR,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let config = Config { fd: file.as_raw_fd().unsigned_abs(), block_size: 0, info, reserved: [0; 8] };
    // SAFETY: the kernel reads a `struct loop_config` through the pointer, which outlives the call.
    let done = unsafe { nix::libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    Errno::result(done).map(drop)
}

const _: () = assert!(size_of::<Config>() == 304);
