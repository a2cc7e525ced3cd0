// SPDX-License-Identifier: Apache-2.0
//! Docker's notation in members of a container definition: paths with options, links with aliases, security options.
//! The texts were checked when the definition was registered.

use berth_types::mode::ContainerLink;

/// A path in a container and how it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerPath<'a> {
    /// Absolute.
    pub path: &'a str,
    /// The options ask for a mount without write permission.
    pub read_only: bool,
}

impl<'a> ContainerPath<'a> {
    /// Splits a path from the options behind a colon.
    pub fn of(text: &'a str) -> Self {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        Self { path, read_only: options.split(',').any(|option| option == "ro") }
    }
}

/// Reads a link, `name` or `name:alias`.
pub fn read_link(text: &str) -> ContainerLink {
    let (container, alias) = text.split_once(':').unwrap_or((text, text));
    ContainerLink { container: container.to_owned(), alias: alias.to_owned() }
}

/// True for the option that lets a container make all system calls, in either spelling of Docker.
pub fn is_seccomp_unconfined(option: &str) -> bool {
    matches!(option, "seccomp=unconfined" | "seccomp:unconfined")
}
