//! From records on the log to ready bytes in each watcher's hands: the hub beside `tokio::sync::broadcast`, and
//! beside a bounded queue for each watcher. All three decode the same records and encode the same frames once;
//! they differ in how the frames get to the watchers. Throughput counts deliveries: a line to a watcher.
#![allow(missing_docs)]

use baton_benches::{delivered, now, task_id};
use baton_core::hub::{Format, Hub, HubConfig, Input, Read, Stretch};
use baton_core::id::UpdateId;
use baton_core::log::Delivered;
use baton_core::record::ProgressRecord;
use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

const WATCHERS: [usize; 3] = [1, 100, 10_000];
const LINES: u64 = 1000;
/// Lines that come one at a time to as many watchers as 10,000 take long: fewer do.
const DELIVERIES: u64 = 1_000_000;
/// How many messages the queues hold.
const QUEUE: usize = 1024;

/// What a watcher does with frames: it has them.
fn take(frames: &Bytes, bytes: &mut usize) {
    *bytes += frames.len();
}

struct Cursors {
    hub: Hub,
    after: Vec<UpdateId>,
}

impl Cursors {
    fn new(watchers: usize) -> Self {
        Self { hub: Hub::new(HubConfig::default()), after: vec![UpdateId::default(); watchers] }
    }

    fn deliver(&mut self, records: &Delivered) -> usize {
        self.hub.handle(Input::Records(records.clone()), now());
        let (id, mut bytes) = (task_id(), 0);
        while self.hub.poll().is_some() {}
        for after in &mut self.after {
            while let Read::Stretch(Stretch::Here(segment, first)) = self.hub.read(&id, *after) {
                take(&segment.frames(Format::Plain, first), &mut bytes);
                *after = segment.last_id().unwrap_or(*after);
            }
        }
        bytes
    }
}

/// The frames of a batch, for those who have no hub.
fn frames(records: &Delivered) -> Bytes {
    let mut frames = Vec::with_capacity(records.values.bytes());
    for value in records.values.iter() {
        let record = ProgressRecord::read(value).expect("it was written by the bench");
        let length = u8::try_from(record.update.len()).expect("the lines of the bench are short");
        frames.extend_from_slice(&[0x81, length]);
        frames.extend_from_slice(record.update.as_bytes());
    }
    frames.into()
}

struct Broadcast {
    sender: broadcast::Sender<Bytes>,
    receivers: Vec<broadcast::Receiver<Bytes>>,
}

impl Broadcast {
    fn new(watchers: usize) -> Self {
        let (sender, first) = broadcast::channel(QUEUE);
        let mut receivers = vec![first];
        receivers.resize_with(watchers, || sender.subscribe());
        Self { sender, receivers }
    }

    fn deliver(&mut self, records: &Delivered) -> usize {
        self.sender.send(frames(records)).expect("there are receivers");
        let mut bytes = 0;
        for receiver in &mut self.receivers {
            while let Ok(frames) = receiver.try_recv() {
                take(&frames, &mut bytes);
            }
        }
        bytes
    }
}

struct Queues(Vec<(mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>)>);

impl Queues {
    fn new(watchers: usize) -> Self {
        Self((0..watchers).map(|_| mpsc::channel(QUEUE)).collect())
    }

    fn deliver(&mut self, records: &Delivered) -> usize {
        let frames = frames(records);
        let mut bytes = 0;
        for (sender, _) in &self.0 {
            sender.try_send(frames.clone()).expect("there is room");
        }
        for (_, receiver) in &mut self.0 {
            while let Ok(frames) = receiver.try_recv() {
                take(&frames, &mut bytes);
            }
        }
        bytes
    }
}

fn bench<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    watchers: usize,
    batches: &[Delivered],
    make: fn(usize) -> T,
    deliver: fn(&mut T, &Delivered) -> usize,
) {
    group.bench_function(format!("{name}/{watchers}"), |b| {
        let work = |ways: &mut T| batches.iter().map(|records| deliver(ways, records)).sum::<usize>();
        b.iter_batched_ref(|| make(watchers), work, BatchSize::PerIteration);
    });
}

fn fan_out(criterion: &mut Criterion) {
    let batch = [delivered(1, LINES + 1)];
    let singly: Vec<_> = (1..=LINES).map(|seq| delivered(seq, seq + 1)).collect();
    for (name, all) in [("1,000 lines at once", &batch[..]), ("one line at a time", &singly[..])] {
        let mut group = criterion.benchmark_group(name);
        for watchers in WATCHERS {
            let most = usize::try_from(DELIVERIES).expect("it fits") / watchers;
            let batches = &all[..all.len().min(most)];
            let lines: usize = batches.iter().map(|records| records.values.len()).sum();
            group.throughput(Throughput::Elements((lines * watchers) as u64));
            bench(&mut group, "hub", watchers, batches, Cursors::new, Cursors::deliver);
            bench(&mut group, "broadcast", watchers, batches, Broadcast::new, Broadcast::deliver);
            bench(&mut group, "queues", watchers, batches, Queues::new, Queues::deliver);
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = fan_out
}
criterion_main!(benches);
