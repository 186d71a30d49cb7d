#!/usr/bin/env python3
"""An agent for the page's tests: `agent.py MODE [COMMAND] [--option value]...`. It prints what a page must show.

Whatever it does ends by itself within two minutes, even if a test fails.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

LIFETIME_S = 120

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "&lt;b&gt; &amp; <b>bold</b> <a href='javascript:document.title=1'>link</a>",
    "javascript:alert(1) https://example.com/?q=<script>",
    "\x1b]8;;javascript:document.title='owned'\x07click me\x1b]8;;\x07",
    "\x1b]0;owned\x07title",
    "\x1b[2J\x1b[1;1Hcleared? \x1b[1A\x1b[2Kup",
    "bidi: \u202egnp.exe\u202c and \u2066isolated\u2069",
    "controls: \x00 \x01 \x08 \x7f \x9b1m end",
    "unfinished \x1b[31",
    "unfinished \x1b]8;;https://example.com",
    '{"type": "<img src=x onerror=alert(1)>", "message": "<script>document.title = \'owned\'</script>"}',
    '{"__proto__": {"polluted": true}, "msg": "proto", "constructor": 1}',
    "[" * 20000,
    "{" + '"a":{' * 3000,
    "x" * 1_000_000 + " the end of a megabyte",
    "zalgo: Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d" * 10,
]

COLOURS = [
    "\x1b[1mbold\x1b[0m \x1b[2mdim\x1b[0m \x1b[3mitalic\x1b[0m \x1b[4munderlined\x1b[0m \x1b[9mstruck\x1b[0m",
    "".join(f"\x1b[{n}m colour {n} \x1b[0m" for n in [*range(30, 38), *range(90, 98)]),
    "".join(f"\x1b[{n}m {n} \x1b[0m" for n in range(41, 48)),
    "\x1b[38;5;208mpalette\x1b[0m \x1b[38;2;120;80;220mtrue colour\x1b[0m \x1b[48;5;24mon blue\x1b[0m",
    "progress 1%\rprogress 50%\r\x1b[32mprogress 100%\x1b[0m",
    "see https://example.com/a/b?c=d, and (http://example.org/x).",
    "tabs\tand   spaces\tstay",
]

EVENTS = [
    {"type": "system", "subtype": "init", "model": "example-1", "cwd": "/work", "tools": ["Read", "Bash"]},
    {
        "type": "assistant",
        "message": {"content": [{"type": "text", "text": "I will look at the sheet first.\n\nThen at its *rows*."}]},
        "session_id": "needle-7",
    },
    {
        "type": "assistant",
        "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "ls -l", "timeout": 60}}]},
    },
    {"type": "user", "message": {"content": [{"type": "tool_result", "content": "total 3\nreport.xlsx\nnotes.md"}]}},
    {
        "type": "user",
        "message": {"content": [{"type": "tool_result", "is_error": True, "content": "no sheet is called 'Q7'"}]},
    },
    {"type": "item.completed", "item": {"type": "reasoning", "text": "There may be another sheet."}},
    {
        "type": "item.completed",
        "item": {
            "type": "command_execution",
            "command": "python3 check.py",
            "aggregated_output": "412 rows\nall of them right",
            "exit_code": 0,
            "status": "completed",
        },
    },
    {"time": "2026-11-23T12:00:00Z", "level": "info", "msg": "sheet read", "rows": 412, "tab": "MB Attributes"},
    {"level": "warn", "msg": "a value is missing", "cell": "E9"},
    {"level": "error", "msg": "could not convert", "value": "n/a", "row": 17},
    {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": "All 412 attributes are in order.",
        "total_cost_usd": 0.0123,
        "num_turns": 4,
    },
]


def say(text: str, stream=sys.stdout) -> None:
    stream.write(text + "\n")
    stream.flush()


def write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def lines(args) -> None:
    """Many lines, as fast as they can be written; a needle in one of them."""
    block = []
    for number in range(1, args.lines + 1):
        needle = " needle" if number in (7, args.lines // 2, args.lines - 3) else ""
        block.append(f"line {number} of {args.lines}: the quick brown fox jumps over the lazy dog{needle}\n")
        if len(block) == 5000:
            write_all("".join(block).encode())
            block.clear()
    write_all("".join(block).encode())


def steady(args) -> None:
    """Lines at a rate, in small bursts, each with its number."""
    begun = time.monotonic()
    number = 0
    while number < args.lines:
        due = min(args.lines, int((time.monotonic() - begun) * args.rate) + 1)
        if due > number:
            write_all("".join(f"line {n} of {args.lines}\n" for n in range(number + 1, due + 1)).encode())
            number = due
        time.sleep(0.002)


def clocked(args) -> None:
    """Lines that say when they were written, in milliseconds of the wall clock."""
    for _ in range(args.lines):
        say(f"at {time.time_ns() / 1e6:.3f}")
        time.sleep(1 / args.rate)


def hostile(args) -> None:
    for text in HOSTILE:
        write_all(text.encode() + b"\n")
    write_all(b"bad utf-8 \xff\xfe\n")


def colours(args) -> None:
    for text in COLOURS:
        say(text)
    say("something went wrong on the way", sys.stderr)
    for event in EVENTS:
        say(json.dumps(event))
    say("a long line: " + "word " * 1500 + "and its end")


def events(args) -> None:
    """JSON lines, as agents and loggers write them."""
    for event in EVENTS:
        say(json.dumps(event))


def bar(name: str) -> None:
    """A line that is written over and over until it is over."""
    for percent in range(0, 100, 10):
        write_all(f"\r{name} {percent} % needle".encode())
        time.sleep(0.25)
    write_all(f"\r{name} 100 %\n".encode())


def bars(args) -> None:
    """A bar, many lines, and a bar again."""
    say("before")
    bar("first bar")
    lines(args)
    bar("second bar")
    say("after")


def told(args) -> None:
    """Says what a file is told to say, line by line, until that is "end"."""
    with Path(args.input).open(encoding="utf-8") as lines:
        line = ""
        while line != "end\n":
            line = lines.readline()
            if line.endswith("\n"):
                say(line[:-1])
            else:
                time.sleep(0.02)


def stubborn(args) -> None:
    """Takes no notice of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("ready")
    time.sleep(LIFETIME_S)


def silent(args) -> None:
    say("ready")
    time.sleep(LIFETIME_S)


def fails(args) -> None:
    say("about to fail")
    say("the sheet has no tab 'Q7'", sys.stderr)
    sys.exit(3)


def dies_once(args) -> None:
    """Takes its worker with it the first time."""
    say(f"attempt {os.environ['BATON_ATTEMPT']} begins")
    for number in range(1, args.lines + 1):
        say(f"line {number} of {args.lines}")
    if os.environ["BATON_ATTEMPT"] == "1":
        say("waiting for the end of the world")
        time.sleep(LIFETIME_S)


MODES = {
    "lines": lines,
    "steady": steady,
    "clocked": clocked,
    "hostile": hostile,
    "colours": colours,
    "events": events,
    "bars": bars,
    "told": told,
    "stubborn": stubborn,
    "silent": silent,
    "fails": fails,
    "fails-often": fails,
    "dies-once": dies_once,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("mode", choices=sorted(MODES))
    parser.add_argument("command", nargs="?")
    parser.add_argument("--lines", type=int, default=10)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--input", default="")
    args = parser.parse_args()
    signal.alarm(LIFETIME_S)
    MODES[args.mode](args)


if __name__ == "__main__":
    main()
