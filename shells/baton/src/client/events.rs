//! Reads server-sent events, however they are cut into chunks. It holds one event at most beyond what it was given, and knows
//! nothing of connections.

use serde_json::Value;

/// The longest event, in bytes: many times what the longest line makes of it.
const MAX_EVENT: usize = 16 << 20;

/// Takes chunks in, gives frames out.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Where what was not read yet begins.
    start: usize,
    /// Up to where no end of a line was found.
    searched: usize,
    data: Vec<u8>,
}

impl Reader {
    /// Takes a chunk in. What was taken in before must have been read to its end. The error is a sentence.
    pub fn take(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len().max(self.data.len()) > MAX_EVENT + chunk.len() {
            return Err(format!("it sent an event of more than {} MiB", MAX_EVENT >> 20));
        }
        Ok(())
    }

    /// The next event's data as JSON; `None` if it is not all there. The error is a sentence.
    pub fn next_frame(&mut self) -> Result<Option<Value>, String> {
        while let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let end = self.searched + length;
            let line = &self.buffer[self.start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (self.start, self.searched) = (end + 1, end + 1);
            if let Some(data) = line.strip_prefix(b"data:") {
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                let frame = serde_json::from_slice(&self.data)
                    .map_err(|error| format!("it sent an event that is no JSON: {error}"));
                self.data.clear();
                return frame.map(Some);
            }
        }
        self.searched = self.buffer.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(chunks: &[&[u8]]) -> Vec<Value> {
        let mut reader = Reader::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            reader.take(chunk).unwrap();
            while let Some(frame) = reader.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = b"retry: 1000\n\n:\n\nid: 1-1\nevent: line\ndata: {\"a\":\"\xc3\xbc\"}\n\ndata:{\"b\":2}\r\n\r\ndata: {\"lost\":";
        let expected = [json!({"a": "ü"}), json!({"b": 2})];
        for size in 1..text.len() {
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(read(&chunks), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn what_is_no_event_is_said() {
        let mut reader = Reader::default();
        reader.take(b"data: oops\n\n").unwrap();
        assert!(reader.next_frame().unwrap_err().starts_with("it sent an event that is no JSON"));
        let mut reader = Reader::default();
        let endless = vec![b'x'; 1 << 20];
        let refused = (0..20).find_map(|_| {
            let taken = reader.take(&endless).err();
            assert_eq!(reader.next_frame(), Ok(None));
            taken
        });
        assert_eq!(refused.as_deref(), Some("it sent an event of more than 16 MiB"));
    }
}
