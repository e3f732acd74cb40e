//! Mutated markers and heartbeats: none panics, and none is taken for something else.

use fuzz::Target;
use serde::Serialize;

use super::*;

const WORDS: [&str; 16] = [
    "format = 1\n",
    "id = \"01930000-0000-7000-8000-000000000000\"\n",
    "requested_at = \"2026-11-30T12:00:00.000Z\"\n",
    "by = \"\"\n",
    "salt = \"\"\n",
    "[[name]]\n",
    "key = \"old-key\"\n",
    "sha256 = \"\"\n",
    "server = \"s\"\n",
    "records = 9223372036854775807\n",
    "left = [\"x\"]\n",
    "unknown_keys = [\"x@\", \"x@y@z\"]\n",
    "seen_at = \"+262142-12-31T23:59:60+23:59\"\n",
    "unsealed = -1\n",
    "ended = true\n",
    "\u{feff}",
];

/// What was read, if it was understood. What was not is the fault of one file.
fn understood<T>(read: Result<Option<T>, ErasureError>) -> Result<Option<T>, String> {
    match read {
        Ok(read) => Ok(read),
        Err(error) if error.is_of_content() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The bytes of a record.
fn written(record: &impl Serialize) -> Vec<u8> {
    toml::to_string(record).unwrap().into_bytes()
}

/// A store whose files are written by hand.
struct Files(World);

impl Files {
    fn new(folders: &[&str]) -> Self {
        let files = Self(World::new());
        for folder in folders {
            fs::create_dir_all(files.path(folder)).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("store").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        fs::write(self.path(name), bytes).map_err(|error| error.to_string())
    }
}

#[test]
fn erasures() {
    let [_, _, both] = generations();
    let mark = |keys: &Pseudonyms| Marker::new(&Subject::new(ANNA, keys).unwrap(), "desk", now()).unwrap();
    let markers = [mark(&plain()), mark(&both)];
    let id = markers[0].id();
    let done = Acknowledgement {
        server: "s".to_owned(),
        version: "1.2.3".to_owned(),
        at: "2026-11-30T12:00:00.000Z".to_owned(),
        records: 3,
        unknown_keys: [KeyName::from("a-key@0011223344556677".to_owned())].into(),
        left: vec!["x.log.damaged".to_owned()],
    };
    let completed = Completed {
        format: 1,
        id: id.to_owned(),
        requested_at: done.at.clone(),
        by: "desk".to_owned(),
        completed_at: done.at.clone(),
        servers: ["s".to_owned()].into(),
    };
    let mut seeds: Vec<Vec<u8>> = markers.iter().map(written).collect();
    seeds.extend([written(&done), written(&completed), Vec::new()]);
    let files = Files::new(&["erasures", &format!("erasures/{id}"), "erased"]);
    let erasures = Erasures::new(files.0.store.clone());
    let of_bert = record(&both, BERT, NOON);
    Target { name: "erasures", seeds, words: &WORDS, inputs: 3_000 }.run(|input| {
        for name in
            [format!("erasures/{id}.toml"), format!("erasures/{id}/s.ack"), format!("erased/{id}.toml")]
        {
            files.write(&name, input)?;
        }
        let listed = erasures.list().map_err(|error| error.to_string())?;
        if listed.len() != 1 || listed[id].len() != 1 {
            return Err(format!("{listed:?}"));
        }
        if let Some(marker) = understood(erasures.get(id))? {
            let again: Marker = toml::from_str(&toml::to_string(&marker).unwrap()).unwrap();
            assert_eq!((&again, again.id()), (&marker, id));
            for keys in [&plain(), &both] {
                if marker.check_keys(keys).is_ok() {
                    let erased = Erased::new(vec![marker.clone()], keys);
                    assert!(!erased.has(&of_bert) && !erased.has_customer(BERT) && !erased.has_customer(""));
                }
            }
        }
        understood(erasures.acknowledged(id, "s"))?;
        understood(erasures.completed(id))?;
        Ok(())
    });
}

#[test]
fn heartbeats() {
    let seeds = [Heartbeat::new("s", "1.2.3", now(), 7), Heartbeat::new("s", "", now(), 0).and_ends()];
    let files = Files::new(&["servers"]);
    let heartbeats = Heartbeats::new(files.0.store.clone());
    let seeds = seeds.iter().map(written).collect();
    Target { name: "heartbeats", seeds, words: &WORDS, inputs: 3_000 }.run(|input| {
        files.write("servers/s-1.toml", input)?;
        let Some(found) = understood(heartbeats.all().map(Some))? else { return Ok(()) };
        // Its name is that of the file, not what it says.
        assert_eq!(found.iter().map(|one| one.server.as_str()).collect::<Vec<_>>(), ["s-1"]);
        for now in [DateTime::<Utc>::MIN_UTC, now(), DateTime::<Utc>::MAX_UTC] {
            let ended = found[0].ended;
            for limit in [TimeDelta::MIN, TimeDelta::zero(), TimeDelta::MAX] {
                assert!(!(ended && found[0].is_alive(now, limit)));
            }
        }
        Ok(())
    });
}
