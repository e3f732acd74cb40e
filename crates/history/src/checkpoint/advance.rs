//! The next checkpoint: the last one, and the events behind it.

use std::cmp::Ordering;
use std::io::{Read, Write};

use chrono::{DateTime, TimeDelta, Utc};

use super::fields::{Input, Output};
use super::{CheckpointError, end, read_customer, read_head, write_customer, write_head};
use crate::History;

/// Makes the next checkpoint out of the last one, `old`, without reading all of it into memory.
///
/// `apply` is called with a history that has everything of `old` but its customers, and with the position that `old`
/// covers. It resolves the limits of the release that serves, counts the events behind the position, each once, and
/// returns the new position. Customers whom `forgets` names are left out, and so is what
/// [`History::expire`] would drop at `now`.
///
/// # Errors
/// When `old` is not a checkpoint that was written whole, `apply` fails, or input or output does. What was written
/// until then is no checkpoint.
pub fn advance<E: From<CheckpointError>>(
    old: impl Read,
    new: impl Write,
    (now, keep, deduplicated): (DateTime<Utc>, TimeDelta, TimeDelta),
    forgets: impl Fn(&str) -> bool,
    apply: impl FnOnce(&History, &[u8]) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let mut old = Input::new(old);
    let (history, position) = read_head(&mut old, deduplicated)?;
    // The old file has no others; more are given out from now on.
    let codes = history.names.codes();
    let position = apply(&history, &position)?;
    history.expire(now, keep);
    // Names are written before customers are merged, and a full timeline needs such a code.
    history.names.saturate_all();
    Ok(merge((old, codes), new, &history, &position, history.expires_before(now, keep), forgets)?)
}

/// Makes a checkpoint out of `old` without the customers whom `forgets` names. All else stays as it is.
///
/// # Errors
/// When `old` is not a checkpoint that was written whole, or input or output fails.
pub fn without(
    old: impl Read,
    new: impl Write,
    forgets: impl Fn(&str) -> bool,
) -> Result<(), CheckpointError> {
    let mut old = Input::new(old);
    let (history, position) = read_head(&mut old, TimeDelta::zero())?;
    let codes = history.names.codes();
    merge((old, codes), new, &history, &position, 0, forgets)
}

/// Writes the next checkpoint: `history`, from which what is before `since` was dropped, and the customers of `old`,
/// whose entries have the first `codes`.
fn merge<R: Read>(
    (mut old, codes): (Input<R>, usize),
    new: impl Write,
    history: &History,
    position: &[u8],
    since: i64,
    forgets: impl Fn(&str) -> bool,
) -> Result<(), CheckpointError> {
    let mut out = Output::new(new);
    write_head(history, position, &mut out)?;
    let changed = history.customers.ids().into_iter();
    let mut changed = changed.filter_map(|id| history.customers.remove(&id).map(|one| (id, one))).peekable();
    let mut kept = read_customer(&mut old, codes)?;
    loop {
        let order = match (&kept, changed.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((kept, _)), Some((changed, _))) => kept.cmp(changed),
        };
        let of_old = if order == Ordering::Greater {
            None
        } else {
            let next = read_customer(&mut old, codes)?;
            if let (Some((last, _)), Some((next, _))) = (&kept, &next)
                && last >= next
            {
                return Err(old.damaged("the customers are not in order"));
            }
            std::mem::replace(&mut kept, next)
        };
        let of_events = if order == Ordering::Less { None } else { changed.next() };
        let merged = match (of_old, of_events) {
            (Some((id, mut timeline)), later) => {
                // First, so that what is too old takes no room from what stays.
                timeline.expire(since);
                if let Some((_, later)) = later {
                    history.merge(&mut timeline, &later);
                }
                Some((id, timeline))
            }
            (None, new) => new,
        };
        let Some((id, timeline)) = merged else { break };
        if !forgets(&id) && (timeline.len() > 0 || timeline.has_opted_out()) {
            write_customer(&id, &timeline, &mut out)?;
        }
    }
    old.finish()?;
    end(out)
}
