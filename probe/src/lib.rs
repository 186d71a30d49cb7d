//! Where simulations look inside: marks that say that an interesting branch was taken, and mutants, bugs on purpose that
//! the simulator must find; limits that are small enough to be met. Without the feature `on` all of it is nothing: the shipped binary has neither.

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in tables and on the command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

/// Mutants, each with the number of the guarantee that it breaks.
macro_rules! mutants {
    ($($(#[$doc:meta])* $guarantee:literal => $variant:ident = $text:literal,)*) => {
        names! {
            /// A bug on purpose, of a kind that real systems had.
            Mutant {
                $($(#[$doc])* #[doc = concat!("Breaks guarantee ", $guarantee, ".")] $variant = $text,)*
            }
        }

        impl Mutant {
            /// The number of the guarantee that it breaks.
            pub const fn guarantee(self) -> u8 {
                match self {
                    $(Self::$variant => $guarantee,)*
                }
            }
        }
    };
}

names! {
    /// An interesting branch: one that a simulation of any worth takes.
    Mark {
        // The worker.
        /// The log did not take a step, and it was asked for again: the same records, once.
        StepAskedAgain = "step asked again",
        /// The answer to a step came when its claim had gone: it says nothing of the claim that came after.
        StaleAnswer = "answer to a step of an earlier claim",
        /// Claims that end by time were not renewed: another worker may begin the same tasks now.
        LeaseRanOut = "lease ran out",
        /// A claim went while a task of it ran: the process must die, and its lines must stop.
        ClaimLostWhileRunning = "claim lost while running",
        /// A partition was asked for while a task of it ran: its attempt is handed back first.
        ClaimRevokedWhileRunning = "claim revoked while running",
        /// A partition that was asked for was released, once nothing of it ran.
        ReleasedWhenQuiet = "released when quiet",
        /// A run ended whose claim was gone: it must free its slot, and write nothing.
        EndedWithoutClaim = "run ended without its claim",
        /// A partition was claimed while a run of an earlier claim of it was dying: nothing of it may begin yet.
        DyingHeldPartition = "dying run held a partition",
        /// A task above the watermark was read again after its end: the map of the ledger keeps it from running twice.
        ReadAfterItsEnd = "redelivery after the terminal append",
        /// A task below the watermark was read, for its id: that is how a second record is known after a restart.
        LookedBack = "looked back",
        /// Offsets hold nothing where the log keeps its own marks, or where it was compacted.
        GapPassed = "offset gap passed",
        /// The ledger's text has no room for one more task: it waits for the oldest.
        LedgerFull = "ledger at its limit",
        /// So much was read ahead that reading was paused.
        ReadingPaused = "paused at the read-ahead limit",
        /// A task waited for the STOPs of before to be known.
        HeldForStops = "held until the STOPs were known",
        /// A STOP found its task in the queue: it ends without a process.
        StopOfQueued = "stop of a queued task",
        /// A STOP found its task running.
        StopOfRunning = "stop of a running task",
        /// A STOP was known before its task was read, for the first time or again.
        StopHeardFirst = "STOP heard before its task was read",
        /// A task that had been stopped while it ran was read again, and ended without another attempt.
        StopOutlivedAttempt = "STOP outlived the attempt",
        /// A task was read again that had been begun before: another attempt.
        BegunAgain = "begun again",
        /// A task had as many attempts as it may: it fails, and its partition moves on.
        PoisonGaveUp = "poison: gave up after its attempts",
        /// A task that no API would have taken: it fails without a process.
        Unrunnable = "unrunnable task failed",
        /// A second record of a task: a POST that was sent twice.
        SecondRecord = "second record of a keyed POST",
        /// A record that is no task went to the dead letters.
        UnreadableTask = "unreadable task dead-lettered",
        /// A record whose key is not its task's id: it may have landed in any partition.
        WrongKey = "wrong key",
        /// A task waited for its first attempt for too long.
        QueueTimedOut = "timed out: queued",
        /// All attempts together took as long as they may, while a task waited for another.
        TotalTimedOutWaiting = "timed out: total, while it waited",
        /// An attempt failed, and there will be another.
        RetryPlanned = "retry planned",
        /// The wait for the next attempt was over.
        RetryDue = "retry due",
        /// A task that waits for its next attempt was read by a worker that had not planned it.
        WaitTakenOver = "wait taken over",
        /// A STOP came while its task waited for its next attempt.
        StopWhileWaiting = "STOP while it waits for its next attempt",
        /// An attempt failed when its STOP had come too late for it: there is no other attempt.
        StopInsteadOfRetry = "STOP instead of a retry",
        /// An attempt failed that was worth another, and was the last that may be.
        RetriesUsedUp = "retries used up",
        /// An attempt failed, and the next would have come when all together have had their time.
        NoTimeForRetry = "no time for another attempt",
        /// A run was told to hand its attempt back, as the worker goes.
        HandedBackAtDrain = "handed back at drain",

        // A run.
        /// A STOP came when the process had not been asked for: there will be none.
        StopBeforeSpawn = "STOP between claim and spawn",
        /// A STOP came while the process was being made: it is ended as soon as it lives.
        StopWhileSpawning = "STOP while spawning",
        /// A STOP came when the process had ended by itself: the task ends as it did.
        StopAfterExit = "STOP after the exit",
        /// A stronger reason to end the process came within its grace.
        EndedTwice = "ended for a second reason",
        /// The claim went when the process had ended and its last lines were on their way: its end may not be written.
        AbandonedWhileFlushing = "run abandoned while flushing",
        /// A process did not end within its grace.
        KillFollowed = "SIGKILL followed SIGTERM",
        /// A process ran for as long as it may.
        TimedOut = "timed out",
        /// A process was ended by what keeps it: the attempt counts, and the same claim begins another.
        ProcessLost = "process lost with its keeper",
        /// A process wrote nothing for as long as it may.
        SilenceTimedOut = "timed out: silence",
        /// All attempts together took as long as they may, while one ran.
        TotalTimedOut = "timed out: total",
        /// A STOP without grace came within the grace of an earlier reason.
        ForcedWithinGrace = "STOP forced within the grace",
        /// There was no process to be had.
        SpawnFailed = "spawn failed",
        /// The project's config came after tries that failed.
        ConfigAfterFailures = "config fetched after failures",
        /// The project's config failed as often as it may.
        ConfigGivenUp = "config given up",
        /// The project's config can't be had, or is of no use.
        ConfigFailed = "config failed for good",
        /// Lines were not acknowledged, and sent again: they may be on the log twice.
        AppendAgain = "append tried again",
        /// So much waited for the log that the process's pipe was left full.
        PipeHeld = "pipe held",
        /// A line was too long.
        LineCut = "line cut",
        /// The output ended within a line.
        LineUnended = "line without an end",

        // The hub.
        /// An update came before the task that it is of.
        UpdateBeforeTask = "update heard before its task",
        /// A line of an attempt came after a newer one had begun.
        StaleLineDropped = "stale attempt's line dropped",
        /// A line came twice.
        RepeatedLineDropped = "repeated line dropped",
        /// An update came after the end.
        DroppedAfterEnd = "update after the end dropped",
        /// Updates were missing, and watchers were told.
        GapTold = "missing updates told",
        /// Segments of a history were joined.
        HistoryJoined = "history joined",
        /// History outgrew its memory.
        HistoryEvicted = "history evicted",
        /// History was read back from the log.
        HistoryReadBack = "history evicted and read back",
        /// History was to be read back, and the log had it no longer.
        HistoryGone = "history gone from the log",
        /// A history had its time after its end.
        HistoryExpired = "hub expired a history",
        /// A watcher came back to a history that had been cut in between.
        ResumedAfterExpiry = "a watcher resumed after truncation",
        /// A keyed POST met its own task.
        SecondPost = "second POST of a key",
        /// A keyed POST met another's task.
        KeyReused = "key reused",
        /// A POST came before the log was read.
        RefusedBeforeReady = "POST refused before ready",
        /// A POST came when the queue was full.
        RefusedAsFull = "POST refused as the queue is full",
        /// A STOP came after a STOP.
        SecondStop = "second STOP",

        // Tenures.
        /// A member was assigned a partition that another holds still: it waits.
        HeirWaited = "heir waited for a holder",
        /// A holder was no longer in the group: it was fenced before its partition was taken.
        HolderFenced = "former holder fenced",
        /// A partition went to another, and is held until nothing of it runs.
        HeldBeyondAssignment = "held beyond its assignment",
        /// The group wanted a partition back while its title was being written.
        AskedBackWhileTaking = "asked back while it was being taken",
        /// A member that took itself for expelled came back as who it was.
        CameBackAsItself = "came back under its own id",
        /// It found its name in a title, and gave up what it held before.
        BequestGivenUp = "title of before given up",
        /// A title was not committed: it is tried again.
        TitleNotWritten = "title not written at the first try",
        /// A partition was released while a step of it was under way: it is given up after that.
        ReleasedInAStep = "released while a step was under way",

        // The loops.
        /// A watcher came before its task, and waited.
        WatchedBeforeKnown = "watched before it was known",
        /// A keyed POST waited for the log to say whose task it is.
        KeySettled = "key settled by the log",
        /// A POST or a STOP was not acknowledged by the log, and refused.
        AppendRefused = "append refused to a client",
        /// A reader of the log failed, and was asked again.
        TailAskedAgain = "tail asked again",
        /// The log was not there as the loop began.
        LogNotThere = "log not there at the start",
    }
}

mutants! {
    /// A POST is acknowledged although the log did not take it.
    1 => PostAckedAnyway = "POST acked before it is durable",
    /// As one that counts offsets by one does: what comes after a gap is never dealt with.
    1 => GapStops = "a gap in the offsets stops the partition",
    /// A run that ends without its claim keeps its slot, and its partition.
    1 => SlotLeaks = "slots leak when a run is abandoned",
    /// Who gives a partition up leaves its name in the title.
    1 => TitleLeftBehind = "title left behind at a release",
    /// A member that took itself for expelled, and comes back as who it was, forgets what bears its name. (Baton had this bug; chaos found it.)
    1 => BequestForgotten = "title of before forgotten",
    /// A run whose process was lost with its keeper is not begun again.
    1 => LostForgotten = "lost run forgotten",

    /// The ledger ends a task in a step before the one with its terminal update.
    2 => CommitBeforeTerminal = "commit before the terminal update",
    /// The ledger ends a task as its process begins: the automatic commit of many a consumer.
    2 => CommitAtStart = "commit before execute",
    /// The watermark follows the last that ended, not the first that has not.
    2 => HighestSeenCommitted = "highest seen is committed",
    /// A step that the log did not take is asked for again with the ledger alone.
    2 => StepLosesRecords = "step asked again without its records",

    /// The watermark moves by one task, and what had ended above it is forgotten.
    3 => WatermarkStaysBehind = "watermark stays behind",
    /// Whoever takes a partition over does not heed what ended above the watermark.
    3 => MapForgotten = "redelivery without the map",
    /// The records of a step that is asked for again go with the next one too.
    3 => StepTwice = "terminal written again",
    /// A run of an earlier claim may end its task under the present one.
    3 => StaleTerminal = "terminal without fencing",
    /// A POST that was sent twice runs twice.
    3 => SecondRecordRuns = "second record of a task runs",
    /// Tasks below the watermark are not read for their ids.
    3 => SeenNotRebuilt = "key ignored after a restart",
    /// A line `DONE` is taken for the end.
    3 => TextDecides = "text decides",

    /// A watcher hears only of what comes after it has written what was there.
    4 => ReplayThenSubscribe = "replay, then subscribe",
    /// A second watcher takes the place of the first.
    4 => WakeStolen = "wake stolen",
    /// A watcher that goes on within a segment misses an update.
    4 => CursorAhead = "cursor one ahead",
    /// A watcher that goes on within a segment gets an update again.
    4 => CursorBehind = "cursor one behind",
    /// History that left memory is not read back.
    4 => EvictedSkipped = "evicted history skipped",
    /// History that is read back lacks its last record.
    4 => RebuiltShort = "rebuilt history short by one",
    /// A watcher that fell behind gets the newest alone.
    4 => SlowWatcherSkips = "slow watcher skips",
    /// A run ends without waiting for its lines to be on the log.
    4 => EndedUnflushed = "end before the last lines",
    /// Lines that the log did not take are lost.
    4 => AppendNotRetried = "append not retried",
    /// The API says ready before it has read the log, and knows no task of before.
    4 => ReadyTooSoon = "ready before caught up",
    /// A task is known from its first update only.
    4 => QueuedUnknown = "404 for a queued task",
    /// That the log lost updates before they were read is not said. (Baton had this bug; the simulator found it.)
    4 => SkipUntold = "skipped updates untold",
    /// An end without a number is counted, and so has another id where less is known. (Found by the simulator.)
    4 => EndCounted = "end without a number counted",
    /// That earlier updates are gone is not said.
    4 => GapUntold = "truncation untold",

    /// Lines of an earlier attempt are shown after a newer one has begun.
    5 => StaleLinesShown = "stale lines shown",
    /// Attempts after the first do not open with `Starting...`.
    5 => SecondStartUntold = "no second Starting...",

    /// A STOP finds no process, and that is that.
    6 => QueuedStopForgotten = "STOP of a queued task forgotten",
    /// A worker knows only the STOPs of tasks that it holds.
    6 => StopsElsewhereForgotten = "STOP lost at redelivery",
    /// A worker runs tasks before it knows the STOPs of before.
    6 => StopsNotAwaited = "STOPs not awaited",
    /// A STOP between claim and process is forgotten.
    6 => StopLostBeforeProcess = "STOP lost before the process lives",
    /// A STOP is looked for between two lines of the agent.
    6 => StopAwaitsLine = "STOP awaits a line",
    /// A process that ignores SIGTERM goes on.
    6 => SigkillNeverFollows = "SIGKILL never follows",
    /// A STOP without grace waits for the grace of an earlier reason.
    6 => ForceWaits = "force waits for the grace",
    /// An attempt that failed is followed by another although its STOP has come.
    6 => RetryAfterStop = "retry after a STOP",
    /// A STOP is acknowledged although the log did not take it.
    6 => StopAckedAnyway = "STOP acked before it is durable",

    /// The runs of a claim that is gone go on.
    7 => LostKeepsRunning = "lost partition keeps running",
    /// A partition is released while its runs go on.
    7 => RevokedKeepsRunning = "revoked partition keeps running",
    /// An heir does not ask whether the holder is still in the group.
    7 => LivingRobbed = "title of a living holder taken",
    /// A member that was expelled goes on with what it held.
    7 => HoldsOn = "held on after an expulsion",
    /// A group is told that it may assign a partition to another while its title is being written.
    7 => YieldedWhileTaking = "yielded while it is being taken",
    /// What a member lost, and may give up as it comes back, it gives up before what ran of it is dead. (Found by the simulator.)
    7 => GivenUpBesideDying = "given up beside a dying run",

    /// A process is spawned while its attempt is being counted.
    8 => SpawnedUncounted = "attempt counted after the spawn",
    /// The ledger does not hold the attempts.
    8 => AttemptUncounted = "attempt not counted",
    /// The limit of attempts is off by one.
    8 => OneAttemptMore = "one attempt more",
    /// A worker that takes a partition over does not heed until when tasks wait.
    8 => WaitForgotten = "wait forgotten at redelivery",
    /// The next attempt begins as soon as there is a slot.
    8 => WaitSkipped = "wait skipped",
    /// The next attempt is spawned when its wait is over, and once more.
    8 => RetryTwice = "next attempt twice",
    /// What a type says of exits is ignored.
    8 => ExitsIgnored = "exits of the type ignored",
    /// What all attempts may take together is measured from the last.
    8 => TotalRestarts = "total timeout restarted",
    /// Output does not end a silence.
    8 => SilenceNotBroken = "output does not break a silence",
    /// A task that began in time, and was lost, ends as one that did not.
    8 => QueueTimeoutOfBegun = "queue timeout of a begun task",
    /// A task that failed leaves no dead letter.
    8 => DeadLetterMissing = "dead letter missing",
    /// A record that is no task leaves no dead letter.
    8 => UnreadableVanishes = "unreadable task vanishes",

    /// History never leaves memory.
    9 => HistoryUnbounded = "history unbounded",

    /// A process that was told to end is held for ended, and left alone.
    10 => SigtermTakenForExit = "SIGTERM taken for the exit",
}

#[cfg(feature = "on")]
mod on {
    use super::{Mark, Mutant};
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    thread_local! {
        static SMALL: Cell<bool> = const { Cell::new(false) };
        static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
        static HIT: RefCell<BTreeSet<Mark>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// Makes this thread's Baton wrong in this way from here on; `None` makes it right again.
    pub fn mutate(mutant: Option<Mutant>) {
        MUTANT.set(mutant);
    }

    /// Makes limits small on this thread from here on, so that they are met.
    pub fn make_limits_small(small: bool) {
        SMALL.set(small);
    }

    /// A limit: the usual one, or the small one.
    pub fn limit(usual: usize, small: usize) -> usize {
        if SMALL.get() { small } else { usual }
    }

    /// The marks that this thread hit since it was last asked.
    pub fn take_marks() -> BTreeSet<Mark> {
        HIT.take()
    }

    /// An interesting branch was taken.
    pub fn hit(mark: Mark) {
        HIT.with_borrow_mut(|marks| marks.insert(mark));
    }

    /// An interesting branch was taken, if `taken`.
    pub fn hit_if(taken: bool, mark: Mark) {
        if taken {
            hit(mark);
        }
    }

    /// Whether Baton is to be wrong in this way.
    pub fn is(mutant: Mutant) -> bool {
        MUTANT.get() == Some(mutant)
    }
}

#[cfg(not(feature = "on"))]
mod off {
    use super::{Mark, Mutant};

    /// A limit: the usual one.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub const fn limit(usual: usize, _small: usize) -> usize {
        usual
    }

    /// An interesting branch was taken.
    #[inline(always)]
    #[allow(clippy::inline_always)] // so that nothing of it is left
    pub const fn hit(_: Mark) {}

    /// An interesting branch was taken, if it was.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub const fn hit_if(_: bool, _: Mark) {}

    /// Whether Baton is to be wrong in this way: never.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub const fn is(_: Mutant) -> bool {
        false
    }
}

#[cfg(not(feature = "on"))]
pub use off::{hit, hit_if, is, limit};
#[cfg(feature = "on")]
pub use on::{hit, hit_if, is, limit, make_limits_small, mutate, take_marks};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What is shipped has no mutant: the compiler knows that there is none, and leaves nothing of it.
    #[cfg(not(feature = "on"))]
    #[test]
    fn without_the_feature_there_are_no_mutants() {
        const NONE: bool = {
            let mut at = 0;
            while at < Mutant::ALL.len() {
                hit(Mark::ALL[0]);
                assert!(!is(Mutant::ALL[at]));
                at += 1;
            }
            true
        };
        const { assert!(NONE) };
    }

    #[cfg(feature = "on")]
    #[test]
    fn with_the_feature_there_is_one_mutant_at_a_time_and_marks_are_noted() {
        assert!(Mutant::ALL.iter().all(|mutant| !is(*mutant)));
        for mutant in Mutant::ALL {
            mutate(Some(*mutant));
            assert!(Mutant::ALL.iter().all(|other| is(*other) == (other == mutant)));
        }
        mutate(None);
        assert!(Mutant::ALL.iter().all(|mutant| !is(*mutant)));
        for _ in 0..2 {
            hit(Mark::HeldForStops);
        }
        assert_eq!(take_marks(), BTreeSet::from([Mark::HeldForStops]));
        assert_eq!(take_marks(), BTreeSet::new());
    }

    #[test]
    fn every_name_is_given_once_and_every_guarantee_is_broken() {
        let names: BTreeSet<&str> =
            Mark::ALL.iter().map(|mark| mark.name()).chain(Mutant::ALL.iter().map(|mutant| mutant.name())).collect();
        assert_eq!(names.len(), Mark::ALL.len() + Mutant::ALL.len());
        let broken: BTreeSet<u8> = Mutant::ALL.iter().map(|mutant| mutant.guarantee()).collect();
        assert_eq!(broken, (1..=10).collect());
    }
}
