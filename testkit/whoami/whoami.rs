// SPDX-License-Identifier: Apache-2.0
//! The server inside the test images `web` and `api`: reports the peer and itself. It uses only the standard library,
//! so that `rustc -C target-feature=+crt-static` builds one static file.
//!
//! ```text
//! whoami [--name NAME] [--echo PORT]... PORT...   HTTP on every PORT, a TCP echo on every echo PORT
//! whoami idle                                     does nothing until SIGTERM
//! whoami eat MIB                                  touches that much memory, then idles
//! whoami burn THREADS SECONDS                     keeps threads busy, then says how much CPU they got, and ends
//! ```
//!
//! SIGTERM ends it with exit code 0: as process 1 of a container it must handle the signal itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// The part of every HTTP answer that describes this process.
struct Identity {
    name: String,
    id: String,
    hostname: String,
}

fn main() {
    end_on_sigterm();
    let args: Vec<String> = env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("idle") => idle(),
        Some("eat") => eat(number(args.get(1))),
        Some("burn") => burn(number(args.get(1)), number(args.get(2))),
        _ => serve(args),
    }
}

fn serve(args: Vec<String>) -> ! {
    let mut name = env::var("NAME").unwrap_or_else(|_| "whoami".into());
    let (mut http, mut echo) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--name" => name = args.next().unwrap_or_else(|| usage("--name wants a name")),
            "--echo" => echo.push(listen(args.next().as_ref())),
            _ => http.push(listen(Some(&arg))),
        }
    }
    if http.is_empty() && echo.is_empty() {
        usage("no port given");
    }
    let identity = Arc::new(Identity { name, id: fresh_id(), hostname: hostname() });
    println!("{} {} is ready", identity.name, identity.id);
    for listener in echo {
        thread::spawn(move || accept(listener, repeat));
    }
    for listener in http {
        let identity = identity.clone();
        thread::spawn(move || accept(listener, move |stream| answer(stream, &identity)));
    }
    idle()
}

fn accept(listener: TcpListener, serve: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static) {
    for stream in listener.incoming().flatten() {
        let serve = serve.clone();
        thread::spawn(move || serve(stream));
    }
}

/// One request, one answer, closed.
fn answer(mut stream: TcpStream, identity: &Identity) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut header = String::new();
    while request.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = first.split_whitespace().nth(1).unwrap_or("/").replace(['"', '\\'], "");
    let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
    println!("{} {path} from {peer}", first.split_whitespace().next().unwrap_or("?"));
    let body = format!(
        "{{\"name\":\"{}\",\"id\":\"{}\",\"hostname\":\"{}\",\"peer\":\"{peer}\",\"local\":\"{local}\",\"path\":\"{path}\"}}\n",
        identity.name, identity.id, identity.hostname
    );
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn repeat(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            n => stream.write_all(&bytes[..n])?,
        }
    }
}

fn eat(mib: usize) -> ! {
    let memory = vec![1u8; mib << 20];
    println!("holding {} bytes", std::hint::black_box(&memory).len());
    idle()
}

fn burn(threads: usize, seconds: usize) -> ! {
    let began = Instant::now();
    for _ in 0..threads {
        thread::spawn(|| {
            let mut n = 0u64;
            loop {
                n = std::hint::black_box(n.wrapping_add(1));
            }
        });
    }
    thread::sleep(Duration::from_secs(seconds as u64));
    println!("cpu_s={:.2} wall_s={:.2}", cpu_seconds(), began.elapsed().as_secs_f64());
    process::exit(0)
}

/// User and system time of this process; the kernel counts both in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn idle() -> ! {
    loop {
        thread::park();
    }
}

fn listen(port: Option<&String>) -> TcpListener {
    let port = number(port) as u16;
    TcpListener::bind(("0.0.0.0", port)).unwrap_or_else(|error| {
        eprintln!("whoami: cannot listen on port {port}: {error}");
        process::exit(1);
    })
}

fn number(text: Option<&String>) -> usize {
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| usage("a number is missing"))
}

fn usage(what: &str) -> ! {
    eprintln!(
        "whoami: {what}\nusage: whoami [--name NAME] [--echo PORT]... PORT... | idle | eat MIB | burn THREADS SECONDS"
    );
    process::exit(2);
}

fn fresh_id() -> String {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("/dev/urandom exists");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_signal: i32) {
    // SAFETY: `_exit` may be called from a signal handler.
    unsafe { _exit(0) }
}

fn end_on_sigterm() {
    const SIGTERM: i32 = 15;
    // SAFETY: the handler only calls `_exit`.
    unsafe { signal(SIGTERM, end) };
}
