//! `baton-load idle`: how many sessions a relay can hold that do nothing, and at what price.
//!
//! Plain blocking sockets, one after the other: nothing here is under load but the relay's memory.
//! Source addresses are spread over 127.0.0.2 to 127.0.0.250, because one pair of addresses has
//! only as many ports as the kernel hands out (28,000).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;
use crate::kernel;
use crate::loopback::Loopback;
use crate::process::{self, Memory};

const CONNECT_MAX: Duration = Duration::from_secs(10);
const REPLY_MAX: Duration = Duration::from_secs(10);
/// Descriptors besides the sessions'.
const OTHER_FILES: u64 = 64;
/// First and last host part of the source addresses in 127.0.0.0/24.
const SOURCES: std::ops::RangeInclusive<u8> = 2..=250;

#[derive(clap::Args)]
pub struct Args {
    /// The relay
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2525")]
    to: Loopback,
    /// Sessions to hold
    #[arg(long, value_name = "N")]
    sessions: usize,
    /// How long to hold them
    #[arg(long, value_name = "S", default_value_t = 5)]
    seconds: u64,
    /// Process whose memory is measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// Fails unless all sessions were established and stayed open.
pub fn run(idle: &Args) -> Result<ExitCode, Error> {
    let before = idle.pid.map(process::memory).transpose()?;
    let start = Instant::now();
    let held = Held::open(idle.to, idle.sessions, || true);
    println!(
        "idle: established={} of {} in {:.2} s",
        held.sessions.len(),
        idle.sessions,
        start.elapsed().as_secs_f64()
    );
    if let Some(error) = &held.refused {
        println!("idle: stopped by: {error}");
    }
    std::thread::sleep(Duration::from_secs(idle.seconds));
    let open = held.still_open();
    println!("idle: still_open={open} after {} s", idle.seconds);
    if let (Some(pid), Some(before)) = (idle.pid, before) {
        println!("{}", memory_line(&before, &process::memory(pid)?, open));
    }
    Ok(if open == idle.sessions { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sessions that said `EHLO` and then nothing, until dropped.
pub struct Held {
    pub sessions: Vec<TcpStream>,
    /// What kept the rest from being opened.
    pub refused: Option<io::Error>,
}

impl Held {
    /// Opens up to so many, one after the other, as long as `go_on` says so.
    pub fn open(to: Loopback, wanted: usize, go_on: impl Fn() -> bool) -> Held {
        let limit = kernel::raise_open_files(wanted as u64 + OTHER_FILES);
        if limit < wanted as u64 + OTHER_FILES {
            eprintln!("baton-load: only {limit} open files are allowed here");
        }
        let mut held = Held { sessions: Vec::with_capacity(wanted), refused: None };
        while held.sessions.len() < wanted && held.refused.is_none() && go_on() {
            match open(to, held.sessions.len()) {
                Ok(stream) => held.sessions.push(stream),
                Err(error) => held.refused = Some(error),
            }
        }
        held
    }

    pub fn still_open(&self) -> usize {
        self.sessions.iter().filter(|stream| is_open(stream)).count()
    }
}

fn memory_line(before: &Memory, after: &Memory, sessions: usize) -> String {
    let each = |before: u64, after: u64| (after as f64 - before as f64) / sessions.max(1) as f64;
    format!(
        "idle: rss_before={} rss_after={} bytes_per_session={:.0} (anonymous {:.0})",
        before.resident,
        after.resident,
        each(before.resident, after.resident),
        each(before.anonymous, after.anonymous),
    )
}

/// One session, up to the answer to `EHLO`.
fn open(to: Loopback, number: usize) -> io::Result<TcpStream> {
    let address = to.address();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V4(_) = address {
        socket.bind(&SocketAddr::new(source(number), 0).into())?;
    }
    socket.connect_timeout(&address.into(), CONNECT_MAX)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(REPLY_MAX))?;
    let mut lines = BufReader::with_capacity(1024, &stream);
    expect(&mut lines, "220")?;
    (&stream).write_all(b"EHLO idle.test\r\n")?;
    expect(&mut lines, "250")?;
    drop(lines);
    Ok(stream)
}

fn source(number: usize) -> IpAddr {
    let hosts = usize::from(SOURCES.end() - SOURCES.start()) + 1;
    let host = SOURCES.start() + (number % hosts) as u8;
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, host))
}

/// Reads a whole reply, which must have this code.
fn expect(lines: &mut impl BufRead, code: &str) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        let read = lines.read_line(&mut line).map_err(name_silence)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line.starts_with(code) {
            let text = format!("{code} was expected: {:?}", line.trim_end());
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// A read that timed out is reported as one that would block, which says nothing to a person.
fn name_silence(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let text = format!("no reply for {} s", REPLY_MAX.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, text)
        }
        _ => error,
    }
}

/// Open means that there is nothing to read: neither an end nor a farewell.
fn is_open(stream: &TcpStream) -> bool {
    let quiet = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    matches!(quiet, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
