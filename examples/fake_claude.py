#!/usr/bin/env python3
"""Stands for Claude Code's CLI in tests: it takes the same options and speaks the same stream-json, and asks no model.

A prompt with the word `fail` ends in an error; each word of a prompt costs a cent.
"""

import argparse
import json
import sys
import uuid


def say(kind: str, **members) -> None:
    print(json.dumps({"type": kind, **members}), flush=True)


def assistant(number: int, content: dict) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 20 * number}
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": [content], "usage": usage}
    say("assistant", message=message, parent_tool_use_id=None)


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-p", "--print", action="store_true", required=True)
    parser.add_argument("--output-format", choices=["stream-json"], required=True)
    parser.add_argument("--verbose", action="store_true", required=True)
    parser.add_argument("--model", default="sonnet")
    parser.add_argument("--permission-mode", default="default")
    parser.add_argument("--allowed-tools", default="")
    parser.add_argument("--max-turns", type=int)
    parser.add_argument("--max-budget-usd", type=float)
    parser.add_argument("--resume")
    args = parser.parse_args()
    prompt = sys.stdin.read()
    session = args.resume or str(uuid.uuid4())
    say("system", subtype="init", session_id=session, model=args.model, permissionMode=args.permission_mode)
    assistant(1, {"type": "text", "text": f"I was asked: {prompt}"})
    tool = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "true", "description": "Try it"}}
    assistant(2, tool)
    cost = 0.01 * len(prompt.split())
    end = {"num_turns": 2, "session_id": session, "total_cost_usd": cost, "duration_ms": 5}
    end["usage"] = {"input_tokens": 20, "cache_read_input_tokens": 2000, "output_tokens": 60}
    if args.max_budget_usd is not None and cost > args.max_budget_usd:
        say("result", subtype="error_max_budget_usd", is_error=True, **end)
        return 1
    if "fail" in prompt.split():
        say("result", subtype="success", is_error=True, result="API Error: it was asked to fail", **end)
        return 1
    say("result", subtype="success", is_error=False, result=f"Done in {len(prompt.split())} words.", **end)
    return 0


if __name__ == "__main__":
    sys.exit(main())
