//! Dead letters: followed beside everything else, so that nobody waits for them who does not ask for one; and the calls about
//! them. A letter is read back from the log whenever it is asked for, and never kept.

use super::{Api, READ_BYTES, RETRY_AFTER, Shared};
use crate::patience::{Patience, until_there};
use crate::ports::{Log, LogError, Tail, TailFrom, World};
use baton_core::hub::{Admission, Input, LetterShown, LettersPage, LettersQuery, Redrive, letter_at};
use baton_core::id::TaskId;
use baton_core::log::Topic;
use baton_core::problem::Problem;
use baton_core::record::DeadLetter;
use baton_core::redrive::LetterPlace;
use std::convert::Infallible;

impl<L: Log, W: World> Shared<L, W> {
    /// Reads the dead letters from the oldest on, for ever.
    pub(super) async fn follow_letters(&self) -> Result<Infallible, LogError> {
        let mut tail = until_there(|| self.log.tail(Topic::DeadLetters, TailFrom::Earliest)).await?;
        let mut patience = Patience::default();
        loop {
            match patience.then(tail.next()).await {
                Ok(event) => self.take_in(Topic::DeadLetters, event),
                Err(error) => patience.note(error, Topic::DeadLetters.name())?,
            }
            tokio::task::yield_now().await;
        }
    }

    /// The letter that is at this place.
    async fn read_letter(&self, id: &TaskId, place: LetterPlace) -> Result<DeadLetter, Problem> {
        let LetterPlace { partition, offset } = place;
        let read = self.log.read(Topic::DeadLetters, partition, offset, offset + 1, READ_BYTES).await;
        let read = read.map_err(|error| Problem::unavailable(error.to_string(), RETRY_AFTER))?;
        letter_at(place, &read).ok_or_else(|| {
            self.handle(Input::LetterGone(id.clone(), place));
            Problem::no_such_letter(id.as_str())
        })
    }
}

impl<L: Log, W: World> Api<L, W> {
    /// The dead letters that are asked for.
    pub fn letters(&self, query: &LettersQuery) -> Result<LettersPage, Problem> {
        self.shared.hub().letters(query)
    }

    /// One dead letter, whole.
    pub async fn letter(&self, id: &TaskId) -> Result<LetterShown, Problem> {
        let place = self.shared.hub().letter_place(id)?;
        let letter = self.shared.read_letter(id, place).await?;
        Ok(self.shared.hub().show_letter(id, place, letter))
    }

    /// Submits the letter's task again, under its own id or a new one: it is on the log, synced, when this returns. However often
    /// it is called, it is one task.
    pub async fn redrive(&self, id: &TaskId, same_id: bool) -> Result<TaskId, Problem> {
        let shared = &self.shared;
        let decided = shared.hub().redrive(id, same_id, shared.clock.now())?;
        let (place, task_id) = match decided {
            Redrive::Known(task_id) => return Ok(task_id),
            Redrive::As(place, task_id) => (place, task_id),
        };
        let letter = shared.read_letter(id, place).await?;
        let record = letter.redriven(task_id.clone(), &shared.types, shared.clock.world().wall())?;
        if shared.hub().admit(&record)? == Admission::Append {
            let appended = self.append(Topic::Tasks, task_id.clone(), record.write()).await?;
            shared.handle(Input::Records(appended));
            tracing::info!(task = %task_id, letter = %id, "redriven");
        }
        Ok(task_id)
    }

    /// Takes a dead letter back: that is on the log, synced, when this returns.
    pub async fn purge(&self, id: &TaskId) -> Result<(), Problem> {
        self.shared.hub().letter_place(id)?;
        let appended = self.append(Topic::DeadLetters, id.clone(), Vec::new()).await?;
        self.shared.handle(Input::Records(appended));
        tracing::info!(letter = %id, "purged");
        Ok(())
    }
}
