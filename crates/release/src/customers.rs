//! The customers in memory, read under the schema of each release that serves or may serve again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use document::Problems;
use feature::FeatureSchema;
use feature::store::{CustomerSource, CustomerTable, Fingerprint};

/// Tables by file and schema, kept as long as a snapshot holds them: releases with the same schema share one.
#[derive(Debug)]
pub(super) struct Customers {
    source: CustomerSource,
    tables: Mutex<Vec<Read>>,
}

/// The state of the file and the schema that a table was read with.
#[derive(Debug)]
struct Read {
    schema: FeatureSchema,
    fingerprint: Option<Fingerprint>,
    table: Weak<CustomerTable>,
}

impl Customers {
    pub(crate) fn new(source: CustomerSource) -> Self {
        Self { source, tables: Mutex::default() }
    }

    /// The present file under `schema`; read only if no table of it is in memory.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn under(&self, schema: &FeatureSchema) -> Result<Arc<CustomerTable>, Problems> {
        if let Some(known) = self.known(schema) {
            return Ok(known);
        }
        // The fingerprint comes first: a write during the read makes another state. Reading holds no lock, so a
        // return to a release with a known table does not wait.
        let fingerprint = self.source.fingerprint();
        let table = Arc::new(self.source.load(schema)?.0);
        let read = Read { schema: schema.clone(), fingerprint, table: Arc::downgrade(&table) };
        let mut tables = self.lock();
        tables.retain(|read| read.table.strong_count() > 0);
        tables.push(read);
        Ok(table)
    }

    /// The present file under `schema`, if it was read and is still in memory.
    pub(crate) fn known(&self, schema: &FeatureSchema) -> Option<Arc<CustomerTable>> {
        let fingerprint = self.source.fingerprint();
        let matches = |read: &&Read| read.fingerprint == fingerprint && read.schema == *schema;
        self.lock().iter().find(matches).and_then(|read| read.table.upgrade())
    }

    /// Whether `table` was read from the present file.
    pub(crate) fn is_current(&self, table: &Arc<CustomerTable>) -> bool {
        let fingerprint = self.source.fingerprint();
        let this = Arc::as_ptr(table);
        self.lock().iter().any(|read| read.table.as_ptr() == this && read.fingerprint == fingerprint)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Read>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
