//! The authority over real handshakes.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use protocol::id::WorkerId;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};
use service::tls::{Fingerprint, PinnedCa, certificates, client, provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp::now()
}

fn authority(folder: &Path) -> Arc<Authority> {
    Arc::new(Authority::open(folder).expect("an authority"))
}

fn serving(authority: &Arc<Authority>) -> Arc<Serving> {
    let names = Names::new(vec!["pi.lan".into()], vec![]);
    Serving::new(authority.clone(), names, now()).expect("a certificate")
}

/// A worker's key with what the authority says of it.
fn worker(authority: &Authority, at: Timestamp, life: Duration) -> (Fingerprint, Arc<CertifiedKey>) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let issued = authority
        .certify_worker(WorkerId::new(), key.der_bytes(), at, life)
        .expect("a certificate");
    let chain = certificates(&issued.pem).expect("PEM");
    (issued.fingerprint, certified(chain, &key))
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<CertifiedKey> {
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = provider().key_provider.load_private_key(secret).expect("a key");
    Arc::new(CertifiedKey::new(chain, signing))
}

/// What each side has of a handshake in which the client then says `secret`: the server the client's
/// certificate and words, the client its error.
async fn shake(
    server: Arc<ServerConfig>,
    client: ClientConfig,
) -> (Result<(Option<Fingerprint>, String), String>, Result<(), String>) {
    let (near, far) = duplex(64 << 10);
    let serve = async move {
        let mut stream = TlsAcceptor::from(server)
            .accept(far)
            .await
            .map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(<[_]>::first).map(|leaf| Fingerprint::of(leaf));
        let mut said = String::new();
        // a client that was refused closes without a word
        let _ = stream.read_to_string(&mut said).await;
        Ok((shown, said))
    };
    let connect = async move {
        let name = ServerName::try_from("any.name.at.all").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(client))
            .connect(name, near)
            .await
            .map_err(|error| error.to_string())?;
        stream
            .write_all(b"secret")
            .await
            .map_err(|error| error.to_string())?;
        stream.shutdown().await.map_err(|error| error.to_string())
    };
    tokio::join!(serve, connect)
}

fn pinned(authority: &Authority) -> Arc<PinnedCa> {
    Arc::new(PinnedCa::new(authority.fingerprint()))
}

#[test]
fn an_authority_is_made_once_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = authority(folder.path());
    assert_eq!(authority(folder.path()).fingerprint(), first.fingerprint());
    for name in ["ca.key", "ca.pem"] {
        let mode = fs::metadata(folder.path().join(name))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let other = tempfile::tempdir().expect("a folder");
    assert_ne!(authority(other.path()).fingerprint(), first.fingerprint());

    // a start that ended between the two files is made whole: nobody had pinned anything
    fs::remove_file(folder.path().join("ca.pem")).expect("removed");
    let made_whole = authority(folder.path());
    serving(&made_whole);

    fs::copy(other.path().join("ca.pem"), folder.path().join("ca.pem")).expect("copied");
    let names = Names::new(vec![], vec![]);
    let error = Serving::new(authority(folder.path()), names, now()).expect_err("two halves");
    assert!(error.to_string().contains("do not belong together"), "{error}");

    fs::remove_file(folder.path().join("ca.key")).expect("removed");
    let error = Authority::open(folder.path()).expect_err("no key").to_string();
    assert!(error.contains("ca.pem is there without ca.key"), "{error}");
    fs::write(folder.path().join("ca.key"), "no key").expect("written");
    let error = Authority::open(folder.path()).expect_err("no key").to_string();
    assert!(error.contains("ca.key cannot be used"), "{error}");
}

#[tokio::test]
async fn a_client_that_pins_the_authority_is_served_under_any_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = authority(folder.path());
    let config = serving(&authority).config(&[]).expect("settings");
    let anonymous = client(pinned(&authority), None).expect("settings");
    let (server, client) = shake(config, anonymous).await;
    assert_eq!(client, Ok(()));
    assert_eq!(server, Ok((None, "secret".to_owned())));
}

#[tokio::test]
async fn a_server_of_another_authority_hears_nothing() {
    let (ours, theirs) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (ours, theirs) = (authority(ours.path()), authority(theirs.path()));
    let stranger = serving(&theirs);
    // the honest stranger, and one that shows our authority behind its own certificate
    let borrowed = vec![stranger.key().cert[0].clone(), ours.certificate().clone()];
    let liar = CertifiedKey::new(borrowed, stranger.key().key.clone());
    let liar: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(liar));
    // a worker of ours that plays the controller
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let issued = ours
        .certify_worker(WorkerId::new(), key.der_bytes(), now(), DAY)
        .expect("signed");
    let mut chain = certificates(&issued.pem).expect("PEM");
    chain.push(ours.certificate().clone());
    let traitor = certified(chain, &key);
    let traitor: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from((*traitor).clone()));

    for (resolver, is_known) in [
        (stranger as Arc<dyn ResolvesServerCert>, false),
        (liar, true),
        (traitor, true),
    ] {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        let trust = pinned(&ours);
        let (server, client) = shake(Arc::new(config), client(trust.clone(), None).expect("settings")).await;
        assert!(client.is_err());
        assert!(
            server.as_ref().is_err() || server.as_ref().is_ok_and(|(_, said)| said.is_empty()),
            "{server:?}"
        );
        let shown = (!is_known).then(|| theirs.fingerprint());
        assert_eq!(trust.stranger(), shown, "whose authority it was is remembered");
    }
}

#[tokio::test]
async fn a_worker_is_known_by_its_certificate_while_it_lives() {
    let (ours, theirs) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (ours, theirs) = (authority(ours.path()), authority(theirs.path()));
    let config = serving(&ours).config(&[]).expect("settings");
    let show = |key: Arc<CertifiedKey>| {
        client(
            pinned(&ours),
            Some(Arc::new(SingleCertAndKey::from((*key).clone()))),
        )
        .expect("settings")
    };

    let (fingerprint, key) = worker(&ours, now(), DAY);
    let (server, client) = shake(config.clone(), show(key)).await;
    assert_eq!(client, Ok(()));
    assert_eq!(server, Ok((Some(fingerprint), "secret".to_owned())));

    let long_ago = now() - SignedDuration::from_hours(48);
    for (what, key) in [
        ("run out", worker(&ours, long_ago, DAY).1),
        ("another authority's", worker(&theirs, now(), DAY).1),
        ("a server's", serving(&ours).key()),
    ] {
        let (server, _) = shake(config.clone(), show(key)).await;
        assert!(server.is_err(), "{what}: {server:?}");
    }
}

#[test]
fn the_servers_certificate_is_renewed_in_time_and_for_new_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let serving = serving(&authority(folder.path()));
    let names = Names::new(vec!["pi.lan".into()], vec![]).all();
    let first = serving.key();
    let after = |days: i64| now() + SignedDuration::from_hours(24 * days);
    assert!(!serving.refresh(names.clone(), after(19)).expect("looked at"));
    assert!(Arc::ptr_eq(&serving.key(), &first));
    assert!(serving.refresh(names.clone(), after(21)).expect("renewed"));
    let second = serving.key();
    assert_ne!(second.cert[0], first.cert[0]);
    assert!(!serving.refresh(names.clone(), after(21)).expect("looked at"));
    let more = names.into_iter().chain(["new.lan".to_owned()]).collect();
    assert!(serving.refresh(more, after(21)).expect("renewed"));
    assert_ne!(serving.key().cert[0], second.cert[0]);
}
