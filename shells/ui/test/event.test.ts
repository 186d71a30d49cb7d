// Lines of JSON as people read them: those of agents that are known, and any other.

import { expect, test } from "vitest";
import { foundInRaw, lineOf, MOST_READ, readEvent } from "../src/core/event";

/** An event as one line of text: `LEVEL look label | text | name=value …`. */
function drawn(value: unknown): string {
  const event = readEvent(typeof value === "string" ? value : JSON.stringify(value));
  if (!event) return "no event";
  const { text, more } = lineOf(event);
  const head = [event.level.toUpperCase(), event.look, event.label].filter(Boolean).join(" ");
  const fields = event.fields.map(([name, value]) => `${name}=${value}`).join(" ");
  return [head, `${text}${more > 0 ? ` (+${more})` : ""}`, fields].filter((part) => part !== "").join(" | ");
}

const claude = (type: string, ...content: unknown[]) => ({ type, message: { role: type, content }, session_id: "s" });
const codex = (item: unknown, type = "item.completed") => ({ type, item });

test.each([
  [
    { type: "system", subtype: "init", cwd: "/w", tools: ["Bash", "Read"], model: "m-1", permissionMode: "default" },
    "about session | m-1 | in=/w tools=2 permissions=default",
  ],
  [{ type: "system", subtype: "compact_boundary" }, "about compact_boundary"],
  [claude("assistant", { type: "text", text: "I will\n\nlook." }), "says assistant | I will look."],
  [claude("assistant", { type: "thinking", thinking: "Hm. " }), "thinks thinking | Hm."],
  [
    claude("assistant", { type: "tool_use", id: "t", name: "Bash", input: { command: "ls -la", timeout: 5 } }),
    "tool Bash | ls -la | timeout=5",
  ],
  [
    claude("assistant", {
      type: "tool_use",
      name: "Edit",
      input: { file_path: "a.py", old_string: "x", new_string: "y" },
    }),
    "tool Edit | a.py | old_string=x new_string=y",
  ],
  [claude("assistant", { type: "tool_use", name: "Wait", input: { for: 3 } }), "tool Wait | for: 3"],
  [
    claude("assistant", { type: "text", text: "Both:" }, { type: "tool_use", name: "Read", input: { file_path: "b" } }),
    "says assistant | Both: | Read=b",
  ],
  [claude("user", { type: "tool_result", tool_use_id: "t", content: "one\ntwo\nthree\n" }), "output output | one (+2)"],
  [
    claude("user", { type: "tool_result", is_error: true, content: [{ type: "text", text: "no" }, { type: "image" }] }),
    "ERROR output output | no (+1)",
  ],
  [{ type: "user", message: { content: "go on" } }, "says user | go on"],
  [
    { type: "stream_event", event: { type: "content_block_delta", delta: { type: "text_delta", text: "Hel" } } },
    "about writes | Hel",
  ],
  [
    {
      type: "result",
      subtype: "success",
      is_error: false,
      result: "All is well.",
      total_cost_usd: 0.0123,
      num_turns: 3,
      duration_ms: 4200,
      usage: { input_tokens: 1200, output_tokens: 34 },
    },
    "result result | All is well. | cost=$0.0123 turns=3 took=4.2 s tokens in=1,200 out=34",
  ],
  [
    { type: "result", subtype: "error_max_turns", is_error: true, num_turns: 9 },
    "ERROR result failed | error_max_turns | turns=9",
  ],
])("Claude Code: %j", (line, expected) => {
  expect(drawn(line)).toBe(expected);
});

test.each([
  [{ type: "thread.started", thread_id: "0199" }, "about session | 0199"],
  [{ type: "turn.started" }, "about turn | begins"],
  [codex({ type: "reasoning", text: "**Looks**" }), "thinks thinking | **Looks**"],
  [codex({ type: "agent_message", text: "Done." }), "says assistant | Done."],
  [
    codex(
      { type: "command_execution", command: "bash -lc ls", exit_code: null, status: "in_progress" },
      "item.started",
    ),
    "tool command | bash -lc ls",
  ],
  [
    codex({ type: "command_execution", command: "ls", aggregated_output: "a\nb\n", exit_code: 0, status: "completed" }),
    "output output | a (+1) | command=ls exit code=0",
  ],
  [
    codex({ type: "command_execution", command: "ls", aggregated_output: "", exit_code: 2, status: "failed" }),
    "ERROR output output | nothing | command=ls exit code=2",
  ],
  [
    codex({
      type: "file_change",
      changes: [
        { path: "a", kind: "add" },
        { path: "b", kind: "update" },
      ],
    }),
    "tool edit | add a, update b",
  ],
  [
    codex({ type: "mcp_tool_call", server: "docs", tool: "find", arguments: { query: "x" } }, "item.started"),
    "tool docs.find | x",
  ],
  [
    codex({ type: "mcp_tool_call", server: "docs", tool: "find", error: { message: "down" }, status: "failed" }),
    "ERROR output output | down | tool=docs.find",
  ],
  [codex({ type: "web_search", query: "weather" }), "tool search | weather"],
  [
    codex({
      type: "todo_list",
      items: [
        { text: "a", completed: true },
        { text: "b", completed: false },
      ],
    }),
    "about plan | b | done=1 of 2",
  ],
  [codex({ type: "error", message: "oops" }), "ERROR about error | oops"],
  [{ type: "turn.completed", usage: { input_tokens: 10, output_tokens: 2 } }, "about turn | ends | tokens in=10 out=2"],
  [{ type: "turn.failed", error: { message: "quota" } }, "ERROR result failed | quota"],
  [{ type: "error", message: "stream lost" }, "ERROR about error | stream lost"],
])("Codex: %j", (line, expected) => {
  expect(drawn(line)).toBe(expected);
});

test.each([
  [{ baton: { progress: 0.4, status: "Reads" } }, "about 40 % | Reads"],
  [
    { baton: { status: "Reads", cost_usd: 0.12, tokens: { input: 1000, output: 5 } } },
    "about status | Reads | cost=$0.12 tokens in=1,000 out=5",
  ],
  [{ baton: { result: { ok: true } } }, 'result result | {"ok":true}'],
  [{ baton: {} }, "about status"],
  [{ baton: { progress: "much", status: 3, tokens: "x", cost_usd: "y" } }, "about status"],
])("Baton's own: %j", (line, expected) => {
  expect(drawn(line)).toBe(expected);
});

test.each([
  ['{"level":"WARN","msg":"low  disk","left":3,"time":"now"}', "WARN other | low disk | left=3"],
  [{ type: "result", result: "not of an agent" }, "other result | not of an agent"],
  [{ type: "error", error: "x" }, "other error | x"],
  [{ baton: "a stick", msg: "x" }, "other | x | baton=a stick"],
])("any other: %j", (line, expected) => {
  expect(drawn(line)).toBe(expected);
});

test("words that stand in the raw form alone are shown from there", () => {
  const line = JSON.stringify({ ...claude("assistant", { type: "text", text: "Hello" }), session_id: "abc-123" });
  const event = readEvent(line);
  if (!event) throw new Error("no event");
  expect(foundInRaw(event, line, "HELLO")).toBeUndefined();
  expect(foundInRaw(event, line, "Abc-123")).toMatch(/^….*"session_id":"abc-123"}$/);
  expect([foundInRaw(event, line, ""), foundInRaw(event, line, "nowhere")]).toEqual([undefined, undefined]);
});

test("a line that is too long to be read is text", () => {
  expect(readEvent(`{"msg":"${"x".repeat(MOST_READ)}"}`)).toBeUndefined();
});

test("agents' lines may be of any shape all the same", () => {
  const strange = [null, 1, "x", [], {}, [null], { type: 1 }, [{ type: "tool_use" }], [{ type: "text", text: 3 }]];
  for (const type of ["assistant", "user", "system", "result", "stream_event", "item.completed", "turn.failed"]) {
    for (const value of strange) {
      const line = { type, message: { content: value }, item: value, event: value, error: value, usage: value };
      expect(readEvent(JSON.stringify(line)), JSON.stringify(line)).toBeDefined();
    }
  }
  for (const kind of ["command_execution", "file_change", "mcp_tool_call", "todo_list", "reasoning"]) {
    for (const value of strange) {
      const item = {
        type: kind,
        changes: value,
        items: value,
        result: value,
        error: value,
        text: value,
        command: value,
      };
      expect(readEvent(JSON.stringify({ type: "item.completed", item }))).toBeDefined();
    }
  }
});

test.each(["", "{}", "{", "[1]", "{oops}", "x {}", "null", "{".repeat(100_000)])("%.20j is no event", (line) => {
  expect(readEvent(line)).toBeUndefined();
});

test("an event of any shape can be read", () => {
  for (const value of [
    { message: 1 },
    { message: { content: "x" } },
    { a: null },
    { type: {} },
    { message: { content: [null] } },
  ]) {
    expect(readEvent(JSON.stringify(value))).toBeDefined();
  }
  expect(readEvent('{"__proto__":{"polluted":true},"msg":"x"}')).toMatchObject({ text: "x" });
  expect("polluted" in {}).toBe(false);
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`k${n}`, "v".repeat(1000)]));
  expect(readEvent(JSON.stringify(many))?.fields).toHaveLength(9);
});
