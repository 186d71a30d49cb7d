#!/usr/bin/env python3
"""The example agent: three jobs on one SQLite database, told line by line.

Baton starts it as a subprocess, streams its output to whoever watches, and ends it on STOP. It shows what an agent
owes Baton, which is little: say what you do, one flushed line at a time; exit 0 only when the work is done; and do no
harm when you are run twice. It is one file, so that it can be copied and changed. It must never leave the database
half changed, at whatever instant it is killed.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import signal
import sqlite3
import sys
import time
import zipfile
import zlib
from multiprocessing.connection import wait
from pathlib import Path
from xml.etree import ElementTree

PROJECT_FILE = "BATON_PROJECT_FILE"
# A project may slow its agents down, so that there is something to watch and time to stop it.
PACE = "AGENT_PACE_MS"
# One process each: more than this does not make a small database faster.
MAX_WORKERS = 64
# A part of a workbook is held in memory. Far above any sheet that people make, far below a zip bomb.
MAX_PART_BYTES = 256 * 1024 * 1024
# Another task of the same project may be writing.
LOCK_TIMEOUT_S = 60

SCHEMA = """
CREATE TABLE IF NOT EXISTS dataset (
    origin TEXT NOT NULL, tab TEXT NOT NULL, structure TEXT NOT NULL,
    PRIMARY KEY (origin, tab));
CREATE TABLE IF NOT EXISTS attribute (
    origin TEXT NOT NULL, tab TEXT NOT NULL, number INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (origin, tab, number));
CREATE TABLE IF NOT EXISTS analysis (
    id INTEGER PRIMARY KEY, input TEXT NOT NULL, workers INTEGER NOT NULL, result TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS finished (
    task_id TEXT PRIMARY KEY, attempt INTEGER NOT NULL, summary TEXT NOT NULL);
"""

SEED_HEADER = ["Attribute", "Group", "Unit", "Q1", "Q2", "Target"]
SEED_ROWS = [
    ["Boot time", "Firmware", "s", 9.4, 8.7, 8],
    ["Idle power", "Power", "W", 21.5, 20.9, 22],
    ["Peak power", "Power", "W", 188, 184.5, 180],
    ["Memory bandwidth", "Memory", "GB/s", 88.2, 89.6, 90],
    ["Memory slots", "Memory", "count", 4, 4, 4],
    ["USB ports", "Ports", "count", 10, 10, 10],
    ["Fan noise", "Cooling", "dB", 31.2, None, 30],
    ["VRM temperature", "Cooling", "°C", 71, 68.5, 75],
]


class AgentError(Exception):
    """Something that the user can do something about. Its text is all that they see."""


class Agent:
    """What every job needs: the database, the attempt that it is, and a way to be heard."""

    def __init__(self, project, environ):
        self.project = project
        self.task_id = environ.get("BATON_TASK_ID")
        self.attempt = int(environ.get("BATON_ATTEMPT") or 1)
        self.pace = read_pace(environ.get(PACE))
        self.database = open_database(database_path(project.get("db_conn")))

    def finished(self):
        """The summary of an earlier attempt of this very task that got to its end, if there was one."""
        if self.task_id is None:
            return None
        row = self.database.execute("SELECT summary FROM finished WHERE task_id = ?", [self.task_id]).fetchone()
        return row and row[0]

    def finish(self, summary):
        """Remembers the end of this task. To be called in the transaction that holds the task's work."""
        if self.task_id is not None:
            self.database.execute("INSERT INTO finished VALUES (?, ?, ?)", [self.task_id, self.attempt, summary])

    @contextlib.contextmanager
    def transaction(self):
        """All of it, or none of it: also when this process is killed inside."""
        self.database.execute("BEGIN IMMEDIATE")
        with self.database:
            yield

    def find(self, file_path):
        """The file, as named from the working directory or from the project's `paths.uploads`."""
        places = [Path(file_path)]
        uploads = (self.project.get("paths") or {}).get("uploads")
        if uploads:
            places.append(Path(uploads) / file_path)
        for place in places:
            if place.is_file():
                return place
        raise AgentError("no such file: " + ", nor ".join(quoted(str(place)) for place in places))


def say(line):
    print(line, flush=True)


def quoted(text):
    """A value inside a line of output: whatever is in it, the line stays one line."""
    return json.dumps(text, ensure_ascii=False)


def counted(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def read_pace(text):
    try:
        return max(0.0, float(text or 0)) / 1000
    except ValueError:
        raise AgentError(f"{PACE} must be a number of milliseconds, not {quoted(text)}") from None


# The project, and its database


def read_project(environ):
    path = environ.get(PROJECT_FILE)
    if not path:
        raise AgentError(f"{PROJECT_FILE} is not set: it names the JSON file with the project's config (db_conn, ...)")
    try:
        project = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise AgentError(f"cannot read the project's config: {e}") from e
    if not isinstance(project, dict):
        raise AgentError("the project's config must be a JSON object")
    return project


def database_path(db_conn):
    """`sqlite:///name.db` is relative to the working directory, `sqlite:////var/name.db` is absolute."""
    if not isinstance(db_conn, str) or not db_conn:
        raise AgentError("the project's config has no db_conn; give one like sqlite:///example.db")
    scheme, _, path = db_conn.partition("://")
    if scheme != "sqlite" or not path.startswith("/") or path == "/":
        # The value is not shown: another scheme's may hold a password.
        raise AgentError("the project's db_conn is not of the form sqlite:///PATH; this agent knows SQLite only")
    return Path(path[1:])


def open_database(path):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(str(path), timeout=LOCK_TIMEOUT_S, isolation_level=None)
        database.executescript(SCHEMA)
    except (OSError, sqlite3.Error) as e:
        raise AgentError(f"cannot open the database {quoted(str(path))}: {e}") from e
    return database


# seed-db


def seed_db(agent, args):
    keys = list(SEED_HEADER)
    with agent.transaction():
        if args.reset:
            for table in ("attribute", "dataset", "analysis"):
                agent.database.execute(f"DELETE FROM {table}")
            say("Emptied the database")
        replace_dataset(agent.database, "seed", "MB Attributes", keys)
        for number, row in enumerate(SEED_ROWS, 1):
            content = json.dumps(dict(zip(keys, row)), ensure_ascii=False)
            agent.database.execute(
                "INSERT INTO attribute VALUES ('seed', 'MB Attributes', ?, ?)",
                [number, content],
            )
            say(f"Seeding attribute {number}/{len(SEED_ROWS)}: {row[0]}")
            time.sleep(agent.pace)
        (total,) = agent.database.execute("SELECT count(*) FROM attribute").fetchone()
        summary = f"Seeded {len(SEED_ROWS)} attributes; the database holds {total}"
        agent.finish(summary)
    return summary


def replace_dataset(database, origin, tab, structure):
    database.execute("DELETE FROM attribute WHERE origin = ? AND tab = ?", [origin, tab])
    database.execute("REPLACE INTO dataset VALUES (?, ?, ?)", [origin, tab, json.dumps(structure, ensure_ascii=False)])


# task-context import-excel


def import_excel(agent, args):
    path = agent.find(args.file_path)
    with Workbook(path) as workbook:
        tab = args.main_tab if args.main_tab is not None else workbook.tabs[0]
        say(f"Opened {quoted(str(path))}: {counted(len(workbook.tabs), 'tab')}, reading {quoted(tab)}")
        rows = workbook.rows(tab)
    if not rows:
        raise AgentError(f"the tab {quoted(tab)} is empty: it has no header row")
    header, rows = rows[0], rows[1:]
    width = max(len(row) for row in [header, *rows])
    keys = column_keys(header + [None] * (width - len(header)), args.custom_structure)
    say(f"Found {counted(len(keys), 'column')}: {', '.join(keys)}")

    # Rows gather in a table of this process alone: the lock on the shared one is held for a moment only, and a
    # process that is killed half-way leaves what was there before.
    agent.database.execute("CREATE TEMP TABLE staged (number INTEGER PRIMARY KEY, content TEXT NOT NULL)")
    for number, row in enumerate(rows, 1):
        content = dict(zip(keys, row + [None] * (width - len(row))))
        agent.database.execute(
            "INSERT INTO staged VALUES (?, ?)",
            [number, json.dumps(content, ensure_ascii=False)],
        )
        say(f"Processing row {number}/{len(rows)}")
        time.sleep(agent.pace)

    summary = f"Imported {counted(len(rows), 'row')} of {quoted(tab)} from {quoted(path.name)}"
    with agent.transaction():
        replace_dataset(agent.database, path.name, tab, keys)
        agent.database.execute(
            "INSERT INTO attribute SELECT ?, ?, number, content FROM staged",
            [path.name, tab],
        )
        agent.finish(summary)
    return summary


def column_keys(header, as_written):
    """A key for each column: its heading, as written or in snake_case; its letter where there is none. None twice."""
    keys = []
    for index, heading in enumerate(header):
        key = "" if heading is None else str(heading).strip()
        if not as_written:
            key = re.sub(r"\W+", "_", key.lower()).strip("_")
        key = key or f"column {column_letters(index)}"
        key = key if as_written else key.replace(" ", "_").lower()
        unique, count = key, 1
        while unique in keys:
            count += 1
            unique = f"{key} ({count})" if as_written else f"{key}_{count}"
        keys.append(unique)
    return keys


def column_letters(index):
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def column_index(reference):
    """`C7` is in column 2."""
    index = 0
    for letter in re.match(r"[A-Z]{0,3}", reference).group():
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


class Workbook:
    """The cells of an .xlsx file: a zip archive of XML parts (ECMA-376). Dates stay as the file gives them."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        try:
            self.archive = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as e:
            raise self.unreadable(e) from e
        try:
            targets = {link.get("Id"): link.get("Target") for link in self.part("xl/_rels/workbook.xml.rels")}
            self.sheets = {}
            for sheet in self.part("xl/workbook.xml").findall("{*}sheets/{*}sheet"):
                link = next((v for k, v in sheet.attrib.items() if k.endswith("}id")), None)
                self.sheets[sheet.get("name")] = targets.get(link)
            self.tabs = list(self.sheets)
            if not self.tabs:
                raise self.unreadable("it has no tabs")
        except BaseException:
            self.archive.close()
            raise
        return self

    def __exit__(self, *_):
        self.archive.close()

    def unreadable(self, reason):
        return AgentError(f"{quoted(str(self.path))} is not a workbook that can be read (.xlsx): {reason}")

    def part(self, name):
        try:
            if self.archive.getinfo(name).file_size > MAX_PART_BYTES:
                raise self.unreadable(f"{name} is larger than {MAX_PART_BYTES >> 20} MiB")
            return ElementTree.fromstring(self.archive.read(name))
        except KeyError:
            raise self.unreadable(f"it has no {name}") from None
        except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error, RuntimeError, OSError) as e:
            raise self.unreadable(f"{name}: {e}") from e

    def rows(self, tab):
        """The rows that have a value in them, each a list of values; `None` where a cell is missing."""
        if tab not in self.sheets:
            there_are = ", ".join(quoted(name) for name in self.tabs)
            raise AgentError(f"{quoted(str(self.path))} has no tab {quoted(tab)}; it has {there_are}")
        target = self.sheets[tab] or ""
        name = target[1:] if target.startswith("/") else "xl/" + target
        shared = []
        if "xl/sharedStrings.xml" in self.archive.namelist():
            shared = [text_of(item) for item in self.part("xl/sharedStrings.xml").findall("{*}si")]
        rows = []
        for row in self.part(name).findall("{*}sheetData/{*}row"):
            values = []
            for cell in row.findall("{*}c"):
                # A cell without a reference follows the one before.
                index = column_index(cell.get("r", ""))
                index = index if index >= 0 else len(values)
                values.extend([None] * (index - len(values)))
                try:
                    values.append(cell_value(cell, shared))
                except (ValueError, IndexError):
                    where = quoted(cell.get("r") or f"row {len(rows) + 1}")
                    raise self.unreadable(f"the cell {where} of {quoted(tab)} has no readable value") from None
            while values and values[-1] is None:
                values.pop()
            if values:
                rows.append(values)
        return rows


def text_of(item):
    """The text of a shared or inline string: plain, or in runs; not its phonetic hints."""
    text = "".join(t.text or "" for t in item.findall("{*}t") + item.findall("{*}r/{*}t"))
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda match: chr(int(match.group(1), 16)), text)


def cell_value(cell, shared):
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        inline = cell.find("{*}is")
        return None if inline is None else text_of(inline)
    value = cell.findtext("{*}v")
    if value is None:
        return None
    if kind == "s":
        return shared[int(value)]
    if kind == "b":
        return value == "1"
    if kind == "n":
        return int(value) if re.fullmatch(r"-?\d{1,15}", value) else float(value)
    return value  # a formula's text, an error such as #N/A, a date


# agent run


def agent_run(agent, args):
    tasks = attributes_asked_for(agent.database, args.input)
    if not tasks:
        raise AgentError("the database has no attributes; run seed-db or import-excel first")
    columns = columns_asked_for(tasks, args.input)
    path = str(database_path(agent.project.get("db_conn")))
    workers = min(args.parallel_workers, len(tasks))
    what = f"{counted(len(tasks), 'attribute')} ({', '.join(columns) or 'no numbers'})"
    say(f"Analyzing {what} with {counted(workers, 'worker')}")

    shares = [tasks[start::workers] for start in range(workers)]
    findings = []
    with contextlib.ExitStack() as stack:
        pipes = {}
        for number, share in enumerate(shares, 1):
            pipe, process = start_worker(path, [key for key, _ in share], columns, agent.pace)
            stack.callback(end_worker, pipe, process)
            pipes[pipe] = (number, process)
            say(f"Worker {number} started (process {process.pid}): {counted(len(share), 'attribute')}")
        while pipes:
            for pipe in wait(list(pipes)):
                number, process = pipes[pipe]
                try:
                    finding = pipe.recv()
                except EOFError:
                    process.join()
                    raise AgentError(f"worker {number} ended early, exit code {process.exitcode}") from None
                if finding is None:
                    say(f"Worker {number} finished")
                    del pipes[pipe]
                    continue
                findings.append(finding)
                say(f"Worker {number}: analyzed {finding['name']} ({len(findings)}/{len(tasks)})")

    findings.sort(key=lambda finding: finding["key"])
    result = conclusions(findings, columns)
    for line in result:
        say(line)
    summary = f"Analyzed {counted(len(findings), 'attribute')} with {counted(workers, 'worker')}: {quoted(args.input)}"
    with agent.transaction():
        agent.database.execute(
            "INSERT INTO analysis (input, workers, result) VALUES (?, ?, ?)",
            [args.input, workers, "\n".join(result)],
        )
        agent.finish(summary)
    return summary


def attributes_asked_for(database, request):
    """Those of the tabs that the request names; all of them if it names none."""
    query = "SELECT origin, tab, number, content FROM attribute ORDER BY origin, tab, number"
    tasks = [((origin, tab, number), json.loads(content)) for origin, tab, number, content in database.execute(query)]
    named = [task for task in tasks if task[0][1].lower() in request.lower()]
    return named or tasks


def columns_asked_for(tasks, request):
    """The columns of numbers that the request names by a word; all of them but targets if it names none."""
    columns = []
    for _, content in tasks:
        columns += [key for key, value in content.items() if is_number(value) and key not in columns]
    words = re.findall(r"\w+", request.lower())
    named = [column for column in columns if column.lower() in words]
    return named or [column for column in columns if column.lower() != "target"]


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def start_worker(path, keys, columns, pace):
    # A fresh interpreter: nothing of this process, its database handle above all, is shared by accident.
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(far_end, path, keys, columns, pace), daemon=True)
    process.start()
    far_end.close()
    return pipe, process


def end_worker(pipe, process):
    pipe.close()
    process.terminate()
    process.join()


def work(pipe, path, keys, columns, pace):
    """A worker's whole life: read each attribute of its share, send what it finds, then send None."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    database = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S)
    for key in keys:
        row = database.execute("SELECT content FROM attribute WHERE origin = ? AND tab = ? AND number = ?", key)
        content = json.loads(row.fetchone()[0])
        lowered = {name.lower(): value for name, value in content.items()}
        pipe.send(
            {
                "key": key,
                "name": str(next((value for value in content.values() if value is not None), "?")),
                "values": {column: content[column] for column in columns if is_number(content.get(column))},
                "target": lowered.get("target"),
            }
        )
        time.sleep(pace)
    pipe.send(None)


def conclusions(findings, columns):
    lines = []
    for column in columns:
        measured = [f for f in findings if column in f["values"]]
        lowest = min(measured, key=lambda f: f["values"][column])
        highest = max(measured, key=lambda f: f["values"][column])
        mean = sum(f["values"][column] for f in measured) / len(measured)
        lines.append(
            f"{column}: {len(measured)} values, mean {mean:.4g}, "
            f"lowest {lowest['values'][column]:g} ({lowest['name']}), "
            f"highest {highest['values'][column]:g} ({highest['name']})"
        )
        missing = [f["name"] for f in findings if column not in f["values"]]
        if missing:
            lines.append(f"{column}: no value for {', '.join(missing)}")
        off = [(abs(f["values"][column] - f["target"]) / abs(f["target"]), f) for f in measured if has_target(f)]
        if off:
            distance, worst = max(off, key=lambda pair: pair[0])
            lines.append(f"{column}: furthest from its target is {worst['name']}, by {distance:.1%}")
    return lines or ["No numbers to analyze"]


def has_target(finding):
    return is_number(finding["target"]) and finding["target"] != 0


# The command line


class Verbatim(argparse.Action):
    """Keeps the option's value as it came. Before Python 3.13 argparse loses one value: `--` in `--name=--`."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, "--" if values == [] else values)


def build_parser():
    """The exact inverse of the argument lists that Baton builds: `type`, `command`, then the params by their names."""
    parser = argparse.ArgumentParser(
        prog="agent.py",
        description="Three jobs on a project's SQLite database.",
        epilog=f"{PROJECT_FILE} names the JSON file with the project's config: "
        f'{{"db_conn": "sqlite:///example.db", "paths": {{"uploads": "."}}}}. '
        "Exit codes: 0 done, 1 failed (the reason is on stderr), 2 bad usage.",
        allow_abbrev=False,
    )
    types = parser.add_subparsers(dest="type", metavar="TYPE", required=True)

    seed = types.add_parser("seed-db", help="make and fill the database", allow_abbrev=False)
    seed.add_argument("--reset", action="store_true", help="begin with an empty database")
    seed.set_defaults(job=seed_db, command=None)

    context = types.add_parser("task-context", help="import-excel: bring in what tasks work on", allow_abbrev=False)
    commands = context.add_subparsers(dest="command", metavar="COMMAND", required=True)
    excel = commands.add_parser("import-excel", help="read a workbook into the database", allow_abbrev=False)
    excel.add_argument("file_path", metavar="FILE", help="the workbook (.xlsx); also looked for in paths.uploads")
    excel.add_argument("--main-tab", metavar="TAB", action=Verbatim, help="the tab to read (default: the first)")
    excel.add_argument("--custom-structure", action="store_true", help="keep the headings as the sheet has them")
    excel.set_defaults(job=import_excel)

    agent = types.add_parser("agent", help="run: work on the database", allow_abbrev=False)
    commands = agent.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="analyze the attributes as asked", allow_abbrev=False)
    run.add_argument("--input", metavar="TEXT", action=Verbatim, required=True, help="what to do, in words")
    run.add_argument("--parallel-workers", metavar="N", type=int, default=1, help="how many processes (default: 1)")
    run.set_defaults(job=agent_run)
    return parser


def main(argv=None):
    # Whatever the locale, and whatever bytes a name is made of, a line can be said.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    parser = build_parser()
    args = parser.parse_args(argv)
    workers = getattr(args, "parallel_workers", 1)
    if not 1 <= workers <= MAX_WORKERS:
        parser.error(f"argument --parallel-workers: must be from 1 to {MAX_WORKERS}, not {workers}")
    # STOP begins with SIGTERM: leave by the front door, so that workers are ended and nothing is committed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        say("Initializing...")
        agent = Agent(read_project(os.environ), os.environ)
        say("Loaded config")
        summary = agent.finished()
        if summary is not None:
            say("An earlier attempt of this task did the work; nothing is done twice")
        else:
            summary = args.job(agent, args)
        say(summary)
    except (AgentError, sqlite3.Error, OSError) as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
