// SPDX-License-Identifier: Apache-2.0
//! The initial files of a target: inputs in `corpus/TARGET/`, words in `dictionary/TARGET.dict` (libFuzzer's format).

use std::fs;
use std::io;
use std::path::PathBuf;

/// The folder of a target's inputs.
pub fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of a target by file name, in order.
pub fn inputs(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        found.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    found.sort();
    Ok(found)
}

/// The words of a target; none when it has no dictionary.
pub fn words(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dictionary").join(format!("{target}.dict"));
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(word).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Parses `"..."`, in which quotation marks and backslashes are escaped, and unprintable bytes are `\xNN`.
fn word(line: &str) -> Option<Vec<u8>> {
    let inside = line.trim().strip_prefix('"')?.strip_suffix('"')?;
    let (mut word, mut rest) = (Vec::new(), inside.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => match rest.next()? {
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    word.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                }
                escaped => word.push(escaped),
            },
            byte => word.push(byte),
        }
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_read_as_libfuzzer_reads_them() {
        assert_eq!(super::word(r#""a\"\\b\xc3\xa9""#), Some("a\"\\bé".as_bytes().to_vec()));
        assert_eq!(super::word("# a remark"), None);
    }
}
