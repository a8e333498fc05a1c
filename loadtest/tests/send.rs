//! `send` with profiles into `sink`; `send` under TLS and logged in, into a server made here.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustls::crypto::ring;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{PROGRAM, Scratch, Server, run};

/// Standard error and exit code of a run that is not to succeed.
fn refusal(arguments: &[&str]) -> (String, i32) {
    let output = Command::new(PROGRAM).arg("send").args(arguments).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

#[test]
fn a_day_of_mail_arrives_whole_by_every_way() {
    let scratch = Scratch::new("day");
    let (sent, delivered) = (scratch.path("sent"), scratch.path("delivered"));
    let sink = Server::start("sink", &["--ledger", &delivered]);
    let ways: [&[&str]; 3] =
        [&[], &["--chunking", "--pipelining"], &["--arrivals=poisson", "--rate=3000"]];
    for (number, way) in ways.iter().enumerate() {
        let run_id = format!("way{number}");
        let common = ["send", "--to", &sink.address, "--messages", "60", "--sessions", "4"];
        let more = ["--profile", "hosting-day", "--ledger", &sent, "--run-id", &run_id];
        let (output, code) = run(&[&common[..], &more[..], way].concat());
        assert_eq!(code, 0, "{output}");
        assert!(output.contains("\"accepted\":60,"), "{output}");
        let since = if number == 2 { "due" } else { "final-dot" };
        assert!(output.contains(&format!("\"latency_from\":\"{since}\"")), "{output}");
    }
    let summary = sink.end();
    assert!(summary.starts_with("sink: messages=180 "), "{summary}");
    assert!(summary.contains(" corrupt=0 "), "{summary}");
    let balance = ["balance", "--sent", &sent, "--delivered", &delivered, "--duplicates-max", "0"];
    let (output, code) = run(&balance);
    assert_eq!(code, 0, "{output}");
}

#[test]
fn addresses_outside_ascii_arrive_as_they_are() {
    let scratch = Scratch::new("utf8");
    let (delivered, folder) = (scratch.path("delivered"), scratch.path("mail"));
    let profile = scratch.path("utf8.toml");
    let day = include_str!("../profiles/hosting-day.toml");
    let share = "smtputf8-permille = 3\n";
    assert!(day.contains(share));
    fs::write(&profile, day.replace(share, "smtputf8-permille = 1000\n")).unwrap();
    let sink = Server::start("sink", &["--ledger", &delivered, "--dump", &folder]);
    for way in [&[][..], &["--chunking"]] {
        let common = ["send", "--to", &sink.address, "--messages", "20", "--sessions", "2"];
        let more = ["--profile", &profile, "--recipients", "2", "--senders", "5"];
        assert_eq!(run(&[&common[..], &more[..], way].concat()).1, 0);
    }
    let summary = sink.end();
    assert!(summary.starts_with("sink: messages=40 recipients=80 corrupt=0 "), "{summary}");
    for line in fs::read_to_string(&delivered).unwrap().lines() {
        assert!(line.contains("-größe@d") && line.ends_with("\tok"), "{line}");
    }
    let envelope = fs::read_to_string(format!("{folder}/000001.env")).unwrap();
    assert!(envelope.lines().next().unwrap().ends_with(" BODY=8BITMIME SMTPUTF8"), "{envelope}");
}

#[test]
fn the_same_seed_sends_the_same_mail() {
    let scratch = Scratch::new("seed");
    let folder = scratch.path("mail");
    let sink = Server::start("sink", &["--dump", &folder]);
    for seed in ["7", "7", "8"] {
        let common = ["send", "--to", &sink.address, "--messages", "1", "--sessions", "1"];
        let more = ["--profile", "hosting-day", "--run-id", "same", "--seed", seed];
        assert_eq!(run(&[&common[..], &more[..]].concat()).1, 0);
    }
    sink.end();
    let body = |number| {
        let mail = fs::read_to_string(format!("{folder}/00000{number}.eml")).unwrap();
        mail.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let envelope = |number| fs::read_to_string(format!("{folder}/00000{number}.env")).unwrap();
    assert!(body(1) == body(2) && envelope(1) == envelope(2));
    assert!(body(1) != body(3) && envelope(1) != envelope(3));
}

#[test]
fn a_broken_profile_is_told_of_with_every_place() {
    let scratch = Scratch::new("broken");
    let profile = scratch.path("broken.toml");
    fs::write(&profile, "why = 1\n[mail]\nsizes = []\nspeed = 3\n").unwrap();
    let (told, code) = refusal(&["--messages", "1", "--profile", &profile]);
    assert_eq!(code, 2);
    assert!(told.contains(&format!("{profile}:1:7: `why`: invalid type")), "{told}");
    assert!(told.contains(&format!("\n{profile}:3:9: `sizes` is not a list")), "{told}");
    assert!(told.contains(&format!("\n{profile}:4:1: unknown key `speed`")), "{told}");
    let (told, code) = refusal(&["--messages", "1", "--profile", "friday"]);
    assert_eq!(code, 2);
    assert!(told.contains("no profile \"friday\"; allowed: "), "{told}");
}

/// How a server of these tests differs from one that does all it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Oddity {
    None,
    Clear,
    Implicit,
    /// Says more than it should before TLS begins.
    Injects,
    RefusesLogin,
    Silent,
}

/// What a connection was like for the server.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    handshake: Option<Handshake>,
    logins: Vec<String>,
    messages: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Handshake {
    New,
    Resumed,
}

/// A server that takes so many connections, one after the other.
struct Peer {
    address: String,
    seen: JoinHandle<Vec<Seen>>,
}

impl Peer {
    fn start(connections: usize, oddity: Oddity) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = server_config();
        let seen = thread::spawn(move || {
            let connection = |_| {
                let mut seen = Seen::default();
                let (tcp, _) = listener.accept().unwrap();
                // A client that leaves in the middle is seen for what it did until then.
                let _ = serve(tcp, &config, oddity, &mut seen);
                seen
            };
            (0..connections).map(connection).collect()
        });
        Peer { address, seen }
    }

    fn seen(self) -> Vec<Seen> {
        self.seen.join().unwrap()
    }
}

fn server_config() -> Arc<ServerConfig> {
    let certified = rcgen::generate_simple_self_signed(["elsewhere.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

fn serve(
    tcp: TcpStream,
    config: &Arc<ServerConfig>,
    oddity: Oddity,
    seen: &mut Seen,
) -> io::Result<()> {
    let mut clear = BufReader::new(tcp);
    match oddity {
        Oddity::Silent => return clear.read_to_end(&mut Vec::new()).map(|_| ()),
        Oddity::Clear => {
            clear.get_mut().write_all(b"220 ready\r\n")?;
            return talk(clear, oddity, seen);
        }
        Oddity::Implicit => {}
        Oddity::None | Oddity::Injects | Oddity::RefusesLogin => {
            clear.get_mut().write_all(b"220 ready\r\n")?;
            let (mut hello, mut command) = (String::new(), String::new());
            clear.read_line(&mut hello)?;
            clear.get_mut().write_all(b"250-ready\r\n250 STARTTLS\r\n")?;
            clear.read_line(&mut command)?;
            assert_eq!((&*hello, &*command), ("EHLO load.test\r\n", "STARTTLS\r\n"));
            let injected: &[u8] =
                if oddity == Oddity::Injects { b"250 AUTH PLAIN\r\n" } else { b"" };
            clear.get_mut().write_all(&[b"220 go\r\n", injected].concat())?;
        }
    }
    let connection = ServerConnection::new(config.clone()).unwrap();
    let mut tls = StreamOwned::new(connection, clear.into_inner());
    tls.conn.complete_io(&mut tls.sock)?;
    seen.handshake = Some(match tls.conn.handshake_kind().unwrap() {
        HandshakeKind::Resumed => Handshake::Resumed,
        _ => Handshake::New,
    });
    if oddity == Oddity::Implicit {
        tls.write_all(b"220 ready\r\n")?;
    }
    talk(BufReader::new(tls), oddity, seen)
}

/// SMTP as far as `send` speaks it.
fn talk<S: Read + Write>(
    mut stream: BufReader<S>,
    oddity: Oddity,
    seen: &mut Seen,
) -> io::Result<()> {
    let mut line = String::new();
    let mut content = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words = line.trim_end();
        let answer: &[u8] = match words.split(' ').next().unwrap() {
            "EHLO" => b"250-ready\r\n250-AUTH LOGIN PLAIN\r\n250 8BITMIME\r\n",
            "AUTH" => {
                seen.logins.push(words.strip_prefix("AUTH PLAIN ").unwrap().to_owned());
                if oddity == Oddity::RefusesLogin { b"535 no\r\n" } else { b"235 in\r\n" }
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go\r\n")?;
                content.clear();
                while !content.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut content)?;
                }
                assert!(content.starts_with("X-Baton-Load: "));
                seen.messages += 1;
                b"250 taken\r\n"
            }
            "QUIT" => return stream.get_mut().write_all(b"221 bye\r\n"),
            _ => b"250 ok\r\n",
        };
        stream.get_mut().write_all(answer)?;
    }
}

/// tim:secret, tom:secret (RFC 4616).
const TIM: &str = "AHRpbQBzZWNyZXQ=";
const TOM: &str = "AHRvbQBzZWNyZXQ=";

#[test]
fn sessions_under_tls_are_resumed_and_logged_in() {
    for (tls, oddity) in [("starttls", Oddity::None), ("implicit", Oddity::Implicit)] {
        let peer = Peer::start(3, oddity);
        let common = ["send", "--to", &peer.address, "--messages", "3", "--sessions", "1"];
        // Longer than a record of TLS.
        let more = ["--new-connections", "--size", "70000", "--tls", tls, "--auth", "tim:secret"];
        let (output, code) = run(&[&common[..], &more[..]].concat());
        assert_eq!(code, 0, "{output}");
        let seen = |handshake| Seen {
            handshake: Some(handshake),
            logins: vec![TIM.to_owned()],
            messages: 1,
        };
        let [new, resumed, again] =
            [Handshake::New, Handshake::Resumed, Handshake::Resumed].map(seen);
        assert_eq!(peer.seen(), [new, resumed, again]);
    }
}

#[test]
fn sessions_log_in_as_the_users_of_a_file_in_turn() {
    let scratch = Scratch::new("logins");
    let file = scratch.path("logins");
    fs::write(&file, "tim:secret\ntom:secret\n").unwrap();
    // One connection at a time is served, and each is over after its message.
    let peer = Peer::start(2, Oddity::Clear);
    let common = ["send", "--to", &peer.address, "--messages", "2", "--sessions", "2"];
    let more = ["--new-connections", "--auth-file", &file, "--auth-in-clear"];
    let (output, code) = run(&[&common[..], &more[..]].concat());
    assert_eq!(code, 0, "{output}");
    let mut logins: Vec<String> = peer.seen().into_iter().flat_map(|seen| seen.logins).collect();
    logins.sort();
    assert_eq!(logins, [TIM, TOM]);
    fs::write(&file, "tim:secret\ntom\n").unwrap();
    let (told, code) = refusal(&["--messages", "1", "--auth-file", &file, "--auth-in-clear"]);
    assert_eq!(code, 2);
    assert!(told.contains(&format!("{file}:2: not a user and a password")), "{told}");
}

#[test]
fn a_password_stays_out_of_clear_text() {
    // Nobody listens there: nothing was sent.
    let (told, code) = refusal(&["--to", "127.0.0.1:1", "--messages", "1", "--auth", "tim:secret"]);
    assert_eq!(code, 2);
    assert!(told.contains("--auth would send a password in clear text"), "{told}");
}

#[test]
fn what_a_server_does_wrong_before_mail_is_told() {
    let login = ["--tls", "starttls", "--auth", "tim:secret"];
    let table: [(Oddity, &[&str], &str); 5] = [
        (Oddity::RefusesLogin, &login, "it answered AUTH with 535"),
        (Oddity::Injects, &login, "it said more in clear text after STARTTLS"),
        (Oddity::Clear, &login, "it does not offer STARTTLS"),
        (Oddity::Clear, &["--tls", "implicit"], ""),
        (Oddity::Silent, &["--stall-s", "1"], "it is not ready in time"),
    ];
    for (oddity, arguments, expected) in table {
        let peer = Peer::start(1, oddity);
        let common = ["--to", &peer.address, "--messages", "1", "--sessions", "1"];
        let (told, code) = refusal(&[&common[..], arguments].concat());
        assert_eq!(code, 2, "{told}");
        let start = format!("baton-load: cannot connect to {}: {expected}", peer.address);
        assert!(told.starts_with(&start), "{told}");
        assert_eq!(peer.seen()[0].messages, 0);
    }
}
