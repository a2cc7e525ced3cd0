//! What containerd's shim starts, alone, for the kernel suite: there the program that calls the library is the test itself.

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    berth_node::helper_main(&arguments).unwrap_or_else(|| {
        Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "started by containerd's shim only"))
    })
}
