//! Reads through a log file to see how far it is whole. Decodes positions alone: a start does not wait for more.

use std::io::{self, BufReader, Read};

use prost::Message;

use crate::frame::{HEAD_BYTES, MAX_EVENT_BYTES, checksum};
use crate::numbers;
use crate::proto::LogHeader;

/// The format of log files that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// How far a search for whole frames looks behind one that is not …
const SEARCHED_BYTES: u64 = 64 << 20;

/// … and the longest event that it finds. Longer ones would make it quadratic.
const SEARCHED_EVENT: usize = 1 << 20;

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The first entry.
    pub(crate) header: Option<LogHeader>,
    /// The position of the first event.
    pub(crate) first: u64,
    /// The position of the last event; one less than `first` if there is none.
    pub(crate) last: u64,
    /// When the first event was appended.
    pub(crate) recorded_at: i64,
    /// The end of the last whole frame.
    pub(crate) bytes: u64,
    /// Whether frames follow that stand in the next file again.
    pub(crate) superseded: bool,
    /// What is wrong behind `bytes`.
    pub(crate) fault: Option<Fault>,
}

/// Where a file stops being whole.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What is wrong there.
    pub(crate) message: String,
    /// The greatest position of a whole frame that follows. If there is one, it is more than a torn tail.
    pub(crate) resumes: Option<u64>,
}

impl Scan {
    pub(crate) fn has_events(&self) -> bool {
        self.header.is_some() && self.last >= self.first
    }
}

/// The fields of an event that a scan needs.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(uint64, tag = "1")]
    position: u64,
    #[prost(int64, tag = "2")]
    recorded_at: i64,
    #[prost(message, optional, tag = "3")]
    header: Option<LogHeader>,
}

/// Reads from the beginning to the end, to the first frame that is not whole, or to the position `stop` at which the
/// next file begins.
pub(crate) fn scan(source: impl Read, stop: Option<u64>) -> io::Result<Scan> {
    let mut source = BufReader::with_capacity(256 << 10, source);
    let (mut scan, mut buffer) = (Scan::default(), Vec::new());
    loop {
        buffer.clear();
        let entry = match next(&mut source, &mut buffer)? {
            Next::End => return Ok(scan),
            Next::Entry(entry) => entry,
            Next::Torn(message) => {
                scan.fault = Some(Fault { message, resumes: scan.resumes(&buffer, source)? });
                return Ok(scan);
            }
        };
        let is_next = scan.header.is_some() && entry.position.checked_sub(1) == Some(scan.last);
        if is_next && stop.is_some_and(|stop| entry.position >= stop) {
            scan.superseded = true;
            return Ok(scan);
        }
        if let Err(message) = scan.accept(entry) {
            // The frame itself is whole.
            let resumes = scan.resumes(&buffer, source)?.or(Some(scan.last));
            scan.fault = Some(Fault { message, resumes });
            return Ok(scan);
        }
        scan.bytes += buffer.len() as u64;
    }
}

impl Scan {
    /// Takes the next whole entry.
    fn accept(&mut self, entry: Entry) -> Result<(), String> {
        if numbers::checked(entry.position).is_none() {
            return Err(format!("position {} is greater than any server reaches", entry.position));
        }
        match (&self.header, entry.header) {
            (None, Some(_)) if entry.position == 0 => Err("its header has no position".to_owned()),
            (None, Some(header)) => {
                (self.first, self.last) = (entry.position, entry.position - 1);
                self.header = Some(header);
                Ok(())
            }
            (None, None) => Err("it does not begin with a header".to_owned()),
            (Some(_), Some(_)) => Err("it has a second header".to_owned()),
            (Some(_), None) if entry.position == self.last + 1 => {
                if self.last < self.first {
                    self.recorded_at = entry.recorded_at;
                }
                self.last = entry.position;
                Ok(())
            }
            (Some(_), None) => Err(format!("position {} follows position {}", entry.position, self.last)),
        }
    }

    /// The greatest position of the whole frames that begin anywhere in `torn` and what follows it; `None` if there are
    /// none.
    fn resumes(&self, torn: &[u8], rest: impl Read) -> io::Result<Option<u64>> {
        let mut bytes = torn.to_vec();
        rest.take(SEARCHED_BYTES).read_to_end(&mut bytes)?;
        // An event takes more bytes than its head, so that positions do not grow faster.
        let most = |from: u64| from.saturating_add((bytes.len() / HEAD_BYTES) as u64);
        let (mut at, mut known) = (0, self.header.as_ref().map(|_| self.last));
        let mut found = None;
        while at < bytes.len() {
            let Some((entry, length)) = whole(&bytes[at..]) else {
                at += 1;
                continue;
            };
            let position = numbers::checked(entry.position);
            let believed = position.filter(|position| *position <= most(*known.get_or_insert(*position)));
            found = found.max(believed).or(Some(self.last));
            at += length;
        }
        Ok(found)
    }
}

enum Next {
    Entry(Entry),
    End,
    Torn(String),
}

/// Reads a frame into `buffer`, its head included.
fn next(source: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Next> {
    source.by_ref().take(HEAD_BYTES as u64).read_to_end(buffer)?;
    let Some((length, stated)) = head(buffer) else {
        return Ok(if buffer.is_empty() {
            Next::End
        } else {
            Next::Torn("it ends in the head of a frame".to_owned())
        });
    };
    let bytes = u32::from_le_bytes(length) as usize;
    if bytes > MAX_EVENT_BYTES {
        return Ok(Next::Torn(format!("a frame of {bytes} bytes, more than {MAX_EVENT_BYTES}")));
    }
    let read = source.by_ref().take(bytes as u64).read_to_end(buffer)?;
    if read < bytes {
        return Ok(Next::Torn(format!("it ends after {read} of {bytes} bytes of an event")));
    }
    if checksum(length, &buffer[HEAD_BYTES..]) != stated {
        return Ok(Next::Torn("a checksum does not match".to_owned()));
    }
    Ok(match Entry::decode(&buffer[HEAD_BYTES..]) {
        Ok(entry) => Next::Entry(entry),
        Err(error) => Next::Torn(format!("no event: {error}")),
    })
}

/// The length and the checksum that a frame begins with.
fn head(frame: &[u8]) -> Option<([u8; 4], u32)> {
    let length = frame.get(..4)?.try_into().ok()?;
    let stated = frame.get(4..HEAD_BYTES)?.try_into().ok()?;
    Some((length, u32::from_le_bytes(stated)))
}

/// The entry of the whole frame that `bytes` begin with, and the bytes of the frame.
fn whole(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length, stated) = head(bytes)?;
    let end = HEAD_BYTES + u32::from_le_bytes(length) as usize;
    // An entry begins with its position, which is never 0.
    let is_likely = bytes.get(HEAD_BYTES) == Some(&0x08) && end <= SEARCHED_EVENT;
    let event = bytes.get(HEAD_BYTES..end).filter(|_| is_likely)?;
    let entry = (checksum(length, event) == stated).then(|| Entry::decode(event))?;
    Some((entry.ok()?, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::write;
    use crate::proto::{DecisionRecord, Event, event};

    fn header(position: u64) -> Event {
        let header = LogHeader { format: FORMAT, sequence: 1, ..LogHeader::default() };
        Event { position, recorded_at: 1, event: Some(event::Event::Header(header)) }
    }

    fn decision(position: u64) -> Event {
        let record = DecisionRecord { request_id: "r".repeat(50), ..DecisionRecord::default() };
        Event { position, recorded_at: 100, event: Some(event::Event::Decision(Box::new(record))) }
    }

    /// A file, and where its frames end.
    fn file(events: impl IntoIterator<Item = Event>) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for event in events {
            write(&event, &mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn numbered(positions: std::ops::RangeInclusive<u64>) -> (Vec<u8>, Vec<usize>) {
        file([header(*positions.start())].into_iter().chain(positions.map(decision)))
    }

    #[test]
    fn a_whole_file_is_read_to_its_end() {
        let (bytes, _) = numbered(5..=9);
        let found = scan(&*bytes, None).unwrap();
        assert_eq!((found.first, found.last, found.recorded_at), (5, 9, 100));
        assert_eq!((found.bytes, found.has_events()), (bytes.len() as u64, true));
        assert!(found.fault.is_none() && !found.superseded);
        let empty = scan(&*numbered(std::ops::RangeInclusive::new(5, 4)).0, None).unwrap();
        assert_eq!((empty.first, empty.last, empty.has_events()), (5, 4, false));
    }

    #[test]
    fn it_ends_where_the_next_file_begins() {
        let (bytes, ends) = numbered(5..=9);
        let found = scan(&*bytes, Some(8)).unwrap();
        assert_eq!((found.last, found.bytes, found.superseded), (7, ends[3] as u64, true));
        assert!(!scan(&*bytes, Some(10)).unwrap().superseded);
        assert!(!scan(&*bytes, Some(5)).unwrap().has_events());
    }

    #[test]
    fn a_cut_anywhere_is_a_torn_tail() {
        let (bytes, ends) = numbered(1..=3);
        for cut in 0..bytes.len() {
            let found = scan(&bytes[..cut], None).unwrap();
            let whole = ends.iter().copied().filter(|end| *end <= cut).max().unwrap_or(0);
            assert_eq!(found.bytes, whole as u64);
            assert_eq!(found.fault.is_some(), whole != cut);
            assert!(found.fault.is_none_or(|fault| fault.resumes.is_none()), "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_byte_before_whole_frames_is_more_than_a_torn_tail() {
        let (bytes, ends) = numbered(1..=3);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            let found = scan(&*bytes, None).unwrap();
            let whole = ends.iter().copied().filter(|end| *end <= at).max().unwrap_or(0);
            assert_eq!(found.bytes, whole as u64);
            assert_eq!(found.fault.unwrap().resumes, (at < ends[2]).then_some(3), "changed at {at}");
        }
    }

    #[test]
    fn entries_out_of_place_are_faults() {
        let cases = [
            (vec![decision(1)], "does not begin with a header"),
            (vec![header(0)], "no position"),
            (vec![header(1), decision(1), header(2)], "second header"),
            (vec![header(1), decision(1), decision(3)], "position 3 follows position 1"),
            (vec![header(u64::MAX)], "position 18446744073709551615 is greater than any server reaches"),
            (vec![header(1), decision(1), decision(u64::MAX)], "is greater than any server reaches"),
        ];
        for (events, message) in cases {
            for stop in [None, Some(9)] {
                let fault = scan(&*file(events.clone()).0, stop).unwrap().fault.unwrap();
                assert!(fault.resumes.is_some() && fault.message.contains(message), "{fault:?}");
            }
        }
    }

    #[test]
    fn positions_behind_a_fault_are_believed_as_far_as_they_can_be_true() {
        let (torn, _) = numbered(7..=9);
        let behind = |position| {
            let (more, _) = file([decision(position)]);
            let bytes = [&torn[..torn.len() - 1], &more].concat();
            scan(&*bytes, None).unwrap().fault.unwrap().resumes
        };
        assert_eq!([behind(10), behind(12)], [Some(10), Some(12)]);
        assert_eq!([behind(5_000_000_000), behind(u64::MAX)], [Some(8); 2]);
        // Without a header, the first tells where the file was.
        let (whole, ends) = numbered(501..=505);
        let mut bytes = whole;
        bytes[ends[0] - 1] ^= 1;
        assert_eq!(scan(&*bytes, None).unwrap().fault.unwrap().resumes, Some(505));
    }

    #[test]
    fn zeros_behind_the_end_are_a_torn_tail() {
        let (mut bytes, _) = numbered(1..=2);
        let end = bytes.len() as u64;
        bytes.extend([0; 10_000]);
        let found = scan(&*bytes, None).unwrap();
        assert_eq!((found.last, found.bytes, found.fault.unwrap().resumes), (2, end, None));
    }
}
