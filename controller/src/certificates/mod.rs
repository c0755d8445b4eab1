//! The certificate authority of this installation, and what it certifies: the
//! controller's own servers and its workers.
//!
//! Owned by `app`, which also lets [`Serving`] renew itself. Decides about no
//! request: who a certificate belongs to is a row, as it is for every credential.

mod authority;
mod names;
mod serving;

#[cfg(test)]
mod tests;

pub use self::{
    authority::{Authority, CertificateError, WorkerCertificate},
    names::{Names, is_name},
    serving::Serving,
};
