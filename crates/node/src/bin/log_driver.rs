//! The log driver alone, for the kernel suite: there the program that calls the library is the test itself.

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "log-driver" => berth_node::log_driver_main(rest),
        _ => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "usage: berth-log-driver log-driver FILE")),
    }
}
