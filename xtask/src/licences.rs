// SPDX-License-Identifier: Apache-2.0
//! Licence lines: every source file names its licence in an `SPDX-License-Identifier` line.
//!
//! The line is the first one, or the second after `#!`. Files of other kinds (documents, manifests, data) have their
//! licence in `REUSE.toml`; the texts are in `LICENSES`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::sources::relative;

/// Beginning of the licence line, after the comment mark.
const TAG: &str = "SPDX-License-Identifier: ";

/// The licence of all source files except those of [`KERNEL_FOLDER`].
const LICENCE: &str = "Apache-2.0";

/// Source of the eBPF programs, which use helpers that the kernel offers to programs under the GPL only.
const KERNEL_FOLDER: &str = "crates/fabric/bpf/";

/// The licence of the files in [`KERNEL_FOLDER`].
const KERNEL_LICENCE: &str = "GPL-2.0-only OR Apache-2.0";

/// Folders without source files of this repository.
const LEFT_OUT: &[&str] = &[".git", "target", "corpus", "__pycache__"];

/// Extensions of source files; files without one are sources if they begin with `#!`.
const EXTENSIONS: &[&str] = &["rs", "c", "h", "def", "py", "sh", "tf"];

/// One finding for each source file without the right licence line.
pub fn findings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    visit(root, root, &mut found)?;
    found.sort();
    Ok(found)
}

fn visit(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            if !LEFT_OUT.contains(&entry.file_name().to_string_lossy().as_ref()) {
                visit(root, &path, found)?;
            }
        } else if kind.is_file() && may_be_source(&path) {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found.extend(finding(&relative(root, &path), &String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(())
}

fn may_be_source(path: &Path) -> bool {
    path.extension().is_none_or(|extension| EXTENSIONS.contains(&extension.to_string_lossy().as_ref()))
}

fn finding(shown: &str, text: &str) -> Option<String> {
    let is_script = text.starts_with("#!") && !text.starts_with("#![");
    if Path::new(shown).extension().is_none() && !is_script {
        return None;
    }
    let wanted = if shown.starts_with(KERNEL_FOLDER) { KERNEL_LICENCE } else { LICENCE };
    let line = text.lines().nth(usize::from(is_script)).unwrap_or_default();
    let named = line.split_once(TAG).map(|(_, named)| named.trim_end_matches("*/").trim());
    (named != Some(wanted)).then(|| format!("{shown}: no line `{TAG}{wanted}` at the beginning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_the_licence_of_its_folder_is_found() {
        let apache = "// SPDX-License-Identifier: Apache-2.0\n//! Words.\n";
        assert_eq!(finding("crates/types/src/a.rs", apache), None);
        assert_eq!(
            finding("crates/fabric/bpf/a.h", apache).as_deref(),
            Some(
                "crates/fabric/bpf/a.h: no line `SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0` at the beginning"
            )
        );
        let dual = "/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */\n#pragma once\n";
        assert_eq!(finding("crates/fabric/bpf/a.h", dual), None);
        assert!(finding("a.rs", "//! Words.\n").is_some());
    }

    #[test]
    fn scripts_have_the_line_after_the_first_one() {
        assert_eq!(finding("scripts/a", "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n"), None);
        assert!(finding("scripts/a", "#!/bin/bash\necho\n").is_some());
        assert_eq!(finding("LICENSE", "Words.\n"), None);
    }
}
