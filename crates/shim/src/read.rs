// SPDX-License-Identifier: Apache-2.0
//! Reading of bytes that someone else decides: every reader says how much it takes. `cargo xtask check` refuses reads
//! without a limit elsewhere in the node and the shim.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// All bytes of `source`. Fails with [`io::ErrorKind::FileTooLarge`] when there are more than `limit`.
pub fn read_at_most(source: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let (bytes, is_whole) = read_first(source, limit)?;
    if is_whole { Ok(bytes) } else { Err(too_large(limit)) }
}

/// The first bytes of `source`, up to `limit`, and whether these are all. What follows is not read.
pub fn read_first(mut source: impl Read, limit: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    source.by_ref().take(limit as u64).read_to_end(&mut bytes)?;
    let mut next = [0u8; 1];
    let is_whole = bytes.len() < limit || read_one(&mut source, &mut next)? == 0;
    Ok((bytes, is_whole))
}

/// All bytes of a regular file, with the failures of [`read_at_most`]. Does not wait on pipes and devices.
pub fn file_at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_at_most(regular_file(path)?, limit)
}

/// Opens a file for reading; anything but a regular file is refused.
pub fn regular_file(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// The error of a source that holds more than `limit` bytes.
pub fn too_large(limit: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than the limit of {limit} bytes"))
}

fn read_one(source: &mut impl Read, next: &mut [u8; 1]) -> io::Result<usize> {
    loop {
        match source.read(next) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_source_without_an_end_is_cut_or_refused_at_the_limit() {
        assert_eq!(read_at_most(&b"four"[..], 4).unwrap(), b"four");
        assert_eq!(read_at_most(&b"five!"[..], 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_at_most(io::repeat(0), 1 << 16).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_first(&b"four"[..], 4).unwrap(), (b"four".to_vec(), true));
        assert_eq!(read_first(io::repeat(b'x'), 3).unwrap(), (b"xxx".to_vec(), false));
        assert_eq!(read_first(&b""[..], 0).unwrap(), (Vec::new(), true));
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, file) = (dir.path().join("pipe"), dir.path().join("file"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(file_at_most(&pipe, 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        std::fs::write(&file, "word").unwrap();
        assert_eq!(file_at_most(&file, 4).unwrap(), b"word");
        assert_eq!(file_at_most(&file, 3).unwrap_err().to_string(), "longer than the limit of 3 bytes");
    }
}
