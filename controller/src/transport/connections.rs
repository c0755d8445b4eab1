//! Open HTTP connections of workers, to be cut when a worker is removed.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use protocol::id::WorkerId;
use tokio_util::sync::CancellationToken;

/// One open connection on which a certificate was shown.
#[derive(Debug, Default)]
pub struct Connection {
    worker: OnceLock<WorkerId>,
    cut: CancellationToken,
}

impl Connection {
    /// The certificate was found to be this worker's.
    pub fn belongs_to(&self, worker: WorkerId) {
        self.worker.get_or_init(|| worker);
    }

    /// Fires when it must end.
    pub const fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

/// All of them; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Vec<Weak<Connection>>>>);

impl Connections {
    /// A new one.
    pub fn open(&self) -> Arc<Connection> {
        let connection = Arc::new(Connection::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|known| known.strong_count() > 0);
        }
        all.push(Arc::downgrade(&connection));
        connection
    }

    /// Cuts those of a worker; how many there were.
    pub fn cut(&self, worker: WorkerId) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_worker = all
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|connection| connection.worker.get() == Some(&worker));
        of_worker.map(|connection| connection.cut.cancel()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_connections_of_that_worker_are_cut() {
        let (one, other) = (WorkerId::new(), WorkerId::new());
        let connections = Connections::default();
        let open: Vec<_> = (0..4).map(|_| connections.open()).collect();
        open[0].belongs_to(one);
        open[1].belongs_to(one);
        open[2].belongs_to(other);
        assert_eq!(connections.cut(one), 2);
        let cut: Vec<bool> = open.iter().map(|each| each.cut().is_cancelled()).collect();
        assert_eq!(cut, [true, true, false, false]);
        drop(open);
        assert_eq!(connections.cut(one), 0, "what has ended is not counted");
    }
}
