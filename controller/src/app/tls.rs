//! Opens the TLS listeners, and the authority that they show.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use service::clock::SharedClock;
use tokio::net::TcpListener;

use crate::{
    api::TlsAbout,
    certificates::{Authority, Names, Serving},
    config::{Config, TlsListen},
    transport::Acceptor,
};

/// What was opened.
pub(super) struct Tls {
    pub(super) http: Option<TcpListener>,
    pub(super) mqtt: Option<TcpListener>,
    authority: Arc<Authority>,
    serving: Arc<Serving>,
    names: Names,
    worker_life: Duration,
}

impl Tls {
    /// Reads or makes the authority, and binds what the configuration asks for.
    pub(super) async fn open(config: &Config, folder: &Path, clock: &SharedClock) -> anyhow::Result<Self> {
        let authority = Arc::new(Authority::open(folder)?);
        let wanted = [("http", &config.http.tls), ("mqtt", &config.mqtt.tls)];
        let listeners = wanted.iter().filter_map(|(_, tls)| tls.as_ref());
        let configured = listeners.clone().flat_map(|tls| tls.names.clone()).collect();
        let names = Names::new(configured, listeners.map(|tls| tls.listen.ip()).collect());
        let serving = Serving::new(authority.clone(), names.clone(), clock.wall())?;
        let mut bound = vec![];
        for (section, tls) in wanted {
            bound.push(match tls {
                Some(tls) => Some(bind(section, tls).await?),
                None => None,
            });
        }
        let mqtt = bound.pop().flatten();
        Ok(Self {
            http: bound.pop().flatten(),
            mqtt,
            authority,
            serving,
            names,
            worker_life: Duration::from_secs(config.limits.certificate_s),
        })
    }

    /// For the HTTP listener.
    pub(super) fn http_acceptor(&self) -> anyhow::Result<Acceptor> {
        Ok(Acceptor::new(self.serving.config(&["http/1.1"])?))
    }

    /// For the MQTT listener.
    pub(super) fn mqtt_acceptor(&self) -> anyhow::Result<Acceptor> {
        Ok(Acceptor::new(self.serving.config(&["mqtt"])?))
    }

    /// Every name under which this machine may be reached.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.names.all()
    }

    /// The certificate, to be kept fresh.
    pub(super) fn serving(&self) -> Arc<Serving> {
        self.serving.clone()
    }

    /// What there is, for the API; `None` if nothing listens with TLS.
    pub(super) fn about(&self) -> anyhow::Result<Option<TlsAbout>> {
        let address = |socket: &Option<TcpListener>| socket.as_ref().map(TcpListener::local_addr).transpose();
        let (http, mqtt) = (address(&self.http)?, address(&self.mqtt)?);
        if http.is_none() && mqtt.is_none() {
            return Ok(None);
        }
        Ok(Some(TlsAbout {
            authority: self.authority.clone(),
            http,
            mqtt,
            urls: http.map(|http| self.names.urls(http)).unwrap_or_default(),
            worker_life: self.worker_life,
        }))
    }
}

async fn bind(section: &str, tls: &TlsListen) -> anyhow::Result<TcpListener> {
    let address = tls.listen;
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen with TLS on {address}: stop what listens there, set {section}.tls.listen to another, or \
             start with --local, for this machine alone"
        )
    })
}
