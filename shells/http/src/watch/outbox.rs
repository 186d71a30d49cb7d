//! The frames that are being written to one socket: shared bytes, written as they are, many at a time.
//!
//! A write may stop anywhere; the next goes on from there, so that nothing is left out or sent twice.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// How many pieces go into one system call. Linux takes 1,024; a stretch of history rarely has more than this.
const PIECES: usize = 64;
/// For how many pieces there is room while there are none.
const RESERVE: usize = 4;

/// What is to be written, in order.
#[derive(Debug, Default)]
pub struct Outbox(VecDeque<Bytes>);

impl Outbox {
    pub fn push(&mut self, frames: Bytes) {
        if !frames.is_empty() {
            self.0.push_back(frames);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes once, by `write`, as much as it takes. Must not be empty.
    pub fn write(&mut self, write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        for (piece, frames) in pieces.iter_mut().zip(&self.0) {
            *piece = IoSlice::new(frames);
            count += 1;
        }
        let mut written = write(&pieces[..count])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(frames) = self.0.front_mut() {
            if written < frames.len() {
                frames.advance(written);
                return Ok(());
            }
            written -= frames.len();
            self.0.pop_front();
        }
        // An idle watcher holds next to nothing.
        self.0.shrink_to(RESERVE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_stops_anywhere_is_taken_up_there() {
        for step in 1..20 {
            let mut outbox = Outbox::default();
            let pieces: Vec<String> = (0..100).map(|n| format!("piece {n} ")).collect();
            for piece in &pieces {
                outbox.push(Bytes::copy_from_slice(piece.as_bytes()));
            }
            outbox.push(Bytes::new());
            let mut taken = Vec::new();
            while !outbox.is_empty() {
                let write = |pieces: &[IoSlice<'_>]| {
                    let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
                    let some = &all[..all.len().min(step)];
                    taken.extend_from_slice(some);
                    Ok(some.len())
                };
                outbox.write(write).unwrap();
            }
            assert_eq!(String::from_utf8(taken).unwrap(), pieces.concat());
        }
    }
}
