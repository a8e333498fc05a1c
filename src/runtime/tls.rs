//! The server side of TLS: a configuration for each listener that offers it.
//!
//! TLS 1.2 and 1.3 with rustls' defaults over ring; session tickets, under one key for all shards,
//! so that a client that comes back to another shard resumes.
//! A listener without a certificate gets the self-made one, kept in `data_dir/tls/` so that it
//! stays the same over restarts: senders that pin what they saw once keep working.
//! Never asks a client for a certificate, and never reads the files again after the start.
//! The client's side is `tls_out.rs`.

use super::tls_out::Outward;
use crate::config::{Certificate, Config, ListenerTls};
use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Below `data_dir`. Certificate and key are one file, so that no crash leaves one of the two.
const SELF_MADE: &str = "tls/self-signed.pem";

/// What each listener offers, in the order of the configuration, and what connections to others
/// are secured with.
pub struct Doors {
    acceptors: Vec<Option<TlsAcceptor>>,
    outward: Outward,
}

impl Doors {
    /// Reads all certificates and the trusted roots; makes the self-made one when it is needed and
    /// not there.
    pub fn open(config: &Config) -> Result<Arc<Self>, TlsError> {
        let mut self_made: Option<TlsAcceptor> = None;
        let mut acceptors = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            let acceptor = match (listener.tls, &listener.certificate) {
                (ListenerTls::None, _) => None,
                (ListenerTls::Starttls | ListenerTls::Implicit, Some(files)) => {
                    Some(acceptor(files)?)
                }
                (ListenerTls::Starttls | ListenerTls::Implicit, None) => {
                    if self_made.is_none() {
                        let path = make_self_signed(&config.data_dir, &config.hostname)?;
                        let files = Certificate { certificate: path.clone(), key: path };
                        self_made = Some(acceptor(&files)?);
                    }
                    self_made.clone()
                }
            };
            acceptors.push(acceptor);
        }
        Ok(Arc::new(Doors { acceptors, outward: Outward::open(config)? }))
    }

    /// `None` for a listener without TLS, and for what is no listener.
    pub fn acceptor(&self, listener: usize) -> Option<&TlsAcceptor> {
        self.acceptors.get(listener)?.as_ref()
    }

    pub fn outward(&self) -> &Outward {
        &self.outward
    }
}

fn acceptor(files: &Certificate) -> Result<TlsAcceptor, TlsError> {
    let (chain, key) = (read_chain(&files.certificate)?, read_key(&files.key)?);
    let refused = |source| TlsError::Refused { files: files.clone(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(refused)?;
    config.ticketer = ring::Ticketer::new().map_err(refused)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|source| TlsError::NotPem { path: path.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.to_owned() },
        source => TlsError::NotPem { path: path.to_owned(), source },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

/// The path of the self-made certificate, made when it is not there. One that is there is kept,
/// also when the host name has changed since: nobody can verify it either way, and a client that
/// pinned it can.
fn make_self_signed(data_dir: &Path, hostname: &str) -> Result<PathBuf, TlsError> {
    let path = data_dir.join(SELF_MADE);
    if path.exists() {
        return Ok(path);
    }
    let made = rcgen::generate_simple_self_signed([hostname.to_owned()])
        .map_err(|source| TlsError::NotMade { source })?;
    let text = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    write_secret(&path, text.as_bytes())
        .map_err(|source| TlsError::Unwritable { path: path.clone(), source })?;
    Ok(path)
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("a file in a folder");
    fs::create_dir_all(folder)?;
    let draft = path.with_extension("new");
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

/// Why TLS cannot be had as it is configured.
#[derive(Debug)]
pub enum TlsError {
    Unreadable {
        path: PathBuf,
        source: io::Error,
    },
    NotPem {
        path: PathBuf,
        source: pem::Error,
    },
    NoCertificate {
        path: PathBuf,
    },
    NoKey {
        path: PathBuf,
    },
    /// Each file is well, together they are not.
    Refused {
        files: Certificate,
        source: rustls::Error,
    },
    NotMade {
        source: rcgen::Error,
    },
    /// A file of trusted roots of which none can be read.
    NoRoot {
        path: PathBuf,
    },
    /// A route verifies certificates, and there is nothing to verify them with.
    NothingTrusted {
        route: String,
    },
    /// rustls does not take our own settings for connections to others.
    NoClient {
        source: rustls::Error,
    },
    Unwritable {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unreadable { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())?;
                if source.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str("; give the user of baton the right to read it")?;
                }
                Ok(())
            }
            TlsError::NotPem { path, source } => {
                write!(f, "{} is not PEM: {source}", path.display())
            }
            TlsError::NoCertificate { path } => write!(
                f,
                "{} holds no certificate; it needs the chain as \"BEGIN CERTIFICATE\" sections, \
                 the server's own first",
                path.display()
            ),
            TlsError::NoKey { path } => write!(
                f,
                "{} holds no private key; it needs one \"BEGIN PRIVATE KEY\" section that is not \
                 encrypted",
                path.display()
            ),
            TlsError::Refused { files, source } => {
                let (certificate, key) = (files.certificate.display(), files.key.display());
                match source {
                    rustls::Error::InconsistentKeys(_) => write!(
                        f,
                        "the key {key} does not belong to the first certificate of {certificate}"
                    ),
                    _ => write!(f, "certificate {certificate} with key {key}: {source}"),
                }
            }
            TlsError::NotMade { source } => {
                write!(f, "cannot make a self-signed certificate: {source}")
            }
            TlsError::NoRoot { path } => write!(
                f,
                "{} holds no certificate that can be trusted; it needs those of authorities, as \
                 \"BEGIN CERTIFICATE\" sections",
                path.display()
            ),
            TlsError::NothingTrusted { route } => write!(
                f,
                "the route \"{route}\" verifies certificates, and no authority is trusted; install \
                 the package ca-certificates, or name a file in [delivery] trust_file"
            ),
            TlsError::NoClient { source } => {
                write!(f, "cannot prepare TLS for deliveries: {source}")
            }
            TlsError::Unwritable { path, source } => {
                write!(f, "cannot write {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Unreadable { source, .. } | TlsError::Unwritable { source, .. } => {
                Some(source)
            }
            TlsError::NotPem { source, .. } => Some(source),
            TlsError::Refused { source, .. } | TlsError::NoClient { source } => Some(source),
            TlsError::NotMade { source } => Some(source),
            TlsError::NoCertificate { .. }
            | TlsError::NoKey { .. }
            | TlsError::NoRoot { .. }
            | TlsError::NothingTrusted { .. } => None,
        }
    }
}
