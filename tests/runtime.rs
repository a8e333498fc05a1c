//! The world that the relay runs in, as far as it can be seen without mail: what start-up checks
//! say, certificates, connections plain and under TLS, and the process from start to stop.
//!
//! Everything on loopback with ports that the kernel chose; every wait has an event at its end.

use baton::config::{Config, Listener};
use baton::runtime::{self, Balance, Bound, Doors, Facts, RuntimeStream};
use baton::shard::world::Stream;
use glommio::net::TcpListener;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::env;
use std::fs;
use std::future::poll_fn;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("baton-runtime-{}-{number}", id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(text: &str) -> Config {
    Config::parse("test", text, "relay.test").unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn executor() -> LocalExecutor {
    LocalExecutorBuilder::new(Placement::Unbound).make().expect("an executor")
}

// ---- what the machine must allow

fn machine() -> Facts {
    Facts {
        kernel: "6.1.0-18-amd64".into(),
        uring_disabled: Some(0),
        uring: Ok(()),
        locked_bytes: 8 << 20,
        files: 1 << 20,
        cores: vec![0, 2, 3],
    }
}

fn errno(code: i32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(code))
}

#[test]
fn each_failed_check_names_its_remedy() {
    let rows: [(&str, Facts, &str, &[&str]); 9] = [
        ("", Facts { kernel: "5.4.0-150".into(), ..machine() }, "", &["5.4.0-150", "Linux 5.8"]),
        (
            "",
            Facts { uring: errno(libc::EPERM), uring_disabled: Some(2), ..machine() },
            "",
            &["kernel.io_uring_disabled = 2", "sysctl"],
        ),
        ("", Facts { uring: errno(libc::EPERM), ..machine() }, "", &["seccomp", "container"]),
        ("", Facts { uring: errno(libc::ENOSYS), ..machine() }, "", &["CONFIG_IO_URING"]),
        ("", Facts { uring: errno(libc::ENOMEM), ..machine() }, "", &["LimitMEMLOCK"]),
        ("", Facts { uring: errno(libc::EMFILE), ..machine() }, "", &["cannot open an io_uring"]),
        ("", Facts { locked_bytes: 65_536, ..machine() }, "", &["only 64 KiB", "LimitMEMLOCK"]),
        ("", Facts { files: 256, ..machine() }, "", &["only 256 files", "LimitNOFILE"]),
        ("shards = 4", machine(), "", &["shards = 4", "3 core(s)", "auto"]),
    ];
    for (text, facts, _, expected) in rows {
        let said = runtime::check(&config(text), &facts).expect_err("a failure").to_string();
        for words in expected {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn a_fit_machine_gives_a_core_to_each_shard() {
    let plan = |text: &str, facts: Facts| runtime::check(&config(text), &facts).expect("a plan");
    assert_eq!(plan("", machine()).cores, [0, 2, 3]);
    assert_eq!(plan("shards = 2", machine()).cores, [0, 2]);
    assert!(plan("", machine()).warnings.is_empty());
    // The ring opens although the knob says "for the privileged": then we are.
    assert!(plan("", Facts { uring_disabled: Some(1), ..machine() }).warnings.is_empty());
    assert_eq!(plan("", Facts { kernel: "custom".into(), ..machine() }).cores.len(), 3);
    let tight = plan("[limits]\nsessions_max = 5000", Facts { files: 4096, ..machine() });
    let said = tight.warnings.iter().map(ToString::to_string).collect::<String>();
    assert!(said.contains("sessions_max = 5000") && said.contains("LimitNOFILE"), "{said}");
}

#[test]
fn this_machine_is_fit() {
    let facts = Facts::gather();
    assert!(facts.uring.is_ok() && !facts.cores.is_empty(), "{facts:?}");
    runtime::check(&config("shards = 1"), &facts).expect("what runs the tests can run baton");
}

#[test]
fn a_source_needs_an_address_of_this_machine() {
    let sources = |address: &str| {
        let text = format!("[[source]]\nname = \"out-1\"\naddress = [\"{address}\"]\n");
        runtime::check_sources(&config(&text).sources)
    };
    runtime::check_sources(&config("").sources).expect("the system chooses");
    sources("127.0.0.9").expect("loopback");
    // For documentation (RFC 5737): on no machine.
    let said = sources("192.0.2.1").expect_err("not here").to_string();
    for words in ["[[source]] \"out-1\"", "192.0.2.1", "ip address", "`address`"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_data_folder_is_made_or_refused() {
    let folder = Folder::new();
    let new = folder.0.join("a/b");
    runtime::check_data_dir(&new).expect("made");
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&new).unwrap().count(), 0);
    runtime::check_data_dir(&new).expect("still there");
    let file = folder.write("file", "");
    let said = runtime::check_data_dir(&file.join("x")).expect_err("no folder").to_string();
    assert!(said.contains("data_dir") && said.contains("name a folder"), "{said}");
}

#[test]
fn rings_are_cooperative() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut version = release.split(['.', '-']).map(|part| part.trim().parse::<u32>());
    let version = (version.next().unwrap().unwrap(), version.next().unwrap().unwrap());
    drop(executor());
    // Kernels before 5.19 do not know the flag and must still give rings.
    assert_eq!(runtime::cooperative_rings() > 0, version >= (5, 19), "{version:?}");
}

// ---- listeners

fn listener(address: &str) -> Vec<Listener> {
    config(&format!("[[listener]]\naddress = \"{address}\"")).listeners
}

#[test]
fn all_shards_share_the_port_that_was_free() {
    let bound = runtime::bind(&listener("127.0.0.1:0"), 3).expect("three sockets");
    let [Bound { address, sockets }] = &bound[..] else { panic!("one listener") };
    assert_ne!(address.port(), 0);
    for socket in sockets {
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(*address));
    }
}

#[test]
fn a_port_that_cannot_be_had_is_explained() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = runtime::bind(&listener(&address), 1).expect_err("taken").to_string();
    assert!(said.contains(&address) && said.contains("ss -ltnp"), "{said}");

    // Another instance shares its port with whoever asks to share; we do not ask.
    let first = runtime::bind(&listener("127.0.0.1:0"), 2).unwrap();
    first[0].sockets[0].listen(1).unwrap();
    let address = first[0].address.to_string();
    let said = runtime::bind(&listener(&address), 2).expect_err("taken").to_string();
    assert!(said.contains("ss -ltnp"), "{said}");

    let said = runtime::bind(&listener("192.0.2.1:0"), 1).expect_err("not ours").to_string();
    assert!(said.contains("no interface has this address"), "{said}");
}

// ---- certificates

struct Pair {
    certificate: String,
    key: String,
}

fn pair(name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

fn tls_config(data_dir: &Path, files: Option<(&Path, &Path)>) -> Config {
    let lines = files.map_or(String::new(), |(certificate, key)| {
        format!("certificate = \"{}\"\nkey = \"{}\"", certificate.display(), key.display())
    });
    let data_dir = data_dir.display();
    config(&format!("data_dir = \"{data_dir}\"\n[[listener]]\ntls = \"starttls\"\n{lines}"))
}

#[test]
fn certificates_from_files_are_taken_or_refused_with_the_file_and_the_reason() {
    let folder = Folder::new();
    let (ours, other) = (pair("relay.test"), pair("other.test"));
    let certificate = folder.write("cert.pem", &ours.certificate);
    let key = folder.write("key.pem", &ours.key);
    let both = folder.write("both.pem", &format!("{}{}", ours.key, ours.certificate));
    let other_key = folder.write("other.pem", &other.key);
    let empty = folder.write("empty.pem", "\n");
    let broken = folder.write("broken.pem", &ours.certificate.replace("-----END", "-----"));
    let missing = folder.0.join("missing.pem");
    let open = |certificate: &Path, key: &Path| {
        Doors::open(&tls_config(&folder.0, Some((certificate, key)))).map(|doors| {
            assert!(doors.acceptor(0).is_some() && doors.acceptor(1).is_none());
        })
    };
    open(&certificate, &key).expect("two files");
    open(&both, &both).expect("one file for both");
    let rows: [(&Path, &Path, &[&str]); 6] = [
        (&missing, &key, &["missing.pem", "cannot read", "No such file"]),
        (&empty, &key, &["empty.pem", "holds no certificate"]),
        (&key, &key, &["key.pem", "holds no certificate"]),
        (&broken, &key, &["broken.pem"]),
        (&certificate, &certificate, &["cert.pem", "holds no private key"]),
        (&certificate, &other_key, &["cert.pem", "other.pem", "does not belong"]),
    ];
    for (certificate, key, expected) in rows {
        let said = open(certificate, key).expect_err("refused").to_string();
        for words in expected {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn the_self_made_certificate_stays_the_same_and_to_itself() {
    let folder = Folder::new();
    let config = tls_config(&folder.0, None);
    Doors::open(&config).expect("made");
    let path = folder.0.join("tls/self-signed.pem");
    let made = fs::read(&path).expect("kept");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.0.join("tls")).unwrap().count(), 1);
    Doors::open(&config).expect("read back");
    assert_eq!(fs::read(&path).unwrap(), made);
}

#[test]
fn a_listener_without_tls_makes_no_certificate() {
    let folder = Folder::new();
    let text = format!("data_dir = \"{}\"\n[[listener]]\ntls = \"none\"", folder.0.display());
    let doors = Doors::open(&config(&text)).unwrap();
    assert!(doors.acceptor(0).is_none());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

// ---- connections

async fn read(stream: &mut RuntimeStream, into: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, into)).await
}

async fn write_all(stream: &mut RuntimeStream, mut from: &[u8]) -> io::Result<()> {
    while !from.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, from)).await?;
        from = &from[written..];
    }
    Ok(())
}

async fn echo(stream: &mut RuntimeStream) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        let length = read(stream, &mut buffer).await?;
        if length == 0 {
            poll_fn(|cx| stream.poll_close(cx)).await?;
            return Ok(total);
        }
        total += length as u64;
        write_all(stream, &buffer[..length]).await?;
    }
}

/// Sends `bytes` from a thread of its own while it reads back as many.
fn exchange(mut out: impl Write + Send + 'static, mut back: impl Read, bytes: Vec<u8>) {
    let sent = bytes.clone();
    let sender = thread::spawn(move || {
        out.write_all(&sent).unwrap();
        out.flush().unwrap();
        out
    });
    let mut received = vec![0; bytes.len()];
    back.read_exact(&mut received).unwrap();
    assert!(received == bytes, "what came back differs");
    drop(sender.join().unwrap());
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 / 8) as u8).collect()
}

/// Accepts one connection on a shard's executor and gives it to `serve`.
async fn accept_one<T>(
    listener: TcpListener,
    doors: Arc<Doors>,
    serve: impl AsyncFnOnce(RuntimeStream) -> T,
) -> T {
    let tcp = listener.accept().await.unwrap();
    let seat = Balance::new(1).seat(0);
    serve(RuntimeStream::accepted(tcp, doors, seat).unwrap()).await
}

fn doors(text: &str) -> Arc<Doors> {
    Doors::open(&config(text)).unwrap()
}

const NO_TLS: &str = "[[listener]]\ntls = \"none\"";

#[test]
fn a_plain_stream_carries_both_ways_and_closes() {
    executor().run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || {
            let tcp = TcpStream::connect(address).unwrap();
            let mut back = tcp.try_clone().unwrap();
            exchange(tcp.try_clone().unwrap(), &tcp, pattern(3 << 20));
            tcp.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(back.read(&mut [0]).unwrap(), 0, "the end of the stream");
            tcp.local_addr().unwrap()
        });
        let served = accept_one(listener, doors(NO_TLS), async |mut stream| {
            assert_eq!((stream.local(), stream.tls()), (address, None));
            assert_eq!(echo(&mut stream).await.unwrap(), 3 << 20);
            stream.peer()
        });
        assert_eq!(served.await, client.join().unwrap());
    });
}

#[test]
fn a_tls_stream_carries_both_ways_and_closes() {
    let folder = Folder::new();
    let doors = Doors::open(&tls_config(&folder.0, None)).unwrap();
    let pem = fs::read(folder.0.join("tls/self-signed.pem")).unwrap();
    for (versions, version) in
        [(vec![&rustls::version::TLS13], "TLSv1.3"), (vec![&rustls::version::TLS12], "TLSv1.2")]
    {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let doors = Arc::clone(&doors);
        executor().run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = thread::spawn(move || {
                let name = ServerName::try_from("relay.test").unwrap();
                let session = ClientConnection::new(Arc::new(client), name).unwrap();
                let tcp = TcpStream::connect(address).unwrap();
                let mut tls = StreamOwned::new(session, tcp);
                // More than the socket buffers hold, written before anything is read back.
                let bytes = pattern(64 * 1024);
                for _ in 0..16 {
                    tls.write_all(&bytes).unwrap();
                    let mut back = vec![0; bytes.len()];
                    tls.read_exact(&mut back).unwrap();
                    assert!(back == bytes, "what came back differs");
                }
                tls.conn.send_close_notify();
                tls.flush().unwrap();
                assert_eq!(tls.read(&mut [0]).unwrap(), 0, "a close that was announced");
            });
            let served = accept_one(listener, doors, async |stream| {
                let mut stream = stream.accept_tls(0).await.unwrap();
                let session = stream.tls().expect("TLS is on");
                assert_eq!(session.version, version);
                assert!(session.cipher.starts_with("TLS_"), "{session:?}");
                assert_eq!(echo(&mut stream).await.unwrap(), 1 << 20);
            });
            served.await;
            client.join().unwrap();
        });
    }
}

#[test]
fn tls_that_is_not_offered_or_not_spoken_is_an_error() {
    let folder = Folder::new();
    let secure = Doors::open(&tls_config(&folder.0, None)).unwrap();
    for (doors, kind) in
        [(doors(NO_TLS), io::ErrorKind::Unsupported), (secure, io::ErrorKind::InvalidData)]
    {
        executor().run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.write_all(b"EHLO there\r\n").unwrap();
            let served = accept_one(listener, doors, async |stream| stream.accept_tls(0).await);
            assert_eq!(served.await.err().expect("no handshake").kind(), kind);
        });
    }
}

#[test]
fn connect_reaches_binds_its_source_and_brings_errors() {
    executor().run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let source: IpAddr = "127.0.0.7".parse().unwrap();
        let tcp = runtime::connect(address, Some(source)).await.unwrap();
        let mut stream = RuntimeStream::connected(tcp, doors(NO_TLS)).unwrap();
        assert_eq!((stream.local().ip(), stream.peer()), (source, address));
        let (mut accepted, _) = listener.accept().unwrap();
        write_all(&mut stream, b"hello").await.unwrap();
        let mut heard = [0; 5];
        accepted.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");

        let deaf = deaf("127.0.0.1:0");
        let address = deaf.local_addr().unwrap().as_socket().unwrap();
        let refused = runtime::connect(address, None).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let foreign: IpAddr = "192.0.2.1".parse().unwrap();
        let foreign = runtime::connect(address, Some(foreign)).await.expect_err("not ours");
        assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn connect_speaks_ipv6() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else { return };
    executor().run(async {
        let address = listener.local_addr().unwrap();
        let source: IpAddr = "::1".parse().unwrap();
        let tcp = runtime::connect(address, Some(source)).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), address);
        let deaf = deaf("[::1]:0");
        let address = deaf.local_addr().unwrap().as_socket().unwrap();
        let refused = runtime::connect(address, None).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    });
}

/// Has a port and does not listen on it. A port that was given back might be somebody's by now.
fn deaf(address: &str) -> Socket {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

#[test]
fn a_stream_that_always_has_data_lets_others_run() {
    executor().run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(&[7; 1000]).unwrap();
        drop(client);
        accept_one(listener, doors(NO_TLS), async |mut stream| {
            let (mut pauses, mut total) = (0, 0);
            let mut octet = [0; 1];
            while total < 1000 {
                poll_fn(|cx| {
                    let polled = stream.poll_read(cx, &mut octet);
                    pauses += usize::from(polled.is_pending());
                    polled
                })
                .await
                .unwrap();
                total += 1;
            }
            assert!(pauses >= 1000 / 17, "{pauses} pauses in {total} reads");
        })
        .await;
    });
}

// ---- the process

struct Relay {
    child: Child,
    lines: Vec<String>,
    folder: Folder,
}

impl Relay {
    /// Starts baton and waits until it listens or ends.
    fn start(more: &str) -> Relay {
        Relay::start_under(&[], more)
    }

    /// The same with a program before it, which gets baton and its arguments as its own.
    fn start_under(before: &[&str], more: &str) -> Relay {
        let folder = Folder::new();
        let data = folder.0.join("data");
        let text = format!(
            "data_dir = \"{}\"\nshards = 1\ndurability = \"os\"\n{more}\n\
             [dns]\nservers = [\"127.0.0.1:1\"]\n\
             [admin]\naddress = \"127.0.0.1:0\"\n[log]\npath = \"{}\"\n",
            data.display(),
            folder.0.join("events.jsonl").display(),
        );
        let path = folder.write("baton.toml", &text);
        let mut words = before.iter().copied().chain([env!("CARGO_BIN_EXE_baton")]);
        let mut child = Command::new(words.next().expect("baton at least"))
            .args(words)
            .args(["run", "--config"])
            .arg(path)
            .stderr(Stdio::piped())
            .spawn()
            .expect("baton starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = Vec::new();
        for line in stderr.lines() {
            lines.push(line.unwrap());
            if lines.last().is_some_and(|line| line.starts_with("listening ")) {
                break;
            }
        }
        Relay { child, lines, folder }
    }

    fn address(&self) -> SocketAddr {
        let line = self.lines.iter().find_map(|line| line.strip_prefix("listening "));
        line.unwrap_or_else(|| panic!("{:?}", self.lines)).parse().expect("an address")
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ANY_PORT: &str = "[[listener]]\naddress = \"127.0.0.1:0\"";

#[test]
fn it_starts_greets_and_stops_when_asked() {
    for signal in ["-TERM", "-INT"] {
        let mut relay = Relay::start(ANY_PORT);
        let mut client = BufReader::new(TcpStream::connect(relay.address()).unwrap());
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        assert!(line.starts_with("220 "), "{line}");
        relay.signal(signal);
        let status = relay.wait();
        assert_eq!(status.code(), Some(0), "{signal} {:?}", relay.lines);
        line.clear();
        client.read_line(&mut line).unwrap();
        assert!(line.starts_with("421 "), "{line}");
        let log = fs::read_to_string(relay.folder.0.join("events.jsonl")).unwrap();
        for event in ["queue-recovered", "server-started", "server-stopping", "server-stopped"] {
            assert!(log.contains(event), "{event}: {log}");
        }
    }
}

/// A file that may not grow stands in for a disk that fails: every write after that is an error.
#[test]
fn a_failed_store_answers_4xx_and_ends_the_process() {
    let peer = "[[peer]]\nnetwork = \"127.0.0.0/8\"\naccount = \"local\"";
    let route = "[[route]]\ndomain = \"*\"\nvia = [\"127.0.0.1:9\"]";
    let mut relay = Relay::start_under(
        &["sh", "-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""],
        &format!("{ANY_PORT}\n{peer}\n{route}"),
    );
    let mut client = BufReader::new(TcpStream::connect(relay.address()).unwrap());
    let body = format!("Subject: large\r\n\r\n{}.\r\n", "0123456789\r\n".repeat(200_000));
    for (ask, expected) in [
        ("", "220 "),
        ("HELO client.test\r\n", "250 "),
        ("MAIL FROM:<a@x.test>\r\n", "250 "),
        ("RCPT TO:<b@y.test>\r\n", "250 "),
        ("DATA\r\n", "354 "),
        (&body, "451 4.3.0"),
    ] {
        client.get_mut().write_all(ask.as_bytes()).unwrap();
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        assert!(line.starts_with(expected), "{line}");
    }
    assert_eq!(relay.wait().code(), Some(1));
    let log = fs::read_to_string(relay.folder.0.join("events.jsonl")).unwrap();
    assert!(log.contains("commit-failed") && !log.contains("server-stopped"), "{log}");
}

#[test]
fn a_taken_port_is_found_before_anything_is_opened() {
    let first = Relay::start(ANY_PORT);
    let more = format!("[[listener]]\naddress = \"{}\"", first.address());
    let mut second = Relay::start(&more);
    assert_eq!(second.wait().code(), Some(1));
    let said = second.lines.join("\n");
    assert!(said.contains("cannot listen on") && said.contains("ss -ltnp"), "{said}");
    assert_eq!(fs::read_dir(second.folder.0.join("data")).unwrap().count(), 0);
}

#[test]
fn a_command_line_without_sense_or_configuration_exits_with_2() {
    let folder = Folder::new();
    let bad = folder.write("bad.toml", "shards = 0\nhostnam = \"x\"\n");
    let bad = bad.to_str().unwrap();
    for (arguments, expected) in [
        (vec!["check", "--config", bad], "bad.toml:1:"),
        (vec!["run", "--check", "--config", bad], "bad.toml:2:"),
        (vec!["run", "--config", bad], "bad.toml:1:"),
        (vec!["check", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (vec!["config", "explain", "hostnam"], "did you mean `hostname`"),
        (vec!["fly"], "unrecognized subcommand"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_baton")).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn check_looks_for_the_files_that_are_named() {
    let folder = Folder::new();
    let there = folder.write("there.pem", "who uses it will see");
    let there = there.to_str().unwrap();
    let wrong = folder.write("wrong.toml", "[[provider]]\nname = \"a\"\n[source]\n");
    let right = folder.write("right.toml", "[[provider]]\nname = \"a\"\nmx = [\"*.a.test\"]\n");
    let text = |certificate: &str, token: &str, providers: &Path| {
        format!(
            "[[listener]]\ncertificate = \"{certificate}\"\nkey = \"{there}\"\n\
            [admin]\ntoken_file = \"{token}\"\n\
            [delivery]\nproviders_file = \"{}\"\n",
            providers.display()
        )
    };
    let check = |command: &[&str], text: &str| {
        let file = folder.write("baton.toml", text);
        let arguments = command.iter().map(AsRef::as_ref).chain([file.as_os_str()]);
        let output = Command::new(env!("CARGO_BIN_EXE_baton")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = check(&["check", "--config"], &text(there, there, &right));
    assert_eq!(code, Some(0), "{said}");

    let nowhere = Path::new("/nowhere/providers.toml");
    let none = text("/nowhere/x.pem", folder.0.to_str().unwrap(), nowhere);
    for command in [&["check", "--config"][..], &["run", "--check", "--config"]] {
        let (code, said) = check(command, &none);
        assert_eq!(code, Some(2), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        let parts = [
            "baton.toml:2:15: `certificate` is \"/nowhere/x.pem\", which cannot be read: No such",
            "baton.toml:5:14: `token_file` is ",
            "baton.toml:7:18: `providers_file` is \"/nowhere/providers.toml\", which cannot",
        ];
        assert_eq!(lines.len(), parts.len(), "{said}");
        assert!(lines.iter().zip(parts).all(|(line, part)| line.contains(part)), "{said}");
    }

    // Its own problems are where they are.
    let (code, said) = check(&["check", "--config"], &text(there, there, &wrong));
    assert_eq!((code, said.lines().count()), (Some(2), 2), "{said}");
    assert!(said.contains("wrong.toml:1:1: `mx` is missing in [[provider]]"), "{said}");
    assert!(said.contains("wrong.toml:3:2: unknown key `source` in this file"), "{said}");
}

#[test]
fn a_file_of_providers_replaces_the_shipped_ones() {
    let folder = Folder::new();
    let own = folder.write("own.toml", "[[provider]]\nname = \"own\"\nmx = [\"*.a.test\"]\n");
    let text = format!(
        "hostname = \"box.test\"\n[[provider]]\nname = \"first\"\nmx = [\"in.a.test\"]\n\
        [delivery]\nproviders_file = \"{}\"\n",
        own.display()
    );
    let config = Config::load(&folder.write("baton.toml", &text), "box").expect("both files");
    let names: Vec<&str> = config.providers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["first", "own"]);
    assert!(config.provider(&["aspmx.l.google.com"]).is_none());
}

#[test]
fn check_and_explain_answer_on_standard_output() {
    let folder = Folder::new();
    let good = folder.write("good.toml", "shards = 1\n");
    for (arguments, expected) in [
        (vec!["check", "--config", good.to_str().unwrap()], "no problems found"),
        (vec!["config", "explain", "limits.hops_max"], "Received header fields"),
        (vec!["config", "explain"], "data_dir"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_baton")).args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
