// SPDX-License-Identifier: Apache-2.0
//! The local certificate authority: one per data folder, created when it is first needed. Every client that has its
//! certificate trusts it.
//!
//! The key is in `<data>/ca/authority.json`, which only its owner may read; `<data>/ca/certificate.pem` is the
//! certificate for clients. Server certificates are kept in memory: they are issued when a server starts and again
//! before they expire. The caller passes the time. Not here: TLS itself (`front::serve`), and the names of a server.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use crate::whole_file;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Lifetime of the authority.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Lifetime of a server's certificate.
const SERVER_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// A server's certificate is replaced when less than this remains of its lifetime.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Certificates are valid from this long before they are issued, because clients' clocks may be behind.
const BACKDATING: Duration = DAY;

const FOLDER: &str = "ca";
const AUTHORITY: &str = "authority.json";
const CERTIFICATE: &str = "certificate.pem";

/// The authority could not be read, created or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// A file or folder could not be read or written.
    #[error("could not read or write {}; check permissions and free space", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is damaged.
    #[error("{} is not a certificate authority; restore it, or remove the folder to create a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its ten years have passed.
    #[error(
        "the certificate authority in {} has expired; remove the folder to create a new one, and give its \
         certificate to every client", path.display()
    )]
    Expired {
        /// Its folder.
        path: PathBuf,
    },
    /// A key or certificate could not be created.
    #[error("could not create a certificate for {names}")]
    Issue {
        /// Its subject.
        names: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The stored part of an authority.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Its distinguished name, which is in every certificate it issues.
    name: String,
    /// Seconds since the epoch.
    expires_s: u64,
    certificate_pem: String,
    key_pem: String,
}

/// The authority of a data folder.
pub struct Authority {
    folder: PathBuf,
    expires: SystemTime,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    /// Omits the keys, so that they do not appear in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Path of the certificate for clients of a data folder's servers.
    pub fn certificate_path(data_dir: &Path) -> PathBuf {
        data_dir.join(FOLDER).join(CERTIFICATE)
    }

    /// The authority of the data folder; created when there is none.
    pub fn open(data_dir: &Path, now: SystemTime) -> Result<Self, AuthorityFault> {
        let folder = data_dir.join(FOLDER);
        let path = folder.join(AUTHORITY);
        let stored: Stored = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(damaged(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = made(now)?;
                DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(file_fault(&folder))?;
                let text = serde_json::to_vec_pretty(&made).map_err(damaged(&path))?;
                whole_file::write(&folder, AUTHORITY, &text, 0o600).map_err(file_fault(&path))?;
                tracing::info!(folder = %folder.display(), "created a certificate authority");
                made
            }
            Err(cause) => return Err(AuthorityFault::File { path, cause }),
        };
        let expires = UNIX_EPOCH + Duration::from_secs(stored.expires_s);
        if expires <= now {
            return Err(AuthorityFault::Expired { path: folder });
        }
        // An interrupted start may have omitted it.
        let for_clients = Self::certificate_path(data_dir);
        if !std::fs::read(&for_clients).is_ok_and(|present| present == stored.certificate_pem.as_bytes()) {
            let pem = stored.certificate_pem.as_bytes();
            whole_file::write(&folder, CERTIFICATE, pem, 0o644).map_err(file_fault(&for_clients))?;
        }
        let key = KeyPair::from_pem(&stored.key_pem).map_err(damaged(&path))?;
        Ok(Self { folder, expires, issuer: Issuer::new(authority_params(&stored.name), key) })
    }

    /// A key and certificate for a server with these names and addresses.
    pub fn issue_for_server(&self, names: &[String], now: SystemTime) -> Result<Issued, AuthorityFault> {
        let expires = (now + SERVER_LIFE).min(self.expires);
        let issue = || -> Result<CertifiedKey, Box<dyn std::error::Error + Send + Sync>> {
            let mut params = CertificateParams::new(names.to_vec())?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "Berth server");
            set_life(&mut params, now, expires);
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let key = KeyPair::generate()?;
            let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer)?.der().clone();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            Ok(CertifiedKey::new(vec![certificate], ring::sign::any_ecdsa_type(&key)?))
        };
        let key = issue().map_err(|cause| AuthorityFault::Issue { names: names.join(", "), cause })?;
        Ok(Issued { key: Arc::new(key), issued: now, expires })
    }
}

fn made(now: SystemTime) -> Result<Stored, AuthorityFault> {
    let expires = now + AUTHORITY_LIFE;
    // Clients that know two authorities of one name would confuse them.
    let name = format!("Berth local authority {:08x}", rand::random::<u32>());
    let make = || -> Result<(String, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(&name);
        set_life(&mut params, now, expires);
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    };
    let (certificate_pem, key_pem) =
        make().map_err(|cause| AuthorityFault::Issue { names: name.clone(), cause: Box::new(cause) })?;
    Ok(Stored { name, expires_s: seconds(expires), certificate_pem, key_pem })
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// A server's key and certificate.
#[derive(Clone, Debug)]
pub struct Issued {
    /// For rustls.
    pub key: Arc<CertifiedKey>,
    issued: SystemTime,
    expires: SystemTime,
}

impl Issued {
    /// True when the certificate must be replaced; also when the clock is earlier than the certificate.
    pub fn is_due(&self, now: SystemTime) -> bool {
        now + RENEWAL >= self.expires || now + BACKDATING < self.issued
    }
}

/// A server's certificate that is renewed at a client's handshake.
pub(crate) struct ServerCertificate {
    authority: Authority,
    names: Vec<String>,
    present: ArcSwap<Issued>,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ServerCertificate {
    fn at(&self, now: SystemTime) -> Arc<CertifiedKey> {
        let present = self.present.load();
        if present.is_due(now) {
            match self.authority.issue_for_server(&self.names, now) {
                Ok(issued) => {
                    tracing::info!(names = self.names.join(","), "renewed the server's certificate");
                    self.present.store(Arc::new(issued));
                }
                Err(fault) => {
                    tracing::error!(fault = &fault as &dyn std::error::Error, "the server keeps its old certificate");
                }
            }
        }
        self.present.load().key.clone()
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.at(SystemTime::now()))
    }
}

/// The TLS settings of a server with these names and addresses.
pub(crate) fn server_config(
    authority: Authority,
    names: Vec<String>,
    now: SystemTime,
) -> Result<Arc<ServerConfig>, AuthorityFault> {
    let first = authority.issue_for_server(&names, now)?;
    let issue_fault = |cause: rustls::Error| AuthorityFault::Issue { names: names.join(", "), cause: Box::new(cause) };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(issue_fault)?;
    let certificate = ServerCertificate { authority, names, present: ArcSwap::from_pointee(first) };
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn file_fault(path: &Path) -> impl FnOnce(io::Error) -> AuthorityFault + '_ {
    |cause| AuthorityFault::File { path: path.to_owned(), cause }
}

fn damaged<E: std::error::Error + Send + Sync + 'static>(path: &Path) -> impl Fn(E) -> AuthorityFault + '_ {
    |cause| AuthorityFault::Damaged { path: path.to_owned(), cause: Box::new(cause) }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Validity from a day before now: clients' clocks may be behind.
fn set_life(params: &mut CertificateParams, now: SystemTime, expires: SystemTime) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(seconds(now - BACKDATING));
    params.not_after = epoch + Duration::from_secs(seconds(expires));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn names() -> Vec<String> {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn an_authority_is_made_once_and_only_its_owner_can_read_the_key() {
        let data = tempfile::tempdir().unwrap();
        Authority::open(data.path(), now()).unwrap();
        let read = || std::fs::read(Authority::certificate_path(data.path())).unwrap();
        let first = read();
        std::fs::remove_file(Authority::certificate_path(data.path())).unwrap();
        Authority::open(data.path(), now() + 9 * YEAR).unwrap();
        assert_eq!(read(), first);
        let mode = |name: &str| std::fs::metadata(data.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode("ca"), mode("ca/authority.json")], [0o700, 0o600]);
    }

    #[test]
    fn an_authority_that_cannot_be_used_says_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        Authority::open(data.path(), now()).unwrap();
        let expired = Authority::open(data.path(), now() + 10 * YEAR).unwrap_err();
        assert!(expired.to_string().contains("remove the folder"), "{expired}");
        std::fs::write(data.path().join("ca/authority.json"), "{").unwrap();
        let damaged = Authority::open(data.path(), now()).unwrap_err();
        assert!(damaged.to_string().contains("is not a certificate authority"), "{damaged}");
    }

    #[test]
    fn a_certificate_renews_itself_in_time_and_never_outlives_its_authority() {
        let data = tempfile::tempdir().unwrap();
        let authority = Authority::open(data.path(), now()).unwrap();
        let first = authority.issue_for_server(&names(), now()).unwrap();
        let late = authority.issue_for_server(&names(), now() + AUTHORITY_LIFE - DAY).unwrap();
        assert_eq!(late.expires, now() + AUTHORITY_LIFE);
        let server = ServerCertificate { authority, names: names(), present: ArcSwap::from_pointee(first.clone()) };
        let is_first = |days: u32| Arc::ptr_eq(&server.at(now() + days * DAY), &first.key);
        assert!(is_first(0) && is_first(59));
        assert!(!is_first(61));
        assert!(!server.present.load().is_due(now() + 62 * DAY));
        assert!(server.present.load().is_due(now()), "a clock that went back far is before its life");
    }

    #[test]
    fn a_client_that_trusts_the_authority_accepts_the_servers_names_and_no_other() {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier as _;
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{ServerName, UnixTime};

        let data = tempfile::tempdir().unwrap();
        let authority = Authority::open(data.path(), now()).unwrap();
        // As after a restart: the issuer is made from the stored part.
        let again = Authority::open(data.path(), now()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let path = Authority::certificate_path(data.path());
        roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        for authority in [authority, again] {
            let issued = authority.issue_for_server(&names(), now()).unwrap();
            let verified = |name: &str, after: Duration| {
                let name = ServerName::try_from(name.to_owned()).unwrap();
                let at = UnixTime::since_unix_epoch((now() + after).duration_since(UNIX_EPOCH).unwrap());
                verifier.verify_server_cert(&issued.key.cert[0], &[], &name, &[], at).is_ok()
            };
            assert!(verified("localhost", Duration::ZERO) && verified("127.0.0.1", 89 * DAY));
            assert!(!verified("example.com", Duration::ZERO) && !verified("127.0.0.1", 91 * DAY));
        }
    }
}
