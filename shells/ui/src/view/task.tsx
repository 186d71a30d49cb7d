// One task: how it stands, what may be done with it, its attempts, and its log.

import { useEffect, useState } from "preact/hooks";
import { type Attempt, hasEnded, type Status, type Task } from "../core/api";
import { NO_FILTERS } from "../core/list";
import { listAddress, taskAddress, writeLines } from "../core/route";
import { plain } from "../core/text";
import { ago, brief, duration, moment, size } from "../core/time";
import type { Watch } from "../core/watch";
import { now } from "../shell/drive";
import { go, useClock, useRedraw } from "../shell/hooks";
import { post } from "../shell/http";
import type { Settings } from "../shell/settings";
import { startWatching, type Watching } from "../shell/watching";
import { Banner } from "./banner";
import { CopyText } from "./copy";
import { Icon } from "./icon";
import { LogView } from "./log";
import { Result, Told } from "./report";
import { StatusMark } from "./status";
import { Still } from "./still";

interface Props {
  id: string;
  lines: { from: number; to: number } | undefined;
  settings: Settings;
  choose: (change: Partial<Settings>) => void;
}

export function TaskView({ id, lines, settings, choose }: Props) {
  const [version, redraw] = useRedraw();
  const [watching, setWatching] = useState<Watching>();
  // `redraw` does the same each time
  useEffect(() => {
    const started = startWatching(id, redraw);
    setWatching(started);
    return started.stop;
  }, [id]);
  const watch = watching?.watch;
  const task = watch?.task;
  useEffect(() => {
    document.title = `${task ? `${titleOf(task)} · ` : ""}Baton`;
  }, [task]);
  if (!watching || !watch) return <main class="task loading">Loading…</main>;
  if (watch.state.name === "missing") {
    return (
      <main class="note">
        <h1>There is no such task here</h1>
        <p>
          <code>{id}</code> is not known, or its time is over: a task is forgotten some days after its end.{" "}
          <a href="/">All tasks</a>
        </p>
      </main>
    );
  }
  return (
    <>
      <Banner down={watch.isDown(now())} failure={watch.trouble} retry={() => watching.send({ type: "woke" })} />
      <main class="task">
        {!task && <div class="loading">Loading…</div>}
        {task && (
          <StillHead
            task={task}
            report={watch.report}
            stopping={watch.stopping}
            killAt={watch.killAt}
            send={watching.send}
          />
        )}
        {task && (
          <LogView
            id={id}
            watch={watch}
            send={watching.send}
            version={version}
            lines={lines}
            settings={settings}
            choose={choose}
          />
        )}
        {watch.report?.result !== undefined && <Result result={watch.report.result} />}
      </main>
    </>
  );
}

function titleOf(task: Task): string {
  return task.summary ?? ([task.type, task.command].filter(Boolean).join(" ") || task.task_id);
}

interface HeadProps extends Pick<Watch, "report" | "stopping" | "killAt"> {
  task: Task;
  send: Watching["send"];
}

/** It need not be drawn anew with each line. */
class StillHead extends Still<HeadProps> {
  override render() {
    return <Head {...this.props} />;
  }
}

function Head({ task, report, stopping, killAt, send }: HeadProps) {
  const ended = hasEnded(task.status);
  const clock = useClock(!ended);
  const time = (text: string | null) => (text === null ? undefined : Date.parse(text));
  const [submitted, started, end] = [time(task.submitted_at), time(task.started_at), time(task.ended_at)];
  const attempts = task.attempts ?? [];
  // As long as it may come, and where it may be seen to go.
  const [mayBeTold] = useState(!ended);
  return (
    <header class="about">
      <div class="title">
        <h1 title={titleOf(task)}>{titleOf(task)}</h1>
        <Actions task={task} stopping={stopping} killAt={killAt} send={send} clock={clock} />
      </div>
      <div class="facts">
        <StatusMark status={task.status} />
        <dl>
          <Fact name="Task">
            <LikeIt filters={{ type: task.type ?? "" }}>
              <code>{[task.type, task.command].filter(Boolean).join(" ") || "unknown"}</code>
            </LikeIt>
          </Fact>
          <Fact name="Project">
            <LikeIt filters={{ project: task.project ?? "" }}>{task.project ?? "unknown"}</LikeIt>
          </Fact>
          {submitted !== undefined && (
            <Fact name="Submitted">
              <time dateTime={task.submitted_at ?? ""} title={moment(submitted)}>
                {ago(submitted, clock)}
              </time>
            </Fact>
          )}
          {submitted !== undefined && (started !== undefined || !ended) && (
            <Fact name={started === undefined ? "Has waited" : "Waited"}>
              {duration((started ?? clock) - submitted)}
            </Fact>
          )}
          {started !== undefined && <Fact name={ended ? "Ran" : "Runs for"}>{duration((end ?? clock) - started)}</Fact>}
          {task.attempt > 1 && <Fact name="Attempt">{task.attempt}</Fact>}
          {task.status === "retrying" && task.next_attempt_at !== undefined && (
            <Fact name="Next attempt">{untilNext(Date.parse(task.next_attempt_at) - clock)}</Fact>
          )}
          {task.exit_code !== undefined && <Fact name="Exit code">{task.exit_code}</Fact>}
          {task.signal !== undefined && <Fact name="Signal">{task.signal}</Fact>}
          {task.ending?.by !== undefined && <Fact name="Stopped by">{plain(task.ending.by)}</Fact>}
          {task.ending?.cpu_ms !== undefined && <Fact name="Processor">{brief(task.ending.cpu_ms)}</Fact>}
          {task.ending?.peak_memory !== undefined && <Fact name="Memory">{size(task.ending.peak_memory)}</Fact>}
          <Fact name="Id">
            <CopyText text={task.task_id} />
          </Fact>
        </dl>
      </div>
      {(mayBeTold || report) && <Told report={report} hasRoom={mayBeTold} isDone={task.status === "done"} />}
      {task.status === "failed" && (
        <p class="problem">
          <Icon name="warning" />
          <span>{plain(task.reason ?? task.last_update ?? "It failed.")}</span>
        </p>
      )}
      {stopping.failure && (
        <p class="problem" role="alert">
          <Icon name="warning" />
          <span>The STOP was not taken: {stopping.failure.detail}</span>
        </p>
      )}
      {attempts.length > 1 && <Timeline attempts={attempts} status={task.status} clock={clock} />}
      {task.params && Object.keys(task.params).length > 0 && (
        <details class="params">
          <summary>What it was asked</summary>
          <dl>
            {Object.entries(task.params).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd>
              </div>
            ))}
          </dl>
        </details>
      )}
    </header>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Leads to the tasks that have this in common with it. */
function LikeIt(props: { filters: { type: string } | { project: string }; children: preact.ComponentChildren }) {
  if (Object.values(props.filters).includes("")) return <>{props.children}</>;
  return <a href={listAddress({ ...NO_FILTERS, ...props.filters })}>{props.children}</a>;
}

function untilNext(left: number): string {
  return left > 0 ? `in ${duration(left)}` : "now, as soon as there is a slot";
}

type ActionsProps = Omit<HeadProps, "report"> & { clock: number };

function Actions({ task, clock, ...stop }: ActionsProps) {
  const [again, setAgain] = useState<string>();
  const runAgain = async () => {
    setAgain("");
    const { project, type, command, params } = task;
    const answer = await post<Task>("/tasks", { project, type, command, params });
    if (answer.ok) go(taskAddress(answer.value.task_id));
    else setAgain(answer.failure.detail);
  };
  return (
    <div class="actions">
      {again && (
        <span class="is-wrong" role="alert">
          {again}
        </span>
      )}
      {task.params && (
        <a class="button quiet" href={`/new?from=${encodeURIComponent(task.task_id)}`} title="Edit and run">
          <Icon name="edit" />
          <span>Edit and run</span>
        </a>
      )}
      {task.params && (
        <button type="button" class="quiet" disabled={again === ""} onClick={runAgain} title="Run again">
          <Icon name="again" />
          <span>Run again</span>
        </button>
      )}
      {!hasEnded(task.status) && <StopButton status={task.status} clock={clock} {...stop} />}
    </div>
  );
}

function StopButton({ status, stopping, killAt, send, clock }: Omit<ActionsProps, "task"> & { status: Status }) {
  const asked = stopping.asked || status === "stopping";
  const left = killAt === undefined ? undefined : Math.ceil((killAt - Math.max(clock, Date.now())) / 1000);
  const stop = (force: boolean) => send({ type: "stop", force });
  const says = !asked
    ? "Stop"
    : left === undefined
      ? "Stopping…"
      : left > 0
        ? `Stopping, killed in ${left} s`
        : "Killing…";
  return (
    <>
      <button type="button" class={asked ? "danger is-asked" : "danger"} disabled={asked} onClick={() => stop(false)}>
        <Icon name="stop" />
        <span>{says}</span>
      </button>
      {asked && (
        <button type="button" class="danger" disabled={stopping.forced} onClick={() => stop(true)}>
          <Icon name="x" />
          <span>{stopping.forced ? "Forcing…" : "Force stop"}</span>
        </button>
      )}
    </>
  );
}

/** Why an attempt ended, in words. */
function endOf(attempt: Attempt, isLast: boolean, status: Status): string {
  if (attempt.outcome === "handed_back") return "handed over by its worker";
  if (attempt.end !== undefined) return plain(attempt.end);
  if (!isLast) return "its worker was lost";
  return hasEnded(status) ? "ended" : status;
}

function Timeline({ attempts, status, clock }: { attempts: Attempt[]; status: Status; clock: number }) {
  return (
    <ol class="attempts" aria-label="Attempts">
      {attempts.map((attempt, index) => {
        const next = attempts[index + 1];
        const from = Date.parse(attempt.started_at);
        const to = attempt.ended_at ?? next?.started_at;
        const lasted = (to === undefined ? clock : Date.parse(to)) - from;
        const isLast = next === undefined;
        return (
          <li key={attempt.attempt} class={isLast ? `is-${status}` : "is-lost"}>
            <a href={writeLines(attempt.position, attempt.position)} title={moment(from)}>
              <b>Attempt {attempt.attempt}</b>
              <span class="lasted">{duration(lasted)}</span>
              <span class="end">{endOf(attempt, isLast, status)}</span>
            </a>
          </li>
        );
      })}
    </ol>
  );
}
