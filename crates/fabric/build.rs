// SPDX-License-Identifier: Apache-2.0
//! Compiles the data path: `bpf/fabric.bpf.c` and `bpf/endpoint.bpf.c` for the kernel with clang, `bpf/verdict_host.c`
//! and `bpf/fabric_host.c` for the tests with the host's compiler, and the Rust side of `bpf/drop_reasons.def`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = out.join("fabric.bpf.o");
    compile_program("bpf/fabric.bpf.c", &object);
    compile_program("bpf/endpoint.bpf.c", &out.join("endpoint.bpf.o"));
    fs::write(out.join("fabric.build"), build_of(&object)).expect("write fabric.build");
    let port = out.join("port.bpf.o");
    compile_program("bpf/port.bpf.c", &port);
    fs::write(out.join("port.build"), build_of(&port)).expect("write port.build");
    cc::Build::new()
        .file("bpf/verdict_host.c")
        .file("bpf/fabric_host.c")
        .include("bpf")
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        // Millions of packets are judged in tests, also in debug builds.
        .opt_level(2)
        .warnings(true)
        .compile("berth_verdict");
    for (name, kind, what) in [
        ("drop_reasons", "DropReason", "the fabric dropped a packet"),
        ("port_drop_reasons", "PortDropReason", "a port of a bridge dropped a frame"),
    ] {
        let list = format!("bpf/{name}.def");
        let list = fs::read_to_string(&list).unwrap_or_else(|e| panic!("read {list}: {e}"));
        fs::write(out.join(format!("{name}.rs")), drop_reasons(&list, kind, what)).expect("write the drop reasons");
    }
}

/// `$CLANG` if set, otherwise the newest tested clang, otherwise any.
fn clang() -> String {
    if let Ok(chosen) = env::var("CLANG") {
        return chosen;
    }
    let found = ["clang-19", "clang"].into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    found.map_or_else(
        || panic!("no clang found: it compiles the eBPF data path. Run: apt install clang-19"),
        str::to_owned,
    )
}

fn compile_program(source: &str, object: &Path) {
    let clang = clang();
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let output = Command::new(&clang)
        .args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3"])
        .arg(format!("-I/usr/include/{arch}-linux-gnu"))
        .args(["-c", source, "-o"])
        .arg(object)
        .output()
        .unwrap_or_else(|e| panic!("could not run {clang}: {e}. Run: apt install clang-19"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{clang} could not compile {source} (needs linux-libc-dev):\n{said}");
}

/// Identifies this build's program.
fn build_of(object: &Path) -> String {
    let hash = Sha256::digest(fs::read(object).expect("read the compiled program"));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The enum of the name `kind` and its tables, from lines of the form `REASON(name, "text")`.
fn drop_reasons(list: &str, kind: &str, what: &str) -> String {
    let reasons: Vec<(&str, &str)> =
        list.lines().filter_map(|line| line.strip_prefix("REASON(")?.strip_suffix("\")")?.split_once(", \"")).collect();
    let mut code = format!(
        "/// Why {what}.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum {kind} {{\n",
    );
    for (name, text) in &reasons {
        let _ = writeln!(code, "    /// {}{}.\n    {},", text[..1].to_uppercase(), &text[1..], camel(name));
    }
    let _ = write!(code, "}}\n\nimpl {kind} {{\n    /// Every reason, in the order of the counters.\n");
    let _ = writeln!(code, "    pub const ALL: [Self; {}] = [", reasons.len());
    for (name, _) in &reasons {
        let _ = writeln!(code, "        Self::{},", camel(name));
    }
    code.push_str("    ];\n\n");
    for (method, doc, pick) in
        [("as_str", "The name in metrics and flow logs", 0), ("text", "A sentence for people", 1)]
    {
        let _ = writeln!(code, "    /// {doc}.\n    pub fn {method}(self) -> &'static str {{\n        match self {{");
        for (name, text) in &reasons {
            let value = if pick == 0 { name } else { text };
            let _ = writeln!(code, "            Self::{} => {value:?},", camel(name));
        }
        code.push_str("        }\n    }\n\n");
    }
    code.push_str("}\n");
    code
}

fn camel(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
