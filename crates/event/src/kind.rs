//! The kinds of events, a row of `kinds!` each, and records of any kind.
//!
//! A new kind is a message in `record.proto` that is boxed in `build.rs`, a row here, and its columns: a file of
//! `columns/`. `record.proto` says which fields the records of all kinds have.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::str::FromStr;

use prost::Message;

use crate::columns::{Of, OfRecord, Recorded, Table};
use crate::proto::{DecisionRecord, OutcomeRecord, ShadowRecord, event};

/// The folder of sealed files in a store.
pub(crate) const EVENTS: &str = "events";

/// What records of all kinds have.
pub trait EventRecord {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// The time by which it is filed under a date, in microseconds since 1970.
    fn filed_at(&self) -> i64;

    /// The server that has recorded it.
    fn server(&self) -> &str;

    /// The customer, by id or pseudonym; empty for an unknown visitor.
    fn customer_id(&self) -> &str;

    /// The id of the key that made the pseudonym; empty where there is the id.
    fn pseudonym_key(&self) -> &str;

    /// Whether this is all that is left of a record about an erased person.
    fn is_erased(&self) -> bool;
}

/// Makes the kinds and their records of rows: the name in paths, the message, the field of `Event` that holds it, and
/// its field with the time by which it is filed.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident: $name:literal, $record:ident, $field:literal, $time:ident;)+) => {
        /// A kind of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: [Self; [$($field),+].len()] = [$(Self::$kind),+];

            /// Its name, as in paths.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// The field of an event that holds its records.
            pub(crate) fn field(self) -> u64 {
                match self {
                    $(Self::$kind => $field,)+
                }
            }

            /// The column with the time by which records are filed.
            pub(crate) fn time(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($time),)+
                }
            }

            /// Its columns.
            pub(crate) fn table(self) -> &'static dyn Table {
                match self {
                    $(Self::$kind => &Of::<$record>(PhantomData),)+
                }
            }
        }

        /// A record of any kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record {
            $($(#[$doc])+ $kind(Box<$record>),)+
        }

        impl Record {
            /// The record of an event; `None` for the header of a log.
            #[must_use]
            pub fn of_event(event: event::Event) -> Option<Self> {
                match event {
                    event::Event::Header(_) => None,
                    $(event::Event::$kind(record) => Some(Self::$kind(record)),)+
                }
            }

            /// As it is in an event.
            #[must_use]
            pub fn into_event(self) -> event::Event {
                match self {
                    $(Self::$kind(record) => event::Event::$kind(record),)+
                }
            }

            /// The record of an event where it is; `None` for the header of a log.
            pub(crate) fn in_event(event: &event::Event) -> Option<&dyn EventRecord> {
                match event {
                    event::Event::Header(_) => None,
                    $(event::Event::$kind(record) => Some(&**record),)+
                }
            }

            /// The bytes that it takes as protobuf.
            pub(crate) fn encoded_len(&self) -> usize {
                match self {
                    $(Self::$kind(record) => record.encoded_len(),)+
                }
            }

            /// Says who has recorded it.
            pub(crate) fn sign(&mut self, server: &str, version: &str) {
                match self {
                    $(Self::$kind(record) => {
                        server.clone_into(&mut record.server);
                        version.clone_into(&mut record.server_version);
                    })+
                }
            }

            /// Takes it out, and leaves an empty one.
            pub(crate) fn take(&mut self) -> Self {
                match self {
                    $(Self::$kind(record) => Self::$kind(mem::take(record)),)+
                }
            }

            /// The format that it states.
            pub(crate) fn format(&self) -> u32 {
                match self {
                    $(Self::$kind(record) => record.format,)+
                }
            }

            /// A record of the same kind and time without anything else but `erased`.
            pub(crate) fn blanked(&self, format: u32, erased: Vec<u8>) -> Self {
                match self {
                    $(Self::$kind(record) => {
                        let $time = record.$time;
                        $record { format, $time, erased, ..$record::default() }.into()
                    })+
                }
            }

            /// As columns know it.
            pub(crate) fn recorded(&self) -> &dyn Recorded {
                match self {
                    $(Self::$kind(record) => &**record,)+
                }
            }

            /// As columns know it, to be changed.
            pub(crate) fn recorded_mut(&mut self) -> &mut dyn Recorded {
                match self {
                    $(Self::$kind(record) => &mut **record,)+
                }
            }
        }

        $(
            impl EventRecord for $record {
                fn kind(&self) -> Kind {
                    Kind::$kind
                }

                fn filed_at(&self) -> i64 {
                    self.$time
                }

                fn server(&self) -> &str {
                    &self.server
                }

                fn customer_id(&self) -> &str {
                    &self.customer_id
                }

                fn pseudonym_key(&self) -> &str {
                    &self.pseudonym_key
                }

                fn is_erased(&self) -> bool {
                    !self.erased.is_empty()
                }
            }

            impl OfRecord for $record {
                const KIND: Kind = Kind::$kind;

                fn of(record: Record) -> Option<Box<Self>> {
                    if let Record::$kind(record) = record { Some(record) } else { None }
                }
            }

            impl From<$record> for Record {
                fn from(record: $record) -> Self {
                    Self::$kind(Box::new(record))
                }
            }
        )+
    };
}

kinds! {
    /// Decision records.
    Decision: "decision", DecisionRecord, 4, decided_at;
    /// Outcomes: what customers did with offers.
    Outcome: "outcome", OutcomeRecord, 5, received_at;
    /// Shadow records: decisions that were made again as a shadow would have made them.
    Shadow: "shadow", ShadowRecord, 6, compared_at;
}

impl Kind {
    /// The folder of its files in a store.
    #[must_use]
    pub fn folder(self) -> String {
        format!("{EVENTS}/{}", self.name())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("`{text}` is no kind of event: {}", known()))
    }
}

impl EventRecord for Record {
    fn kind(&self) -> Kind {
        self.recorded().kind()
    }

    fn filed_at(&self) -> i64 {
        self.recorded().filed_at()
    }

    fn server(&self) -> &str {
        self.recorded().server()
    }

    fn customer_id(&self) -> &str {
        self.recorded().customer_id()
    }

    fn pseudonym_key(&self) -> &str {
        self.recorded().pseudonym_key()
    }

    fn is_erased(&self) -> bool {
        self.recorded().is_erased()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Event;

    #[test]
    fn an_event_holds_the_record_in_the_field_of_its_kind() {
        for kind in Kind::ALL {
            let record = match kind {
                Kind::Decision => Record::from(DecisionRecord { format: 1, ..DecisionRecord::default() }),
                Kind::Outcome => OutcomeRecord { format: 1, ..OutcomeRecord::default() }.into(),
                Kind::Shadow => ShadowRecord { format: 1, ..ShadowRecord::default() }.into(),
            };
            assert_eq!(record.kind(), kind);
            let event = Event { event: Some(record.clone().into_event()), ..Event::default() };
            // The field's tag, a length, and field 1 of the record.
            assert_eq!(event.encode_to_vec(), [(kind.field() << 3 | 2) as u8, 2, 8, 1]);
            assert_eq!(Record::of_event(event.event.unwrap()), Some(record));
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let refused = "`view` is no kind of event: decision, outcome, shadow".to_owned();
        assert_eq!("view".parse::<Kind>(), Err(refused));
    }

    #[test]
    fn fields_that_all_records_have_have_the_same_numbers() {
        let message = |record: &Record| match record {
            Record::Decision(record) => record.encode_to_vec(),
            Record::Outcome(record) => record.encode_to_vec(),
            Record::Shadow(record) => record.encode_to_vec(),
        };
        let mut decision = Record::from(DecisionRecord {
            decided_at: 7,
            customer_id: "c".to_owned(),
            pseudonym_key: "k".to_owned(),
            ..DecisionRecord::default()
        });
        let mut outcome = Record::from(OutcomeRecord {
            received_at: 7,
            customer_id: "c".to_owned(),
            pseudonym_key: "k".to_owned(),
            ..OutcomeRecord::default()
        });
        let mut shadow = Record::from(ShadowRecord {
            compared_at: 7,
            customer_id: "c".to_owned(),
            pseudonym_key: "k".to_owned(),
            ..ShadowRecord::default()
        });
        for record in [&mut decision, &mut outcome, &mut shadow] {
            record.sign("s", "1.2.3");
            assert_eq!((record.server(), record.customer_id(), record.pseudonym_key()), ("s", "c", "k"));
        }
        let all = [&decision, &outcome, &shadow];
        let blanked = all.map(|record| record.blanked(1, vec![0; 9]));
        for at in 1..all.len() {
            assert_eq!(message(all[0]), message(all[at]));
            assert_eq!(message(&blanked[0]), message(&blanked[at]));
        }
        assert!(blanked.iter().all(|record| record.is_erased() && record.filed_at() == 7));
    }
}
