//! The certificate of the sink, and handshakes that go wrong on purpose.
//!
//! TLS 1.2 and 1.3 with rustls' defaults over ring, session tickets included, as a relay meets it
//! at large receivers. The self-made certificate is for `sink.test`, new in each run and kept
//! nowhere. Never asks a client for a certificate. RFC 3207, 8446 6.2 (alerts).

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsAcceptor;
use glommio::net::TcpStream;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::session::Handshake;
use crate::error::Error;

/// Names in the self-made certificate.
const NAMES: [&str; 2] = ["sink.test", "localhost"];
/// A fatal alert, handshake_failure, in a record of TLS 1.2.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
/// What a server says whose TLS layer is not there, though its SMTP layer believes so.
const GARBAGE: &[u8] = b"500 5.5.1 Command unrecognized\r\n";

pub fn self_made() -> Result<TlsAcceptor, Error> {
    let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned));
    let made = made.map_err(|error| wrong(format_args!("no certificate was made: {error}")))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    acceptor(vec![made.cert.der().clone()], key.into())
        .map_err(|error| wrong(format_args!("the self-made certificate is refused: {error}")))
}

pub fn from_files(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let read = |path: &Path| std::fs::read(path).map_err(Error::file(path));
    let in_file = |path: &Path, what: &dyn std::fmt::Display| {
        wrong(format_args!("{}: {what}", path.display()))
    };
    let bytes = read(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| in_file(certificate, &error))?;
    if chain.is_empty() {
        return Err(in_file(certificate, &"no certificate in PEM is in it"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?);
    let private = private.map_err(|error| in_file(key, &error))?;
    acceptor(chain, private).map_err(|error| {
        in_file(certificate, &format_args!("refused with the key {}: {error}", key.display()))
    })
}

fn wrong(what: std::fmt::Arguments<'_>) -> Error {
    Error::Certificate { what: what.to_string() }
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = ring::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Lets a handshake fail in the way asked for, and waits for the client to give up.
pub async fn spoil(mut stream: TcpStream, how: Handshake) -> io::Result<()> {
    let answer = match how {
        Handshake::Fails => ALERT,
        Handshake::Garbage => GARBAGE,
        Handshake::Closes => return Ok(()),
        Handshake::Works => unreachable!("nothing is wrong with it"),
    };
    // The client speaks first; how much of its hello this takes does not matter.
    let mut scrap = [0; 4096];
    if stream.read(&mut scrap).await? > 0 {
        stream.write_all(answer).await?;
        while stream.read(&mut scrap).await? > 0 {}
    }
    Ok(())
}
