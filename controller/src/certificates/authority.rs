//! The authority itself: a key and a certificate in the state folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use protocol::id::WorkerId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use service::{
    state_dir::write_private,
    tls::{Fingerprint, NAME, certificates},
};

/// Its key (PKCS#8 in PEM, mode 0600): whoever has it can be this controller.
const KEY: &str = "ca.key";
/// Its certificate (PEM), for everybody who is to trust it.
const CERTIFICATE: &str = "ca.pem";
/// A machine without a clock believes that it is then, and must be let in all the same.
const FIRST_YEAR: i32 = 1970;
/// The year in which it ends: nobody renews an authority that everybody has pinned.
const LAST_YEAR: i32 = 2100;

/// Why there is no authority, or it certifies nothing.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file of it cannot be read or written.
    #[error("the certificate authority's file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A certificate without its key.
    #[error(
        "{0} is there without ca.key: bring the key back from a backup; or remove ca.pem too, and a new \
         authority is made, which no worker and no command line knows yet"
    )]
    KeyIsGone(PathBuf),
    /// Something that is neither key nor certificate.
    #[error("{path} cannot be used: {reason}: bring ca.key and ca.pem back from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Key and certificate of two authorities.
    #[error("ca.pem and ca.key in the state folder do not belong together: bring both back from one backup")]
    NotAPair,
    /// It could not be signed.
    #[error("a certificate cannot be made: {0}")]
    Sign(#[from] rcgen::Error),
    /// The TLS library does not take it.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.fingerprint())
    }
}

/// What a worker gets.
#[derive(Clone, Debug)]
pub struct WorkerCertificate {
    /// In PEM.
    pub pem: String,
    /// By which it is known.
    pub fingerprint: Fingerprint,
}

/// A worker's key, of which only the public half is here.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// Reads the authority of a state folder, or makes it if there is none at all.
    pub fn open(folder: &Path) -> Result<Self, CertificateError> {
        let (key_path, pem_path) = (folder.join(KEY), folder.join(CERTIFICATE));
        let key = match (read(&key_path)?, pem_path.exists()) {
            (Some(text), _) => KeyPair::from_pem(&text).map_err(|error| damaged(&key_path, &error))?,
            (None, true) => return Err(CertificateError::KeyIsGone(pem_path)),
            (None, false) => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                write(&key_path, &key.serialize_pem())?;
                key
            }
        };
        let params = authority_params(&key);
        let pem = match read(&pem_path)? {
            Some(pem) => pem,
            // the first start, or one that ended between the two files: nobody was told yet
            None => {
                let pem = params.self_signed(&key)?.pem();
                write(&pem_path, &pem)?;
                pem
            }
        };
        let found = certificates(&pem).map_err(|error| damaged(&pem_path, &error))?;
        let [der] = found.as_slice() else {
            return Err(damaged(&pem_path, &"expected one certificate"));
        };
        Ok(Self {
            der: der.clone(),
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// By which everybody knows it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Certifies the controller's own servers under these names.
    pub fn certify_server(
        &self,
        key: &KeyPair,
        names: Vec<SanType>,
        now: Timestamp,
        life: Duration,
    ) -> Result<CertificateDer<'static>, CertificateError> {
        let mut params = leaf_params("agentd", ExtendedKeyUsagePurpose::ServerAuth, now, life);
        params.subject_alt_names = names;
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }

    /// Certifies that a key on P-256 is a worker's; `point` is its public half.
    pub fn certify_worker(
        &self,
        worker: WorkerId,
        point: &[u8],
        now: Timestamp,
        life: Duration,
    ) -> Result<WorkerCertificate, CertificateError> {
        let name = worker.to_string();
        let params = leaf_params(&name, ExtendedKeyUsagePurpose::ClientAuth, now, life);
        let certificate = params.signed_by(&Point(point), &self.issuer)?;
        Ok(WorkerCertificate {
            pem: certificate.pem(),
            fingerprint: Fingerprint::of(certificate.der()),
        })
    }
}

/// What its certificate says; all of it follows from the key.
fn authority_params(key: &impl SigningKey) -> CertificateParams {
    let mark = &Fingerprint::of(key.der_bytes()).hex()[..8];
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("{NAME}{mark}"));
    params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = date_time_ymd(LAST_YEAR, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(
    name: &str,
    usage: ExtendedKeyUsagePurpose,
    now: Timestamp,
    life: Duration,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    let beginning = date_time_ymd(FIRST_YEAR, 1, 1);
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    params.not_before = beginning;
    params.not_after = beginning + Duration::from_secs(seconds) + life;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertificateError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CertificateError> {
    write_private(path, text.as_bytes()).map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}

fn damaged(path: &Path, reason: &dyn std::fmt::Display) -> CertificateError {
    CertificateError::Damaged {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
