//! The way of a line through the core, step by step and as a whole: split, encode, decode, append, frame.
//! The goal is a million lines a second of one core for each half of the way.
#![allow(missing_docs)]

use baton_benches::{chunk, delivered, line, now, task_id};
use baton_core::agent_report::Spent;
use baton_core::hub::{Format, Hub, HubConfig, Input, Read, Stretch};
use baton_core::id::UpdateId;
use baton_core::launch::Launch;
use baton_core::limits::Limits;
use baton_core::lines::Splitter;
use baton_core::output::OutputSettings;
use baton_core::patterns::Patterns;
use baton_core::policy::Policy;
use baton_core::process::Stream;
use baton_core::project::Project;
use baton_core::record::{Kind, ProgressRecord};
use baton_core::run::{self, Effect, Run, RunSpec};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

/// One read of a pipe.
const CHUNK: usize = 64 * 1024;

fn one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    let (id, text) = (task_id(), line(4321));
    let record = ProgressRecord::new(&id, UpdateId { attempt: 1, seq: 4321 }, Kind::Line, now().wall, text.as_str());
    let (bytes, mut buffer) = (record.write(), Vec::new());
    group.bench_function("encode", |b| {
        b.iter(|| {
            buffer.clear();
            black_box(&record).write_to(&mut buffer);
        });
    });
    group.bench_function("decode", |b| b.iter(|| ProgressRecord::read(black_box(&bytes)).is_ok()));
    group.finish();
}

/// As many secrets as a project with a few keys has.
const SECRETS: &[u8] = br#"{"env": {"API_KEY": "sk-proj-0123456789abcdef", "DB_PASSWORD": "correct horse battery", "AUTH_TOKEN": "ghp_0123456789abcdef"}}"#;

fn running(config: &[u8]) -> Run {
    let spec = RunSpec {
        task_id: task_id(),
        kind: "agent".into(),
        partition: 0,
        attempt: 1,
        project: "default".parse().expect("a good name"),
        argv: vec!["agent".into()],
        launch: Launch::default(),
        limits: Limits::default(),
        output: OutputSettings::default(),
        secrets: Vec::new(),
        patterns: Patterns::default(),
        stdin: None,
        files: Vec::new(),
        policy: Policy::new(Duration::from_secs(10), 3),
        spent: Spent::default(),
        total_left: None,
        queued: Duration::ZERO,
        max_line: CHUNK,
        traceparent: None,
        seed: 1,
    };
    let mut run = Run::new(spec, now());
    run.handle(run::Input::Counted, now());
    run.handle(run::Input::Fetched(Ok(Project::from_json(config).expect("a good config"))), now());
    run.handle(run::Input::Spawned(Ok(())), now());
    while run.poll().is_some() {}
    run
}

fn worker(criterion: &mut Criterion) {
    let (chunk, lines) = chunk(CHUNK);
    let chunk = Bytes::from(chunk);
    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Elements(lines));
    let mut splitter = Splitter::new(CHUNK);
    group.bench_function("split", |b| {
        b.iter(|| {
            let mut bytes = 0;
            splitter.feed(black_box(&chunk), |line| bytes += line.text.len());
            bytes
        });
    });
    for (name, config) in [("split and encode", &b"{}"[..]), ("redact, split and encode", SECRETS)] {
        let mut run = running(config);
        group.bench_function(name, |b| {
            b.iter(|| {
                run.handle(run::Input::Output(Stream::Stdout, chunk.clone()), now());
                let Some(Effect::Append(values)) = run.poll() else { unreachable!("nothing is in flight") };
                run.handle(run::Input::Appended(Ok(())), now());
                values
            });
        });
    }
    group.finish();
}

fn api(criterion: &mut Criterion) {
    let (_, lines) = chunk(CHUNK);
    let delivery = delivered(1, lines + 1);
    let mut group = criterion.benchmark_group("delivery");
    group.throughput(Throughput::Elements(lines));
    let append = |hub: &mut Hub| hub.handle(Input::Records(delivery.clone()), now());
    let empty = || Hub::new(HubConfig::default());
    group.bench_function("decode", |b| {
        b.iter(|| black_box(&delivery).values.iter().filter(|value| ProgressRecord::read(value).is_ok()).count());
    });
    group.bench_function("decode and append", |b| b.iter_batched_ref(empty, append, BatchSize::SmallInput));
    for format in [Format::Plain, Format::Json, Format::Events] {
        group.bench_function(format!("decode, append, frame {format:?}"), |b| {
            let work = |hub: &mut Hub| {
                append(hub);
                frames(hub, format)
            };
            b.iter_batched_ref(empty, work, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn frames(hub: &Hub, format: Format) -> Bytes {
    match hub.read(&task_id(), UpdateId::default()) {
        Read::Stretch(Stretch::Here(segment, first)) => segment.frames(format, first),
        other => unreachable!("one segment is there, not {other:?}"),
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = one, worker, api
}
criterion_main!(benches);
