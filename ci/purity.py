#!/usr/bin/env python3
"""Proves that the core is pure and stays so: what core/clippy.toml refuses is refused, each line of it by its own lint.

Works on a copy of the core under the target directory; it must never touch the sources. What it checks:
the copy as it is breaks no such lint; with ci/purity/probes.rs in it, every probe is refused; every refused path has a
probe; the core's dependencies bring no runtime and no entropy; and a pardon (`#[allow]`) is refused as well.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
COPY = TARGET / "purity"
PROBES = ROOT / "ci/purity/probes.rs"
LINTS = {
    "type": "clippy::disallowed_types",
    "method": "clippy::disallowed_methods",
    "macro": "clippy::disallowed_macros",
}
FORBIDDEN_DEPENDENCIES = re.compile(
    r"^(async-std|chrono|fastrand|getrandom|madsim.*|mio|rand.*|smol|time|tokio.*|uuid)$"
)


def fail(*lines):
    sys.exit("\n".join(["purity: FAILED", *(f"  {line}" for line in lines)]))


def copy_core():
    """A workspace of the core, and of the probe that is nothing without its feature."""
    shutil.rmtree(COPY, ignore_errors=True)
    for member in ["core", "probe"]:
        shutil.copytree(ROOT / member, COPY / member)
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    manifest = re.sub(r"^members = \[[^]]*\]", 'members = ["core", "probe"]', manifest, count=1, flags=re.MULTILINE)
    (COPY / "Cargo.toml").write_text(manifest, encoding="utf-8")
    shutil.copy(ROOT / "Cargo.lock", COPY)
    shutil.copy(ROOT / "rust-toolchain.toml", COPY)


def clippy():
    """What clippy says of the copy's library: (lint, file, line, message) each."""
    done = subprocess.run(
        ["cargo", "clippy", "--quiet", "--package", "baton-core", "--lib", "--message-format=json"],
        cwd=COPY,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET), "RUSTFLAGS": ""},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode and not done.stdout.strip():
        fail("cargo clippy did not run:", *done.stderr.splitlines())
    said = []
    for line in done.stdout.splitlines():
        message = json.loads(line).get("message")
        if not message:
            continue
        code = (message.get("code") or {}).get("code", "")
        for span in message["spans"]:
            if span["is_primary"]:
                # Inside a macro's own expansion the line that counts is where it was called.
                while span["expansion"] and span["file_name"].startswith("/"):
                    span = span["expansion"]["span"]
                said.append((code, span["file_name"], span["line_start"], message["message"]))
    return said, done.returncode


def refused_paths():
    """The paths in core/clippy.toml, with the lint of each."""
    paths, lint = {}, None
    for line in (ROOT / "core/clippy.toml").read_text(encoding="utf-8").splitlines():
        section = re.match(r"disallowed-(type|method|macro)s = \[", line)
        entry = re.match(r'\s+\{ path = "([^"]+)"', line)
        if section:
            lint = LINTS[section.group(1)]
        elif entry:
            paths[entry.group(1)] = lint
    return paths


def check_dependencies():
    tree = subprocess.run(
        ["cargo", "tree", "--package", "baton-core", "--edges", "normal", "--prefix", "none", "--format", "{lib}"],
        cwd=COPY,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    found = sorted({n for n in tree.stdout.split() if FORBIDDEN_DEPENDENCIES.match(n.replace("_", "-"))})
    if found:
        fail(f"the core depends on {', '.join(found)}")


def check_clean():
    said, code = clippy()
    found = [f"{file}:{line}: {text}" for lint, file, line, text in said if lint in LINTS.values()]
    if found:
        fail("the core breaks its own rules:", *found)
    if code:
        fail("the core does not compile by itself:", *(f"{file}:{line}: {text}" for _, file, line, text in said))


def check_probes():
    refused = refused_paths()
    probes = {}
    for number, line in enumerate(PROBES.read_text(encoding="utf-8").splitlines(), 1):
        probe = re.match(r"/\* (\S+) \*/", line)
        if probe:
            probes[number] = probe.group(1)
    missing = set(refused) ^ set(probes.values())
    if missing:
        fail("core/clippy.toml and ci/purity/probes.rs differ in:", *sorted(missing))

    shutil.copy(PROBES, COPY / "core/src/probes.rs")
    with (COPY / "core/src/lib.rs").open("a", encoding="utf-8") as lib:
        lib.write("\nmod probes;\n")
    said, _ = clippy()
    here = [(lint, line, text) for lint, file, line, text in said if file == "core/src/probes.rs"]
    kept = [
        f"line {number}: {path}"
        for number, path in probes.items()
        if not any(lint == refused[path] and at == number and f"`{path}`" in text for lint, at, text in here)
    ]
    if kept:
        others = [f"line {line}: {text}" for lint, line, text in here if lint not in LINTS.values()]
        fail("these are not refused:", *kept, *others)
    return len(probes)


def check_pardons():
    """`forbid` in core/src/lib.rs means that no `#[allow]` further down is heard."""
    (COPY / "core/src/probes.rs").write_text(
        "#[allow(clippy::disallowed_methods)]\npub fn pardoned() -> std::time::Instant { std::time::Instant::now() }\n",
        encoding="utf-8",
    )
    said, code = clippy()
    if code == 0 or not any(lint == "E0453" for lint, *_ in said):
        fail("an #[allow] is heard: core/src/lib.rs must forbid the lints of core/clippy.toml")


def main():
    copy_core()
    check_dependencies()
    check_clean()
    count = check_probes()
    check_pardons()
    shutil.rmtree(COPY)
    print(f"purity: the core is clean, and {count} ways out of it are refused")


if __name__ == "__main__":
    main()
