// The lines of agents whose shape is known: Claude Code's `stream-json`, Codex's `--json`, and Baton's own
// `{"baton": {...}}`. Each becomes one event: what was said, done, answered, or came of it. An object of another shape is
// none of them, and a part that is missing or strange is left out.

import type { Event } from "./event";
import { brief, type Fields, fieldOf, fieldsOf, isFields, textOf, written } from "./json";
import { money, percent, progressOf } from "./report";
import { duration } from "./time";

export function agentEvent(fields: Fields): Event | undefined {
  if (isFields(fields.baton)) return ofBaton(fields.baton);
  const type = textOf(fields.type);
  if (type === undefined) return undefined;
  return ofMessage(type, fields) ?? ofClaude(type, fields) ?? ofCodex(type, fields);
}

function event(look: Event["look"], label: string, text: string, fields: [string, unknown][] = []): Event {
  const said = fields.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return { look, label, level: "", text, fields: said.map(([name, value]) => fieldOf(name, value)) };
}

function failed(event: Event): Event {
  return { ...event, level: "error" };
}

/** `{"baton": {"progress": 0.4, "status": "…", "cost_usd": 0.1, "tokens": {…}, "result": …}}` */
function ofBaton(said: Fields): Event {
  const progress = typeof said.progress === "number" ? progressOf({ progress: said.progress }) : undefined;
  const about: [string, unknown][] = [["cost", dollars(said.cost_usd)], ...usage(said.tokens, "input", "output")];
  const status = textOf(said.status) ?? "";
  if (said.result !== undefined) return event("result", "result", written(said.result), [["status", status], ...about]);
  return event("about", progress === undefined ? "status" : percent(progress), status, about);
}

/** What Claude Code's messages hold, and those of others that write as it does: blocks of content. */
function ofMessage(type: string, fields: Fields): Event | undefined {
  const content = fieldsOf(fields.message).content;
  if (typeof content === "string") return event("says", type, content);
  const blocks = Array.isArray(content) ? content.filter(isFields) : [];
  const [first, ...rest] = blocks.map((block) => ofBlock(type, block));
  if (!first) return undefined;
  const inside: [string, unknown][] = textOf(fields.parent_tool_use_id) ? [["within", "another tool"]] : [];
  const more = rest.map(({ label, text }): [string, string] => [label, brief(text)]);
  return { ...first, fields: [...first.fields, ...inside.map(([name, value]) => fieldOf(name, value)), ...more] };
}

function ofBlock(type: string, block: Fields): Event {
  switch (block.type) {
    case "text":
      return event("says", type, written(block.text));
    case "thinking":
    case "redacted_thinking":
      return event("thinks", "thinking", textOf(block.thinking) ?? "not told");
    case "tool_use":
    case "server_tool_use":
      return tool(textOf(block.name) ?? "tool", block.input);
    case "tool_result": {
      const output = event("output", "output", partsOf(block.content));
      return block.is_error === true ? failed(output) : output;
    }
    default:
      return event("about", textOf(block.type) ?? type, textOf(block.text) ?? brief(block));
  }
}

/** Text that comes as such, or in parts of which some may be pictures. */
function partsOf(content: unknown): string {
  if (!Array.isArray(content)) return written(content ?? "");
  return content.map((part) => textOf(fieldsOf(part).text) ?? `[${textOf(fieldsOf(part).type) ?? "part"}]`).join("\n");
}

/** What of a tool's input says most, the first that is there. */
const TELLING = [
  "command",
  "cmd",
  "file_path",
  "notebook_path",
  "path",
  "pattern",
  "query",
  "url",
  "description",
  "prompt",
  "skill",
];

function tool(name: string, input: unknown, more: [string, unknown][] = []): Event {
  if (!isFields(input)) return event("tool", name, input === undefined ? "" : written(input), more);
  const telling = TELLING.find((key) => textOf(input[key]) !== undefined);
  if (telling === undefined && Object.keys(input).length === 1) {
    return event("tool", name, Object.entries(input).map(([key, value]) => `${key}: ${written(value)}`)[0] ?? "", more);
  }
  const rest = Object.entries(input).filter(([key]) => key !== telling);
  return event("tool", name, telling === undefined ? "" : written(input[telling]), [...rest, ...more]);
}

function ofClaude(type: string, fields: Fields): Event | undefined {
  if (type === "system") {
    const { tools, model, cwd, permissionMode } = fields;
    const count = Array.isArray(tools) ? tools.length : undefined;
    if (fields.subtype !== "init") return event("about", textOf(fields.subtype) ?? type, textOf(fields.content) ?? "");
    return event("about", "session", textOf(model) ?? "", [
      ["in", cwd],
      ["tools", count],
      ["permissions", permissionMode],
    ]);
  }
  if (type === "stream_event" && isFields(fields.event)) {
    const delta = fieldsOf(fields.event.delta);
    const text = textOf(delta.text) ?? textOf(delta.thinking) ?? textOf(delta.partial_json);
    return event("about", text === undefined ? (textOf(fields.event.type) ?? type) : "writes", text ?? "");
  }
  if (type !== "result" || (fields.is_error === undefined && fields.total_cost_usd === undefined)) return undefined;
  const errors = Array.isArray(fields.errors) ? fields.errors.map(written).join("\n") : undefined;
  const subtype = textOf(fields.subtype) ?? "";
  const ended = event(
    "result",
    fields.is_error === true ? "failed" : "result",
    textOf(fields.result) ?? errors ?? subtype,
    [
      ["cost", dollars(fields.total_cost_usd)],
      ["turns", fields.num_turns],
      ["took", typeof fields.duration_ms === "number" ? duration(fields.duration_ms) : undefined],
      ...usage(fields.usage, "input_tokens", "output_tokens"),
    ],
  );
  return fields.is_error === true ? failed(ended) : ended;
}

function ofCodex(type: string, fields: Fields): Event | undefined {
  switch (type) {
    case "thread.started":
      return event("about", "session", textOf(fields.thread_id) ?? "");
    case "turn.started":
      return event("about", "turn", "begins");
    case "turn.completed":
      return event("about", "turn", "ends", usage(fields.usage, "input_tokens", "output_tokens"));
    case "turn.failed":
      return failed(event("result", "failed", textOf(fieldsOf(fields.error).message) ?? brief(fields.error)));
    case "error":
      return textOf(fields.message) === undefined
        ? undefined
        : failed(event("about", "error", written(fields.message)));
    case "item.started":
    case "item.updated":
    case "item.completed":
      return isFields(fields.item) ? ofItem(fields.item, type === "item.completed") : undefined;
    default:
      return undefined;
  }
}

function ofItem(item: Fields, isOver: boolean): Event {
  const kind = textOf(item.type) ?? textOf(item.item_type) ?? "item";
  const hasFailed = item.status === "failed" || (typeof item.exit_code === "number" && item.exit_code !== 0);
  const judged = (event: Event) => (hasFailed ? failed(event) : event);
  switch (kind) {
    case "agent_message":
    case "assistant_message":
      return event("says", "assistant", textOf(item.text) ?? "");
    case "reasoning":
      return event("thinks", "thinking", textOf(item.text) ?? "");
    case "command_execution": {
      if (!isOver) return tool("command", { command: item.command });
      const output = textOf(item.aggregated_output);
      const about: [string, unknown][] = [
        ["command", item.command],
        ["exit code", item.exit_code],
      ];
      return judged(event("output", "output", output?.trimEnd() ?? "nothing", about));
    }
    case "file_change": {
      const changes = Array.isArray(item.changes) ? item.changes.filter(isFields) : [];
      return judged(
        event("tool", "edit", changes.map(({ kind, path }) => `${written(kind)} ${written(path)}`).join(", ")),
      );
    }
    case "mcp_tool_call": {
      const name = [item.server, item.tool].map(textOf).filter(Boolean).join(".");
      if (!isOver) return tool(name || "tool", item.arguments);
      const error = textOf(fieldsOf(item.error).message);
      return judged(event("output", "output", error ?? partsOf(fieldsOf(item.result).content), [["tool", name]]));
    }
    case "web_search":
      return event("tool", "search", textOf(item.query) ?? "");
    case "todo_list": {
      const todos = Array.isArray(item.items) ? item.items.filter(isFields) : [];
      const done = todos.filter(({ completed }) => completed === true).length;
      const next = todos.find(({ completed }) => completed !== true);
      return event("about", "plan", textOf(next?.text) ?? "", [["done", `${done} of ${todos.length}`]]);
    }
    case "error":
      return failed(event("about", "error", textOf(item.message) ?? ""));
    default:
      return judged(event("about", kind, textOf(item.text) ?? brief(item)));
  }
}

function dollars(value: unknown): string | undefined {
  return typeof value === "number" ? money(value) : undefined;
}

function usage(value: unknown, input: string, output: string): [string, unknown][] {
  const used = fieldsOf(value);
  const read = (name: string) => (typeof used[name] === "number" ? used[name].toLocaleString("en") : undefined);
  return [
    ["tokens in", read(input)],
    ["out", read(output)],
  ];
}
