// SPDX-License-Identifier: Apache-2.0
//! Compiles the pause program and the init program, which the node carries inside itself.

use std::path::Path;
use std::process::Command;
use std::{env, io};

const COMPILERS: [&str; 3] = ["cc", "clang", "clang-19"];

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../../pause");
    let out = env::var("OUT_DIR").expect("set by cargo");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-env-changed=CC");
    for program in ["pause", "init"] {
        build(&folder.join(format!("{program}.c")), &Path::new(&out).join(program));
    }
}

fn build(source: &Path, out: &Path) {
    let wanted = env::var("CC").ok();
    for compiler in wanted.iter().map(String::as_str).chain(COMPILERS) {
        match compile(compiler, source, out) {
            Ok(()) => return,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
            Err(fault) => panic!("{compiler} could not compile {}: {fault}", source.display()),
        }
    }
    panic!("no C compiler found for {} (tried {COMPILERS:?}); install clang or gcc", source.display());
}

fn compile(compiler: &str, source: &Path, out: &Path) -> io::Result<()> {
    let flags = ["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie", "-Os", "-s"];
    let more = ["-Wall", "-Wextra", "-Werror", "-fno-asynchronous-unwind-tables", "-Wl,--build-id=none"];
    let done = Command::new(compiler).args(flags).args(more).arg("-o").arg(out).arg(source).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned()))
}
