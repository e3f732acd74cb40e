//! What is recorded, read without a server: the sealed files of a store, log files of data directories, and the
//! releases that decided.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;

use super::Failure;
use super::printing::say;
use super::privacy::unknown_keys;
use super::values::moment;
use crate::app::{App, outside_of_stores};
use event::erasure::ErasureStore;
use event::log::{OpenedLog, open_read_only};
use event::privacy::{PrivacyConfig, is_pseudonym};
use event::{EventReader, EventStore, Query};
use release::{Deployer, Store};
use replay::{Privacy, Releases};

/// Where records are read.
#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    /// The store that holds the sealed records and the releases: a directory, or <s3://BUCKET/PREFIX>
    #[arg(long, value_name = "STORE", default_value = "store")]
    pub store: String,
    /// The file of the keys of the records, to find customers by their ids and to read sensitive values
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Also read the log in this data directory, of a server that runs or does not; may be given several times
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
}

/// Which records are wanted.
#[derive(Debug, Default, Args)]
pub(super) struct Selection {
    /// Decided at this time or later, such as 2026-12-24T18:00:00Z, or a day (midnight in UTC)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<DateTime<Utc>>,
    /// Decided before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<DateTime<Utc>>,
    /// Only decisions for this customer, by the id or the pseudonym; may be given several times
    #[arg(long, value_name = "ID")]
    pub customer: Vec<String>,
    /// Only decisions at this placement
    #[arg(long, value_name = "ID")]
    pub placement: Option<String>,
    /// Only decisions that showed this offer
    #[arg(long, value_name = "ID")]
    pub offer: Option<String>,
}

impl Selection {
    /// As a query, without a limit.
    ///
    /// # Errors
    /// Times between which there are none.
    pub(super) fn query(&self) -> Result<Query, Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            let [from, to] = [from, to].map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            return Err(Failure::usage(format!("--from {from} is not before --to {to}")));
        }
        Ok(Query {
            from: self.from.map(|time| time.timestamp_micros()),
            to: self.to.map(|time| time.timestamp_micros()),
            customers: self.customer.iter().cloned().collect::<BTreeSet<_>>(),
            placement: self.placement.clone(),
            offer: self.offer.clone(),
            ..Query::default()
        })
    }
}

impl ArchiveArgs {
    /// What is read: nothing may be written over it.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        let paths = self.keys.iter().chain(&self.data).map(PathBuf::as_path);
        std::iter::once(Path::new(&self.store)).chain(paths).collect()
    }

    /// The keys of the records.
    pub(super) fn privacy(&self) -> Result<Privacy, Failure> {
        if let Some(keys) = &self.keys {
            outside_of_stores(keys, "--keys")?;
        }
        let config = PrivacyConfig { keys: self.keys.clone(), ..PrivacyConfig::default() };
        let (pseudonyms, cipher) = config.load()?;
        Ok(Privacy { pseudonyms, cipher })
    }

    /// A selection as a query, with every name that its customers may have in records.
    pub(super) fn query(&self, selection: &Selection) -> Result<Query, Failure> {
        let (mut query, privacy) = (selection.query()?, self.privacy()?);
        let names = |id: &String| privacy.pseudonyms.all(id).into_iter().map(|name| name.text);
        query.customers = query.customers.iter().flat_map(names).collect();
        Ok(query)
    }

    /// The sealed files. A place that is no store has none, which is no reason to find nothing wrong.
    pub(super) fn events(&self) -> Result<EventStore, Failure> {
        Store::open(&self.store, None)?;
        Ok(EventStore::open(&self.store, None, std::env::vars())?)
    }

    /// The markers of erasures and the heartbeats of servers.
    pub(super) fn erasures(&self) -> Result<ErasureStore, Failure> {
        Ok(ErasureStore::open(&self.store, std::env::vars())?)
    }

    /// The logs of the data directories.
    pub(super) fn logs(&self) -> Result<Vec<OpenedLog>, Failure> {
        let opened = self.data.iter().map(|directory| Ok(open_read_only(directory)?));
        opened.collect()
    }

    /// A reader of both.
    pub(super) fn reader(&self) -> Result<EventReader, Failure> {
        let reader = EventReader::new(self.events()?);
        Ok(self.logs()?.into_iter().fold(reader, EventReader::with_opened))
    }

    /// Says if records of the customers of a selection may not have been found, as no key tells whose they are: an
    /// error if none was `found`, else a remark.
    pub(super) fn check_customers(
        &self,
        selection: &Selection,
        reader: &EventReader,
        found: u64,
    ) -> Result<(), Failure> {
        // Who gives a pseudonym needs no key.
        if selection.customer.iter().all(|customer| is_pseudonym(customer)) {
            return Ok(());
        }
        let pseudonyms = self.privacy()?.pseudonyms;
        let mut keys = reader.pseudonym_keys(&selection.query()?)?;
        keys.retain(|key| !pseudonyms.knows(key));
        match unknown_keys(&keys, &pseudonyms) {
            None => Ok(()),
            Some(unknown) if found == 0 => {
                Err(Failure::new(format!("nothing was found of them, and {unknown}")))
            }
            Some(unknown) => {
                say(format!("there may be more: {unknown}"));
                Ok(())
            }
        }
    }

    /// What loads the releases of the store.
    pub(super) fn deployer(&self) -> Result<Deployer, Failure> {
        let (_, deployer, _) = App::offline(Store::open(&self.store, None)?)?;
        Ok(deployer)
    }

    /// The releases of the store, loaded when they are needed.
    pub(super) fn releases(&self) -> Result<Arc<Releases>, Failure> {
        Ok(Arc::new(releases(self.deployer()?)))
    }
}

/// The releases that a deployer loads.
pub(super) fn releases(deployer: Deployer) -> Releases {
    Releases::new(move |number| deployer.release(number).map_err(|error| error.to_string()))
}
