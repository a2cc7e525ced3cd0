//! Development tasks: `cargo xtask gen [--check]`.

mod gen_model;
mod gen_names;
mod gen_operations;
mod gen_shapes;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("gen") => gen_shapes::run(args.iter().any(|arg| arg == "--check")),
        _ => anyhow::bail!("usage: cargo xtask gen [--check]"),
    }
}
