//! A few read-only connections, used off the async threads.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::StateError;

/// How many queries run at a time: enough for a dashboard, little memory on a small board.
const CONNECTIONS: usize = 3;

/// Read-only connections; cheap to clone.
#[derive(Clone)]
pub struct Readers {
    permits: Arc<Semaphore>,
    idle: Arc<std::sync::Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Opens them; the writer must have made the database before.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let mut idle = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let connection = Connection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?;
            connection.pragma_update(None, "query_only", true)?;
            connection.pragma_update(None, "cache_size", -1024)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            idle.push(connection);
        }
        Ok(Self {
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            idle: Arc::new(std::sync::Mutex::new(idle)),
        })
    }

    /// Runs a query on one of them, as soon as one is free.
    pub async fn query<T, F>(&self, query: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StateError::Closed)?;
        let idle = self.idle.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = idle
                .lock()
                .map_err(|_| StateError::Closed)?
                .pop()
                .ok_or(StateError::Closed)?;
            let answer = query(&connection);
            idle.lock().map_err(|_| StateError::Closed)?.push(connection);
            answer
        });
        work.await.map_err(|_| StateError::Closed)?
    }
}
