// The list of tasks.

import { useEffect, useRef, useState } from "preact/hooks";
import { hasEnded, STATUSES, type Task, type TaskPage, type TaskTypes } from "../core/api";
import { type Filters, type Input, List, NO_FILTERS } from "../core/list";
import { money, percent, progressOf } from "../core/report";
import { listAddress, taskAddress, writeFilters } from "../core/route";
import { plain } from "../core/text";
import { ago, duration, moment } from "../core/time";
import { now } from "../shell/drive";
import { go, leave, useClock, useKeys } from "../shell/hooks";
import { call } from "../shell/http";
import { usePolling } from "../shell/polling";
import { Banner } from "./banner";
import { Icon } from "./icon";
import { Progress } from "./report";
import { StatusMark, wordOf } from "./status";

/** How many rows a page has. */
const LIMIT = 50;

function useList(filters: Filters): { list: List; send: (input: Input) => void } {
  const path = `/tasks${writeFilters(filters) || "?"}&limit=${LIMIT}`;
  const { machine, send } = usePolling<TaskPage, Input, List>(() => new List(), path, { type: "ask", filters });
  useEffect(() => {
    const onScroll = () => send({ type: "settled", settled: scrollY < 40 });
    addEventListener("scroll", onScroll, { passive: true });
    return () => removeEventListener("scroll", onScroll);
  }, [send]);
  return { list: machine, send };
}

/** The names of the task types; none until they are known, as nothing depends on them. */
function useTypes(): string[] {
  const [types, setTypes] = useState<string[]>([]);
  useEffect(() => {
    call<TaskTypes>("/types").then((answer) => {
      if (answer.ok) setTypes(Object.keys(answer.value.types));
    });
  }, []);
  return types;
}

export function Tasks({ filters }: { filters: Filters }) {
  const { list, send } = useList(filters);
  const types = useTypes();
  const [picked, setPicked] = useState<string>();
  const search = useRef<HTMLInputElement>(null);
  const tasks = list.tasks ?? [];
  const clock = useClock(tasks.some((task) => !hasEnded(task.status)));
  const narrow = (change: Partial<Filters>, replace = false) =>
    go(listAddress({ ...filters, cursor: "", ...change }), replace);
  useEffect(() => {
    document.title = "Tasks · Baton";
  }, []);

  const pick = (id: string | undefined) => {
    setPicked(id);
    send({ type: "settled", settled: id === undefined && scrollY < 40 });
    if (id !== undefined) document.getElementById(`task-${id}`)?.scrollIntoView({ block: "nearest" });
  };
  useKeys((key) => {
    const at = tasks.findIndex((task) => task.task_id === picked);
    if (key === "j") pick(tasks[Math.min(tasks.length - 1, at + 1)]?.task_id);
    else if (key === "k") pick(tasks[Math.max(0, at - 1)]?.task_id);
    else if (key === "Enter" && picked !== undefined && document.activeElement === document.body)
      go(taskAddress(picked));
    else if (key === "Escape") pick(undefined);
    else if (key === "/") search.current?.focus();
    else return false;
    return true;
  });

  const total = STATUSES.reduce((sum, status) => sum + (list.totals?.[status] ?? 0), 0);
  const isNarrowed = listAddress(filters) !== listAddress();
  const nothingYet = list.tasks !== undefined && total === 0 && !isNarrowed;
  return (
    <>
      <Banner down={list.isDown(now())} failure={list.failure} retry={() => send({ type: "again" })} />
      <main class="tasks">
        <h1 class="unseen">Tasks</h1>
        {!nothingYet && (
          <>
            <Totals filters={filters} list={list} total={total} narrow={narrow} />
            <div class="filters">
              <label class="search">
                <Icon name="search" />
                <span class="unseen">Search tasks</span>
                <input
                  ref={search}
                  type="search"
                  placeholder="Search what was asked, ids, last lines"
                  value={filters.q}
                  onInput={(event) => narrow({ q: event.currentTarget.value.slice(0, 120) }, true)}
                  onKeyDown={(event) => {
                    if (event.key === "Escape") leave(event);
                  }}
                />
                <span class="hotkey" aria-hidden="true">
                  /
                </span>
              </label>
              <Choice
                name="Project"
                all="All projects"
                value={filters.project}
                values={list.projects}
                choose={(project) => narrow({ project })}
              />
              <Choice
                name="Type"
                all="All types"
                value={filters.type}
                values={types}
                choose={(type) => narrow({ type })}
              />
            </div>
          </>
        )}
        {list.waiting > 0 && (
          <button
            type="button"
            class="arrived"
            onClick={() => {
              pick(undefined);
              scrollTo({ top: 0 });
              send({ type: "let in" });
            }}
          >
            {list.waiting === 1 ? "1 new task" : `${list.waiting} new tasks`} <Icon name="chevron-up" />
          </button>
        )}
        {list.tasks === undefined && !list.failure && <div class="loading">Loading…</div>}
        {list.failure && list.failure.status >= 400 && list.failure.status < 500 && (
          <p class="problem" role="alert">
            {list.failure.errors[0]
              ? `${list.failure.errors[0].field}: ${list.failure.errors[0].reason}`
              : list.failure.detail}{" "}
            <a href="/">Show all tasks</a>
          </p>
        )}
        {nothingYet && <Nothing />}
        {list.tasks !== undefined && tasks.length === 0 && !nothingYet && (
          <p class="none">
            No task is like that. <a href={listAddress(NO_FILTERS)}>Show all tasks</a>
          </p>
        )}
        {tasks.length > 0 && (
          <ul class="list" aria-label="Tasks, the newest first">
            {tasks.map((task) => (
              <Line key={task.task_id} task={task} now={clock} picked={task.task_id === picked} />
            ))}
          </ul>
        )}
        {(filters.cursor !== "" || list.nextCursor !== null) && (
          <nav class="pages" aria-label="Pages">
            {filters.cursor !== "" && <a href={listAddress({ ...filters, cursor: "" })}>Newest</a>}
            {list.nextCursor !== null && <a href={listAddress({ ...filters, cursor: list.nextCursor })}>Older</a>}
          </nav>
        )}
      </main>
    </>
  );
}

interface ChoiceProps {
  name: string;
  /** What it is called if nothing is chosen. */
  all: string;
  value: string;
  values: string[];
  choose: (value: string) => void;
}

function Choice({ name, all, value, values, choose }: ChoiceProps) {
  const options = [...new Set([...values, value])].filter((one) => one !== "");
  return (
    <label>
      <span class="unseen">{name}</span>
      <select value={value} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="">{all}</option>
        {options.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}

function Totals(props: { filters: Filters; list: List; total: number; narrow: (change: Partial<Filters>) => void }) {
  const { filters, list, total, narrow } = props;
  const number = (count: number | undefined) => (count === undefined ? "" : count.toLocaleString("en"));
  return (
    <div class="totals" role="group" aria-label="States">
      <button type="button" aria-pressed={filters.statuses.length === 0} onClick={() => narrow({ statuses: [] })}>
        All <b>{number(list.totals && total)}</b>
      </button>
      {STATUSES.map((status) => {
        const on = filters.statuses.includes(status);
        const statuses = on ? filters.statuses.filter((one) => one !== status) : [...filters.statuses, status];
        return (
          <button
            key={status}
            type="button"
            class={`is-${status}`}
            aria-pressed={on}
            onClick={() => narrow({ statuses })}
          >
            <i aria-hidden="true" />
            {wordOf(status)} <b>{number(list.totals?.[status])}</b>
          </button>
        );
      })}
    </div>
  );
}

function Line({ task, now, picked }: { task: Task; now: number; picked: boolean }) {
  const time = (text: string | null) => (text === null ? undefined : Date.parse(text));
  const [submitted, started, ended] = [time(task.submitted_at), time(task.started_at), time(task.ended_at)];
  const began = started ?? (hasEnded(task.status) ? undefined : submitted);
  const lasted = began === undefined ? "" : duration((ended ?? now) - began);
  const kind = [task.type, task.command].filter(Boolean).join(" ");
  const progress = hasEnded(task.status) ? undefined : progressOf(task.report);
  return (
    <li id={`task-${task.task_id}`} class={picked ? "is-picked" : ""}>
      <a href={taskAddress(task.task_id)}>
        <StatusMark status={task.status} />
        <span class="what">
          <span class="asked">{task.summary ?? (kind || task.task_id)}</span>
          <span class="kind">
            <span>{kind || "unknown type"}</span>
            <span>{task.project}</span>
            <code>{task.task_id.slice(0, 8)}</code>
            {task.attempt > 1 && <span class="attempt">attempt {task.attempt}</span>}
            {task.report?.cost_usd !== undefined && <span>{money(task.report.cost_usd)}</span>}
          </span>
        </span>
        <Said task={task} progress={progress} />
        <span class="lasted" title={started === undefined && !ended ? "has waited" : "ran"}>
          {progress !== undefined && <b>{percent(progress)}</b>}
          {lasted}
        </span>
        <time class="when" dateTime={task.submitted_at ?? undefined} title={submitted ? moment(submitted) : ""}>
          {submitted === undefined ? "" : ago(submitted, now)}
        </time>
      </a>
    </li>
  );
}

/** What the agent says that it does, else its last line. */
function Said({ task, progress }: { task: Task; progress: number | undefined }) {
  const status = hasEnded(task.status) ? undefined : task.report?.status;
  return (
    <>
      <span class="said">
        {progress !== undefined && <b>{percent(progress)} </b>}
        {status === undefined ? (
          <code>{plain(task.last_update ?? "").slice(0, 300)}</code>
        ) : (
          plain(status).slice(0, 300)
        )}
      </span>
      {progress !== undefined && <Progress progress={progress} />}
    </>
  );
}

function Nothing() {
  const { origin } = location;
  const body = '{"project": "default", "type": "seed-db", "params": {"reset": true}}';
  return (
    <section class="nothing">
      <h2>No tasks yet</h2>
      <p>A task is one run of an agent. Submit one, and watch it work here, line by line.</p>
      <a class="button main" href="/new">
        <Icon name="plus" />
        <span>New task</span>
      </a>
      <h3>or by curl</h3>
      <pre>{`curl ${origin}/tasks -d '${body}'`}</pre>
      <h3>or by the command line</h3>
      <pre>baton submit seed-db reset=true --project default --watch</pre>
    </section>
  );
}
