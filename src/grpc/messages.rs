//! The positions of messages in a sequence of frames. HTTP/2 may cut messages anywhere, so the length before each one
//! is followed.

/// Bytes before each message: whether it is compressed, and its length
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
pub(super) const PREFIX: usize = 5;

/// The position of a body in its messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; PREFIX],
    /// Bytes of the current message's prefix that have arrived.
    known: usize,
    /// Bytes of the current message that are still to come, without its prefix.
    missing: usize,
    whole: u64,
}

impl Messages {
    /// Takes in the next bytes. Calls `begins` for each message that begins, with whether it is compressed, and its
    /// length.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut begins: impl FnMut(bool, usize)) {
        while !bytes.is_empty() {
            if self.known < PREFIX {
                let (now, rest) = bytes.split_at(bytes.len().min(PREFIX - self.known));
                self.prefix[self.known..self.known + now.len()].copy_from_slice(now);
                self.known += now.len();
                bytes = rest;
                if self.known < PREFIX {
                    return;
                }
                let [compressed, length @ ..] = self.prefix;
                self.missing = u32::from_be_bytes(length) as usize;
                begins(compressed != 0, self.missing);
            }
            let now = bytes.len().min(self.missing);
            self.missing -= now;
            bytes = &bytes[now..];
            if self.missing == 0 {
                self.known = 0;
                self.whole += 1;
            }
        }
    }

    /// Messages that have arrived whole.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }

    /// Whether a message has arrived in part.
    pub(super) fn are_within_one(&self) -> bool {
        self.known > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However messages are cut into frames, each message is reported once.
        #[test]
        fn messages_are_found_in_any_frames(
            messages in prop::collection::vec((any::<bool>(), 0_usize..40), 0..8),
            cuts in prop::collection::vec(0_usize..30, 0..20),
        ) {
            let mut bytes = Vec::new();
            for (compressed, length) in &messages {
                bytes.push(u8::from(*compressed));
                bytes.extend((*length as u32).to_be_bytes());
                bytes.extend(vec![1; *length]);
            }
            let (mut read, mut found, mut rest) = (Messages::default(), Vec::new(), &bytes[..]);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (frame, after) = rest.split_at(cut.min(rest.len()));
                read.read(frame, |compressed, length| found.push((compressed, length)));
                rest = after;
            }
            prop_assert_eq!(read.whole(), messages.len() as u64);
            prop_assert_eq!(found, messages);
            prop_assert!(!read.are_within_one());
        }
    }
}
