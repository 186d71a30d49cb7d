//! Reads a task's history by position: any stretch of it, its end first if that is wanted, and where words stand in it.
//!
//! Each answer is bounded, and says where to go on. No lock is held while text is searched or the log is read.

use crate::api::Api;
use crate::ports::{Log, LogError, World};
use baton_core::hub::{Needle, Place, Segment, Stretch};
use baton_core::id::TaskId;
use baton_core::problem::Problem;
use std::sync::Arc;
use std::time::Duration;

/// How much JSON an answer has before no further update is begun, in bytes.
const WINDOW_BYTES: usize = 1 << 20;
/// How much text is searched before an answer is given, in bytes: about a tenth of a second.
const SEARCH_BYTES: usize = 32 << 20;
/// How many places an answer names.
const MAX_FOUND: usize = 10_000;
/// When a client should try again to whom the log could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Some of a task's updates.
#[derive(Debug)]
pub struct Window {
    /// How many updates there are.
    pub total: usize,
    /// The position of the first one here. Beyond the one that was asked for if those before it are gone.
    pub from: usize,
    /// JSON objects as in frames, with commas between them.
    pub json: Vec<u8>,
}

/// Where words were found.
#[derive(Debug)]
pub struct Found {
    /// How many updates there are.
    pub total: usize,
    /// The positions.
    pub positions: Vec<usize>,
    /// Where to go on; `None` when all was searched.
    pub next: Option<usize>,
}

impl<L: Log, W: World> Api<L, W> {
    /// At most `limit` updates: those from a position on, or the last ones.
    pub async fn window(&self, id: &TaskId, from: Option<usize>, limit: usize) -> Result<Window, Problem> {
        let (total, _) = self.place(id, 0)?;
        let from = from.unwrap_or(total.saturating_sub(limit)).min(total);
        let mut window = Window { total, from, json: Vec::new() };
        let (mut position, mut left) = (from, limit.min(total - from));
        while left > 0 && window.json.len() < WINDOW_BYTES {
            let (_, Some(place)) = self.place(id, position)? else { break };
            let (segment, first, here) = self.segment(id, &place, position).await?;
            if here > position {
                // Its beginning is gone from the log.
                if !window.json.is_empty() {
                    break;
                }
                window.from = here;
                left = left.saturating_sub(here - position).max(1);
            }
            let appended = segment.append_json(first, left, WINDOW_BYTES, &mut window.json);
            if appended == 0 {
                break;
            }
            left -= appended;
            position = here + appended;
        }
        Ok(window)
    }

    /// Where the needle is, from a position on.
    pub async fn search(&self, id: &TaskId, needle: &Needle, from: usize) -> Result<Found, Problem> {
        let (total, _) = self.place(id, 0)?;
        let mut found = Found { total, positions: Vec::new(), next: None };
        let (mut position, mut bytes) = (from, 0);
        while position < total {
            if bytes >= SEARCH_BYTES || found.positions.len() >= MAX_FOUND {
                found.next = Some(position);
                break;
            }
            let (_, Some(place)) = self.place(id, position)? else { break };
            let (segment, first, here) = self.segment(id, &place, position).await?;
            found.positions.extend(segment.find(needle, first).map(|number| here + number - first));
            bytes += segment.text_bytes();
            position = place.base + place.count;
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    fn place(&self, id: &TaskId, position: usize) -> Result<(usize, Option<Place>), Problem> {
        let hub = self.shared.hub();
        if !hub.ready() {
            return Err(Problem::still_reading()); // the end of what was read is not the end
        }
        hub.place_at(id, position).ok_or_else(|| hub.unknown(id))
    }

    /// The segment at a place, the number in it of the update at `position`, and the position that this update has: a later
    /// one if the beginning of the segment is gone from the log.
    async fn segment(
        &self,
        id: &TaskId,
        place: &Place,
        position: usize,
    ) -> Result<(Arc<Segment>, usize, usize), Problem> {
        let segment = match &place.stretch {
            Stretch::Here(segment, _) => segment.clone(),
            Stretch::OnTheLog(recall) => {
                Arc::new(self.shared.recall(id, recall).await.map_err(|error| unread(&error))?)
            }
        };
        let gone = place.count.saturating_sub(segment.len());
        let here = position.max(place.base + gone);
        Ok((segment, here - place.base - gone, here))
    }
}

fn unread(error: &LogError) -> Problem {
    Problem::unavailable(error.to_string(), RETRY_AFTER)
}
