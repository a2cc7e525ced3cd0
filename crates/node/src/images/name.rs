// SPDX-License-Identifier: Apache-2.0
//! Image names as users write them.

use oci_spec::distribution::Reference;

use crate::{Fault, ImageFault};

/// The full form of an image name: `nginx` is `docker.io/library/nginx:latest`.
pub(crate) fn parse(written: &str) -> Result<Reference, Fault> {
    let parsed = Reference::try_from(written);
    parsed.map_err(|cause| ImageFault::Name { written: written.to_owned(), cause }.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_take_their_full_form() {
        let full = |text: &str| parse(text).map(|name| name.whole()).unwrap();
        assert_eq!(full("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(full("library/nginx:1"), "docker.io/library/nginx:1");
        assert_eq!(full("team/app"), "docker.io/team/app:latest");
        assert_eq!(full("127.0.0.1:5000/app:2"), "127.0.0.1:5000/app:2");
        let digest = format!("app@sha256:{}", "a".repeat(64));
        assert_eq!(full(&digest), format!("docker.io/library/{digest}"));
        assert!(parse("Not A Name").is_err());
    }
}
