//! Reads what a watcher sends: bytes in, whole messages out (RFC 6455, section 5). Sans I/O.
//!
//! It holds no memory while nothing is half read, and never more than one small message.

use super::close::Close;
use crate::options::MAX_MESSAGE;
use bytes::Bytes;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest payload of a control frame.
const MAX_CONTROL: u64 = 125;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Ping(Bytes),
    Pong,
    /// The closing handshake; holds the frame that answers it.
    Close(Bytes),
}

/// Makes messages of bytes.
#[derive(Debug, Default)]
pub struct Reader {
    unread: Vec<u8>,
    /// The text so far of a message that comes in fragments.
    fragments: Option<Vec<u8>>,
}

impl Reader {
    /// Takes bytes in. Then call [`Self::next`] until it has no more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next whole message. The error is how to close; nothing can be read after it.
    pub fn next(&mut self) -> Result<Option<Message>, Close> {
        while let Some((header, payload)) = self.next_frame()? {
            let message = match header.opcode {
                OpCode::Control(control) => Some(read_control(control, payload)?),
                OpCode::Data(data) => self.read_data(data, header.is_final, payload)?,
            };
            if message.is_some() {
                return Ok(message);
            }
        }
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        Ok(None)
    }

    fn next_frame(&mut self) -> Result<Option<(FrameHeader, Vec<u8>)>, Close> {
        let mut cursor = Cursor::new(self.unread.as_slice());
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Close::not_the_protocol("no such opcode"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        self.check(&header, length)?;
        let mask = header.mask.ok_or_else(|| Close::not_the_protocol("a client's frames must be masked"))?;
        let start = usize::try_from(cursor.position()).expect("a position in memory");
        let end = start + usize::try_from(length).expect("checked above to be small");
        let Some(masked) = self.unread.get(start..end) else { return Ok(None) };
        let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.unread.drain(..end);
        Ok(Some((header, payload)))
    }

    /// All that a header alone can have wrong, so that nothing of a bad frame is ever waited for.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<(), Close> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Close::not_the_protocol("reserved bits are set, and no extension was agreed on"));
        }
        match header.opcode {
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                Err(Close::not_the_protocol("no such opcode"))
            }
            OpCode::Control(_) if !header.is_final => {
                Err(Close::not_the_protocol("a control frame can't be fragmented"))
            }
            OpCode::Control(_) if length > MAX_CONTROL => Err(Close::not_the_protocol("a control frame is short")),
            OpCode::Control(_) => Ok(()),
            OpCode::Data(Data::Binary) => Err(Close::not_text()),
            OpCode::Data(_) => {
                let before = self.fragments.as_ref().map_or(0, Vec::len) as u64;
                if before.saturating_add(length) > MAX_MESSAGE as u64 {
                    Err(Close::too_long(MAX_MESSAGE))
                } else {
                    Ok(())
                }
            }
        }
    }

    fn read_data(&mut self, data: Data, is_final: bool, payload: Vec<u8>) -> Result<Option<Message>, Close> {
        let text = match (data, self.fragments.take()) {
            (Data::Continue, Some(mut before)) => {
                before.extend_from_slice(&payload);
                before
            }
            (Data::Continue, None) => return Err(Close::not_the_protocol("there is nothing to continue")),
            (_, Some(_)) => return Err(Close::not_the_protocol("the message before is not finished")),
            (_, None) => payload,
        };
        if !is_final {
            self.fragments = Some(text);
            return Ok(None);
        }
        let text = String::from_utf8(text).map_err(|_| Close::not_utf8())?;
        Ok(Some(Message::Text(text)))
    }
}

fn read_control(control: Control, payload: Vec<u8>) -> Result<Message, Close> {
    Ok(match control {
        Control::Ping => Message::Ping(payload.into()),
        Control::Pong | Control::Reserved(_) => Message::Pong,
        Control::Close => {
            let code = match payload.as_slice() {
                [] => &[],
                [_] => return Err(Close::not_the_protocol("a close code has two bytes")),
                [high, low, reason @ ..] => {
                    let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
                    if !code.is_allowed() {
                        return Err(Close::not_the_protocol("no such close code"));
                    }
                    std::str::from_utf8(reason).map_err(|_| Close::not_utf8())?;
                    &payload[..2]
                }
            };
            Message::Close(control_frame(0x88, code))
        }
    })
}

/// The frame that answers a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    control_frame(0x8a, payload)
}

/// A ping without a payload.
pub const PING: Bytes = Bytes::from_static(&[0x89, 0]);

fn control_frame(first: u8, payload: &[u8]) -> Bytes {
    let length = u8::try_from(payload.len()).expect("a control frame's payload is short");
    [&[first, length], payload].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0xa1, 0, 0x7f, 3];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
            long => {
                frame.push(0x80 | 0x7e);
                frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// All messages of these bytes, and how it ends; the same however the bytes are cut.
    fn read(bytes: &[u8]) -> (Vec<Message>, Option<u16>) {
        let whole = read_in_chunks(bytes, bytes.len().max(1));
        assert_eq!(read_in_chunks(bytes, 1), whole);
        assert_eq!(read_in_chunks(bytes, 3), whole);
        whole
    }

    fn read_in_chunks(bytes: &[u8], size: usize) -> (Vec<Message>, Option<u16>) {
        let mut reader = Reader::default();
        let mut messages = Vec::new();
        for chunk in bytes.chunks(size) {
            reader.push(chunk);
            loop {
                match reader.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(close) => return (messages, Some(close.code)),
                }
            }
        }
        (messages, None)
    }

    #[test]
    fn fragments_make_one_message_and_control_frames_come_between_them() {
        let bytes = [
            masked(0x01, b"ST"),
            masked(0x89, b"x"),
            masked(0x00, "é".as_bytes()),
            masked(0x80, b"P"),
            masked(0x8a, b""),
        ];
        let text = Message::Text("STéP".into());
        assert_eq!(read(&bytes.concat()), (vec![Message::Ping(Bytes::from_static(b"x")), text, Message::Pong], None));
    }

    #[test]
    fn a_character_may_be_cut_between_fragments() {
        let bytes = [masked(0x01, &[0xc3]), masked(0x80, &[0xa9])].concat();
        assert_eq!(read(&bytes), (vec![Message::Text("é".into())], None));
    }

    #[test]
    fn the_longest_message_is_read_and_a_longer_one_is_not() {
        let longest = masked(0x81, &[b'x'; MAX_MESSAGE]);
        assert_eq!(read(&longest), (vec![Message::Text("x".repeat(MAX_MESSAGE))], None));
        assert_eq!(read(&masked(0x81, &[b'x'; MAX_MESSAGE + 1])).1, Some(1009));
        assert_eq!(read(&[masked(0x01, &[b'x'; MAX_MESSAGE]), masked(0x80, b"x")].concat()).1, Some(1009));
        assert_eq!(read(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]).1, Some(1009));
    }

    #[test]
    fn what_is_no_websocket_is_closed_by_the_right_code() {
        for (bytes, code) in [
            (vec![0x81, 0x02, b'h', b'i'], 1002),
            (masked(0xc1, b"x"), 1002),
            (masked(0x91, b"x"), 1002),
            (masked(0x83, b"x"), 1002),
            (masked(0x8b, b"x"), 1002),
            (masked(0x09, b"x"), 1002),
            (masked(0x89, &[0; 126]), 1002),
            (masked(0x80, b"x"), 1002),
            ([masked(0x01, b"x"), masked(0x81, b"x")].concat(), 1002),
            (masked(0x88, &[3]), 1002),
            (masked(0x88, &1005_u16.to_be_bytes()), 1002),
            (masked(0x88, &999_u16.to_be_bytes()), 1002),
            (masked(0x88, &[3, 232, 0xff]), 1007),
            (masked(0x82, b"x"), 1003),
            (masked(0x81, &[0xff]), 1007),
        ] {
            assert_eq!(read(&bytes), (vec![], Some(code)), "{bytes:x?}");
        }
    }

    #[test]
    fn a_close_is_answered_by_its_own_code() {
        let close = |frame: &'static [u8]| (vec![Message::Close(Bytes::from_static(frame))], None);
        assert_eq!(read(&masked(0x88, b"")), close(&[0x88, 0]));
        assert_eq!(read(&masked(0x88, b"\x03\xe8bye")), close(&[0x88, 2, 3, 232]));
        assert_eq!(read(&masked(0x88, &4000_u16.to_be_bytes())), close(&[0x88, 2, 0x0f, 0xa0]));
    }

    #[test]
    fn an_idle_reader_holds_nothing() {
        let mut reader = Reader::default();
        reader.push(&masked(0x81, b"STOP"));
        while reader.next().unwrap().is_some() {}
        assert_eq!(reader.unread.capacity(), 0);
    }
}
