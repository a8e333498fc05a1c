//! The connection under an SMTP client: a socket, or a socket under TLS.
//!
//! An enum and not a trait object, so that clear text, which most loads are, costs no call more.
//! Any certificate is good enough, and its signature is not looked at: this is a load generator for
//! relays under test on this host, whose certificates nobody vouches for, and it has nothing to
//! hide. Sessions are resumed as real clients do (RFC 8446 2.2): one store for all connections of
//! a run. TLS 1.2 and 1.3 with rustls' defaults over ring. Never falls back to clear text.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWriteExt};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use glommio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::loopback::Loopback;

/// All connections of a run go to one host; tickets come in pairs.
const SESSIONS_REMEMBERED_MAX: usize = 256;

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tls {
    /// Never
    None,
    /// After STARTTLS (RFC 3207)
    Starttls,
    /// With the first byte (RFC 8314)
    Implicit,
}

/// What connections are secured with.
#[derive(Clone)]
pub enum Security {
    Clear,
    StartTls(TlsConnector),
    Implicit(TlsConnector),
}

impl Security {
    pub fn new(tls: Tls) -> Security {
        match tls {
            Tls::None => Security::Clear,
            Tls::Starttls => Security::StartTls(connector()),
            Tls::Implicit => Security::Implicit(connector()),
        }
    }
}

pub enum Stream {
    Clear(TcpStream),
    /// Boxed: a TLS session is many times larger than a socket.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The handshake.
    pub async fn secured(self, connector: &TlsConnector, to: Loopback) -> io::Result<Stream> {
        let Stream::Clear(tcp) = self else {
            return Err(io::Error::other("TLS is on already"));
        };
        let name = ServerName::IpAddress(to.address().ip().into());
        Ok(Stream::Tls(Box::new(connector.connect(name, tcp).await?)))
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Clear(tcp) => tcp.write_all(bytes).await,
            Stream::Tls(tls) => {
                tls.write_all(bytes).await?;
                // What rustls keeps back is not on its way.
                tls.flush().await
            }
        }
    }

    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Clear(tcp) => Pin::new(tcp).poll_read(cx, into),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, into),
        }
    }
}

fn connector() -> TlsConnector {
    let provider = Arc::new(ring::default_provider());
    let any = Arc::new(AnyCertificate { provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(any)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_REMEMBERED_MAX);
    TlsConnector::from(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
