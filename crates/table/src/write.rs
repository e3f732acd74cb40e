//! Writes CSV: fields are quoted where needed, and lines end with a line feed.

/// A table that grows in memory.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Adds a record.
    pub fn write<F: AsRef<[u8]>>(&mut self, fields: impl IntoIterator<Item = F>) {
        let begin = self.bytes.len();
        for (position, field) in fields.into_iter().enumerate() {
            if position > 0 {
                self.bytes.push(b',');
            }
            self.field(field.as_ref());
        }
        if self.bytes.len() == begin {
            // An empty line would not be a record.
            self.bytes.extend_from_slice(b"\"\"");
        }
        self.bytes.push(b'\n');
    }

    /// The bytes written so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn field(&mut self, field: &[u8]) {
        if !field.iter().any(|byte| b",\"\r\n".contains(byte)) {
            return self.bytes.extend_from_slice(field);
        }
        self.bytes.push(b'"');
        for byte in field {
            if *byte == b'"' {
                self.bytes.push(b'"');
            }
            self.bytes.push(*byte);
        }
        self.bytes.push(b'"');
    }
}
