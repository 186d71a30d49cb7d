//! A task's way in: reading a POST's body, and building the command line.
#![allow(missing_docs)]

use baton_core::record::TaskRecord;
use baton_core::submit::read_submission;
use baton_core::time::Timestamp;
use baton_core::types::TaskTypes;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

const BODIES: [(&str, &str); 3] = [
    ("seed-db", r#"{"project":"default","type":"seed-db","params":{"reset":true}}"#),
    (
        "import-excel",
        r#"{"project":"default","type":"task-context","command":"import-excel","params":
            {"file_path":"/data/uploads/report.xlsx","main_tab":"MB Attributes","custom_structure":true}}"#,
    ),
    (
        "agent run",
        r#"{"project":"default","type":"agent","command":"run","params":
            {"input":"Analyze all MB attributes for Q1","parallel_workers":3}}"#,
    ),
];

fn read(body: &str, types: &TaskTypes) -> TaskRecord {
    read_submission(body.as_bytes(), None, types, [7; 16], Timestamp::from_millis(0)).expect("the body is good")
}

fn argv(criterion: &mut Criterion) {
    let types = TaskTypes::default();
    let agent = ["python".to_owned(), "agent.py".to_owned()];
    let mut group = criterion.benchmark_group("argv");
    for (name, body) in BODIES {
        let record = read(body, &types);
        group.bench_function(format!("build/{name}"), |b| b.iter(|| types.argv(&agent, black_box(&record))));
        group.bench_function(format!("submission/{name}"), |b| b.iter(|| read(black_box(body), &types)));
        group.bench_function(format!("record/{name}"), |b| b.iter(|| TaskRecord::read(&black_box(&record).write())));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = argv
}
criterion_main!(benches);
