// The cluster: what happens in it, who works in it, how far its partitions are, and what failed for good.

import { useEffect } from "preact/hooks";
import {
  type Claim,
  type Cluster,
  callOf,
  type Member,
  type Partition,
  ranges,
  rate,
  type State,
  type Step,
  short,
  stateOf,
  strip,
  troubles,
} from "../core/cluster";
import { taskAddress } from "../core/route";
import { ago, brief, duration, moment } from "../core/time";
import { now } from "../shell/drive";
import { useClock } from "../shell/hooks";
import { usePoll } from "../shell/polling";
import { Banner } from "./banner";
import { Icon, type IconName } from "./icon";
import { LastLetters } from "./letters";

/** How often the cluster is looked at, in milliseconds; processes speak of themselves each second at most. */
const LOOK_EVERY = 1500;
/** How many runs of a worker are named. */
const RUNS = 8;

export function ClusterView() {
  const { poll, again } = usePoll<Cluster>("/cluster", LOOK_EVERY);
  const clock = useClock(true);
  useEffect(() => {
    document.title = "Cluster · Baton";
  }, []);
  const cluster = poll.value;
  return (
    <>
      <Banner down={poll.isDown(now())} failure={poll.failure} retry={again} />
      <main class="cluster">
        <h1 class="unseen">Cluster</h1>
        {!cluster && <div class="loading">Loading…</div>}
        {cluster && (
          <>
            {troubles(cluster).map((trouble) => (
              <p key={trouble} class="problem is-warning">
                <Icon name="warning" />
                <span>{trouble}</span>
              </p>
            ))}
            <Strips cluster={cluster} />
            <Workers workers={cluster.workers} clock={clock} />
            <Partitions cluster={cluster} />
            <Apis apis={cluster.apis} clock={clock} />
            <LastLetters clock={clock} />
          </>
        )}
      </main>
    </>
  );
}

function Strips({ cluster }: { cluster: Cluster }) {
  const { steps, step_s: seconds } = cluster.pulse;
  const of = (value: (step: Step) => number) => steps.map(value);
  const each = (name: string, values: number[]) => ({ name, values, says: `${short(rate(values, seconds))}/s` });
  const waits = steps.map((step) => step.waited_p95_ms);
  const lastWait = waits.findLast((wait) => wait !== null);
  const tiles = [
    each(
      "Accepted",
      of((step) => step.accepted),
    ),
    each(
      "Ended",
      of((step) => step.done + step.failed + step.stopped),
    ),
    each(
      "Failed",
      of((step) => step.failed),
    ),
    each(
      "Lines",
      of((step) => step.lines),
    ),
    { name: "Wait, p95", values: waits, says: lastWait == null ? "none began" : brief(lastWait) },
  ];
  const span = duration(seconds * steps.length * 1000);
  return (
    <section class="strips" aria-label={`The last ${span}`}>
      {tiles.map(({ name, values, says }) => (
        <Tile key={name} name={name} values={values} says={says} span={span} seconds={seconds} />
      ))}
    </section>
  );
}

function Tile(props: { name: string; values: (number | null)[]; says: string; span: string; seconds: number }) {
  const { name, values, says, span, seconds } = props;
  const { heights, most } = strip(values);
  const isWait = name.startsWith("Wait");
  const highest = isWait ? brief(most) : short(most);
  const what = `${name}: ${says} lately; in the last ${span}, at most ${highest}${isWait ? "" : ` in ${seconds} s`}`;
  return (
    <figure class={name === "Failed" ? "strip is-failed" : "strip"}>
      <figcaption>
        {name} <b>{says}</b>
      </figcaption>
      <svg viewBox={`0 0 ${values.length} 20`} preserveAspectRatio="none" role="img" aria-label={what}>
        {heights.map((height, step) =>
          height === 0 ? null : (
            // Steps have no name but their place
            <rect
              key={`${step - heights.length}`}
              x={step + 0.1}
              width="0.8"
              y={20 - Math.max(1, 20 * height)}
              height="20"
            />
          ),
        )}
      </svg>
      <small>{most === 0 ? `nothing in ${span}` : `at most ${highest}${isWait ? "" : ` in ${seconds} s`}`}</small>
    </figure>
  );
}

const STATES: Record<State, { word: string; icon: IconName; class: string }> = {
  live: { word: "Live", icon: "check", class: "is-done" },
  draining: { word: "Draining", icon: "stop", class: "is-stopping" },
  lost: { word: "Lost", icon: "warning", class: "is-failed" },
};

function StateMark({ member }: { member: Member }) {
  const { word, icon, class: name } = STATES[stateOf(member)];
  return (
    <span class={`status ${name}`}>
      <Icon name={icon} />
      {word}
    </span>
  );
}

interface Column {
  name: string;
  /** Numbers stand at the right, one below the other. */
  figure?: boolean;
  title?: string;
}

interface TableProps {
  title: string;
  count: number;
  columns: Column[];
  /** The rows. */
  children: preact.ComponentChildren;
}

/** A titled table that may be wider than its place: then it scrolls, by keys too. */
function Table({ title, count, columns, children }: TableProps) {
  return (
    <section>
      <h2>
        {title} <b>{count}</b>
      </h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys */}
      <div class="wide" tabIndex={0}>
        <table>
          <thead>
            <tr>
              {columns.map(({ name, figure, title }) => (
                <th key={name} scope="col" class={figure ? "figure" : undefined} title={title}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{children}</tbody>
        </table>
      </div>
    </section>
  );
}

const UP_FOR: Column = { name: "Up for", figure: true };
const LAST_SEEN: Column = { name: "Last seen", figure: true };

/** The two cells that every process has: when it began, and when it was last heard of. */
function Times({ member, clock }: { member: Member; clock: number }) {
  const [began, seen] = [Date.parse(member.started_at), Date.parse(member.last_seen)];
  return (
    <>
      <td class="figure" title={moment(began)}>
        {duration(clock - began)}
      </td>
      <td class="figure" title={moment(seen)}>
        {member.lost ? <b class="is-wrong">{ago(seen, clock)}</b> : ago(seen, clock)}
      </td>
    </>
  );
}

const OF_WORKERS: Column[] = [
  { name: "Worker" },
  { name: "State" },
  { name: "Slots" },
  { name: "Runs" },
  { name: "Partitions" },
  { name: "Version" },
  UP_FOR,
  LAST_SEEN,
];

function Workers({ workers, clock }: { workers: Member[]; clock: number }) {
  if (workers.length === 0) {
    return (
      <section>
        <h2>
          Workers <b>0</b>
        </h2>
        <p class="none">
          No worker was heard of in the last minutes. <code>baton worker --help</code> says how to start one.
        </p>
      </section>
    );
  }
  return (
    <Table title="Workers" count={workers.length} columns={OF_WORKERS}>
      {workers.map((worker) => (
        <tr key={worker.id} class={worker.lost ? "is-lost" : ""}>
          <th scope="row">
            {callOf(worker)}
            {worker.name && <small>{worker.host}</small>}
          </th>
          <td>
            <StateMark member={worker} />
          </td>
          <td>
            <Slots worker={worker} />
          </td>
          <td>
            <Runs worker={worker} />
          </td>
          <td>{ranges((worker.claims ?? []).map((claim) => claim.partition)) || "none"}</td>
          <td>{worker.version}</td>
          <Times member={worker} clock={clock} />
        </tr>
      ))}
    </Table>
  );
}

function Slots({ worker }: { worker: Member }) {
  const [running, slots] = [worker.running ?? 0, worker.slots ?? 0];
  return (
    <span class="slots">
      <meter min={0} max={Math.max(1, slots)} value={running} aria-label={`${running} of ${slots} slots`} />
      {running} of {slots}
    </span>
  );
}

function Runs({ worker }: { worker: Member }) {
  const runs = worker.runs ?? [];
  const more = (worker.running ?? 0) - Math.min(runs.length, RUNS);
  if (runs.length === 0) return <span class="faint">nothing</span>;
  return (
    <span class="runs">
      {runs.slice(0, RUNS).map((run) => (
        <a key={run.task_id} href={taskAddress(run.task_id)}>
          <code>{run.task_id.slice(0, 8)}</code>
          {run.attempt > 1 && <small> attempt {run.attempt}</small>}
        </a>
      ))}
      {more > 0 && <small>and {more} more</small>}
    </span>
  );
}

const OF_PARTITIONS: Column[] = [
  { name: "Partition" },
  { name: "Held by" },
  { name: "Waiting", figure: true, title: "Tasks read by the worker that wait for a slot" },
  { name: "Retrying", figure: true, title: "Tasks that wait for the time of their next attempt" },
  { name: "Running", figure: true },
  { name: "Open", figure: true, title: "Records between the watermark and the end" },
  { name: "Watermark", figure: true, title: "Every task before this offset has ended" },
  { name: "End", figure: true, title: "The offset after the last task" },
];

function Partitions({ cluster }: { cluster: Cluster }) {
  const { partitions, workers } = cluster;
  const names = new Map(workers.map((worker) => [worker.id, callOf(worker)]));
  const claims = new Map(
    workers.flatMap((worker) => (worker.claims ?? []).map((claim) => [`${worker.id} ${claim.partition}`, claim])),
  );
  if (partitions.length === 0) return null;
  return (
    <Table title="Partitions of tasks" count={partitions.length} columns={OF_PARTITIONS}>
      {partitions.map((one) => (
        <PartitionRow
          key={one.partition}
          one={one}
          holder={names.get(one.worker ?? "")}
          claim={claims.get(`${one.worker} ${one.partition}`)}
        />
      ))}
    </Table>
  );
}

function PartitionRow(props: { one: Partition; holder: string | undefined; claim: Claim | undefined }) {
  const { one, holder, claim } = props;
  const number = (value: number | null | undefined) => value?.toLocaleString("en") ?? "unknown";
  return (
    <tr>
      <th scope="row">{one.partition}</th>
      <td>{holder ?? <b class="is-wrong">nobody</b>}</td>
      <td class="figure">{number(claim && claim.waiting - (claim.retrying ?? 0))}</td>
      <td class="figure">{number(claim && (claim.retrying ?? 0))}</td>
      <td class="figure">{number(one.running)}</td>
      <td class="figure">{number(one.open)}</td>
      <td class="figure">{number(one.watermark)}</td>
      <td class="figure">{number(one.end)}</td>
    </tr>
  );
}

const OF_APIS: Column[] = [{ name: "Replica" }, { name: "State" }, { name: "Version" }, UP_FOR, LAST_SEEN];

function Apis({ apis, clock }: { apis: Member[]; clock: number }) {
  if (apis.length === 0) return null;
  return (
    <Table title="API replicas" count={apis.length} columns={OF_APIS}>
      {apis.map((api) => (
        <tr key={api.id} class={api.lost ? "is-lost" : ""}>
          <th scope="row">{callOf(api)}</th>
          <td>
            <StateMark member={api} />
          </td>
          <td>{api.version}</td>
          <Times member={api} clock={clock} />
        </tr>
      ))}
    </Table>
  );
}
