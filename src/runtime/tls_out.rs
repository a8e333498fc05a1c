//! The client's side of TLS: how the relay meets the hosts that it delivers to.
//!
//! Every certificate is checked against the trusted roots and the host's name; what follows from
//! the answer is the caller's choice ([`TlsTrust`]), and the answer is kept with the session so
//! that a log can tell it. Under `Any` the check comes after the handshake, from the certificates
//! of the session: a resumed one has them too, and no second handshake shows them again.
//! Under `Any` a certificate that cannot even be read (X.509 version 1, say) is good enough, and
//! never verified: clear text would be the alternative.
//!
//! TLS 1.2 and 1.3 with rustls' defaults over ring. Sessions are remembered for all shards, apart
//! for each trust: one that was agreed on under `Any` must not be resumed under `Verified`.
//! A session that is resumed under `Verified` was verified when it began, a week ago at most
//! (RFC 8446 4.6.1).
//! Never shows a certificate of ours, and never reads the roots again after the start.
//!
//! RFC 5280 (chains), RFC 9525 (names), RFC 6066 3 (SNI), RFC 8446 2.2 (resumption).

use super::tls::{TlsError, read_chain};
use crate::config::{Config, RouteTls};
use crate::shard::world::TlsTrust;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use glommio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where Debian's package `ca-certificates`, and most others', keeps the roots.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Hosts whose sessions are remembered, for each trust: some 10 KiB each with two tickets.
const HOSTS_REMEMBERED_MAX: usize = 4_096;
/// Tickets that rustls counts for a host when it divides its room.
const TICKETS_PER_HOST: usize = 8;

/// What outbound connections are secured with.
pub struct Outward {
    any: TlsConnector,
    /// Both `None` when no root is trusted.
    verified: Option<TlsConnector>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

impl Outward {
    /// Reads the trusted roots.
    pub fn open(config: &Config) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let any = Arc::new(AnyCertificate { provider: Arc::clone(&provider) });
        let any = connector(&provider, any)?;
        let Some(roots) = trusted_roots(config.delivery.trust_file.as_deref())? else {
            let mut routes = config.routes.iter();
            if let Some(route) = routes.find(|route| route.tls == RouteTls::Verify) {
                return Err(TlsError::NothingTrusted { route: route.domain.to_string() });
            }
            return Ok(Outward { any, verified: None, verifier: None });
        };
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = builder.build().expect("there are roots, and no list of revocations");
        let verified = connector(&provider, Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)?;
        Ok(Outward { any, verified: Some(verified), verifier: Some(verifier) })
    }

    /// The handshake, and whether the certificate was verified. `host` is a DNS name or an address.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        host: &str,
        trust: TlsTrust,
    ) -> io::Result<(TlsStream<TcpStream>, bool)> {
        // A root's dot belongs to the DNS, not to names in certificates.
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned()).map_err(|_| {
            let words = format!("\"{host}\" is no name that a certificate could be for");
            io::Error::new(io::ErrorKind::InvalidInput, words)
        })?;
        match (trust, &self.verified) {
            (TlsTrust::Verified, None) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "no root certificate is trusted"))
            }
            (TlsTrust::Verified, Some(verified)) => Ok((verified.connect(name, tcp).await?, true)),
            (TlsTrust::Any, _) => {
                let stream = self.any.connect(name.clone(), tcp).await?;
                let chain = stream.get_ref().1.peer_certificates().unwrap_or(&[]);
                let verified = self.verifies(chain, &name);
                Ok((stream, verified))
            }
        }
    }

    fn verifies(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        let (Some(verifier), [own, others @ ..]) = (&self.verifier, chain) else { return false };
        verifier.verify_server_cert(own, others, name, &[], UnixTime::now()).is_ok()
    }
}

fn connector(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<TlsConnector, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::NoClient { source })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(HOSTS_REMEMBERED_MAX * TICKETS_PER_HOST);
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Those of the file that the configuration names, or else of the system's where it has some.
fn trusted_roots(file: Option<&Path>) -> Result<Option<RootCertStore>, TlsError> {
    let path = match file {
        Some(path) => path,
        None if Path::new(SYSTEM_ROOTS).exists() => Path::new(SYSTEM_ROOTS),
        None => return Ok(None),
    };
    let mut roots = RootCertStore::empty();
    // A bundle may hold old roots in forms that nobody reads any more.
    let (used, _unreadable) = roots.add_parsable_certificates(read_chain(path)?);
    if used == 0 {
        return Err(TlsError::NoRoot { path: path.to_owned() });
    }
    Ok(Some(roots))
}

/// Takes every certificate, but only from who holds its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl AnyCertificate {
    /// What cannot be read has no key that a signature could be checked with. It cannot be
    /// verified later either, so nothing is believed that was not proven.
    fn excuses(certificate: &CertificateDer<'_>) -> Option<HandshakeSignatureValid> {
        let readable = ParsedCertificate::try_from(certificate).is_ok();
        (!readable).then(HandshakeSignatureValid::assertion)
    }
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        AnyCertificate::excuses(certificate)
            .map_or_else(|| verify_tls12_signature(message, certificate, signature, known), Ok)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        AnyCertificate::excuses(certificate)
            .map_or_else(|| verify_tls13_signature(message, certificate, signature, known), Ok)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
