//! The customers in memory, read under the schema of each release that serves or may serve again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::document::Problems;
use crate::feature::FeatureSchema;
use crate::feature::store::{CustomerSource, CustomerTable, Fingerprint};

/// Tables by the file and the schema that they were read from, for as long as a snapshot holds them: releases with the same
/// schema share one.
#[derive(Debug)]
pub(super) struct Customers {
    source: CustomerSource,
    tables: Mutex<Vec<Read>>,
}

/// What a table was read from.
#[derive(Debug)]
struct Read {
    schema: FeatureSchema,
    fingerprint: Option<Fingerprint>,
    table: Weak<CustomerTable>,
}

impl Customers {
    pub fn new(source: CustomerSource) -> Self {
        Self { source, tables: Mutex::default() }
    }

    /// The present file under `schema`, read now unless it was read before.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn under(&self, schema: &FeatureSchema) -> Result<Arc<CustomerTable>, Problems> {
        if let Some(known) = self.known(schema) {
            return Ok(known);
        }
        // Taken before the file is read: what is written meanwhile is another state. Read without the lock: going back to a
        // release whose table is known waits for nothing.
        let fingerprint = self.source.fingerprint();
        let table = Arc::new(self.source.load(schema)?.0);
        let read = Read { schema: schema.clone(), fingerprint, table: Arc::downgrade(&table) };
        let mut tables = self.lock();
        tables.retain(|read| read.table.strong_count() > 0);
        tables.push(read);
        Ok(table)
    }

    /// The present file under `schema`, if it was read and is still in memory.
    pub fn known(&self, schema: &FeatureSchema) -> Option<Arc<CustomerTable>> {
        let fingerprint = self.source.fingerprint();
        let matches = |read: &&Read| read.fingerprint == fingerprint && read.schema == *schema;
        self.lock().iter().find(matches).and_then(|read| read.table.upgrade())
    }

    /// Whether `table` was read from the file that is there now.
    pub fn is_current(&self, table: &Arc<CustomerTable>) -> bool {
        let fingerprint = self.source.fingerprint();
        let this = Arc::as_ptr(table);
        self.lock().iter().any(|read| read.table.as_ptr() == this && read.fingerprint == fingerprint)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Read>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
