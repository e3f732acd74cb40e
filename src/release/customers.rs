//! The customers in memory, read under the schema of each release that serves or may serve again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::background::retire;
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
    table: Arc<CustomerTable>,
}

impl Customers {
    pub fn new(source: CustomerSource) -> Self {
        Self { source, tables: Mutex::default() }
    }

    /// What tells the present file from another.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.source.fingerprint()
    }

    /// The present file under `schema`, read now unless it was read before.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn under(&self, schema: &FeatureSchema) -> Result<Arc<CustomerTable>, Problems> {
        // Taken before the file is read: what is written meanwhile is another state.
        let fingerprint = self.source.fingerprint();
        let matches = |read: &&Read| read.fingerprint == fingerprint && read.schema == *schema;
        let known = self.lock().iter().find(matches).map(|read| Arc::clone(&read.table));
        // Read without the lock: going back to a release whose table is known waits for nothing.
        let table = match known {
            Some(table) => table,
            None => Arc::new(self.source.load(schema)?.0),
        };
        let mut tables = self.lock();
        if !tables.iter().any(|read| Arc::ptr_eq(&read.table, &table)) {
            tables.push(Read { schema: schema.clone(), fingerprint, table: Arc::clone(&table) });
        }
        // Held by nobody but this list and the caller-to-be.
        for gone in tables.extract_if(.., |read| Arc::strong_count(&read.table) == 1) {
            retire(gone.table);
        }
        Ok(table)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Read>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
