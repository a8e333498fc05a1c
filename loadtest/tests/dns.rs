//! `baton-load dns` over its sockets: both transports, and clients that talk nonsense.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::Duration;

use super::Server;

/// Only turns a wait that would never end into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// `a.x.test MX IN`, number 7.
const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x01x\x04test\0\0\x0f\0\x01";

fn udp(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn tcp(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask_udp(socket: &UdpSocket, packet: &[u8]) -> Vec<u8> {
    socket.send(packet).unwrap();
    let mut answer = vec![0; 1500];
    let bytes = socket.recv(&mut answer).unwrap();
    answer.truncate(bytes);
    answer
}

fn ask_tcp(stream: &mut TcpStream, packet: &[u8]) -> Vec<u8> {
    let length = (packet.len() as u16).to_be_bytes();
    // In two pieces, since TCP may bring it so.
    stream.write_all(&length[..1]).unwrap();
    stream.write_all(&[&length[1..], packet].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// Number 7, authoritative, no error, two answers: the MX records.
fn assert_is_whole(answer: &[u8]) {
    assert_eq!(answer[..12], *b"\0\x07\x85\0\0\x01\0\x02\0\0\0\0", "{}", answer.escape_ascii());
    assert!(answer.windows(4).any(|part| part == b"\x03mx0"));
}

#[test]
fn one_port_answers_over_udp_and_tcp() {
    let server = Server::start("dns", &[]);
    assert_is_whole(&ask_udp(&udp(&server), QUERY));
    let mut stream = tcp(&server);
    for _ in 0..3 {
        assert_is_whole(&ask_tcp(&mut stream, QUERY));
    }
    let summary = server.end();
    assert!(summary.starts_with("dns: queries=4 udp=1 tcp=3 mx=4 a=0 "), "{summary}");
}

#[test]
fn it_answers_for_ever() {
    let server = Server::start("dns", &[]);
    let socket = udp(&server);
    for _ in 0..40_000 {
        assert_is_whole(&ask_udp(&socket, QUERY));
    }
    assert_is_whole(&ask_tcp(&mut tcp(&server), QUERY));
    let summary = server.end();
    assert!(summary.starts_with("dns: queries=40001 udp=40000 tcp=1 "), "{summary}");
}

#[test]
fn what_is_truncated_comes_whole_over_tcp() {
    let server = Server::start("dns", &["--truncate", "1000", "--delay-ms", "5"]);
    let short = ask_udp(&udp(&server), QUERY);
    assert_eq!(short[..12], *b"\0\x07\x87\0\0\x01\0\0\0\0\0\0");
    assert_is_whole(&ask_tcp(&mut tcp(&server), QUERY));
    let summary = server.end();
    assert!(summary.contains(" truncated=1 "), "{summary}");
}

#[test]
fn bad_packets_do_not_end_it() {
    let server = Server::start("dns", &[]);
    let socket = udp(&server);
    for bad in [&b""[..], b"x", &[0xff; 4096], &[0; 9000], &QUERY[..QUERY.len() - 1]] {
        socket.send(bad).unwrap();
    }
    // The first real answer comes after some FORMERR, which have numbers of their own.
    let mut answer =
        ask_udp(&socket, b"\0\x08\x01\0\0\x01\0\0\0\0\0\0\x01a\x01x\x04test\0\0\x0f\0\x01");
    while answer[1] != 8 {
        answer = vec![0; 1500];
        let bytes = socket.recv(&mut answer).unwrap();
        answer.truncate(bytes);
    }
    assert_eq!(answer[3] & 15, 0);

    for bad in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\xff\xff\0",
        b"\0\x01x",
        &[b"\0\x0c", &[0xff; 12][..]].concat(),
    ] {
        let mut stream = tcp(&server);
        stream.write_all(bad).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
    assert_is_whole(&ask_tcp(&mut tcp(&server), QUERY));
    let summary = server.end();
    assert!(summary.contains(" malformed=8"), "{summary}");
}
