// Dead letters: what failed for good, why, and what may be done about it.

import { useEffect, useState } from "preact/hooks";
import { type Letter, type LetterFilters, type LetterPage, lettersAddress, NO_LETTER_FILTERS } from "../core/letters";
import { taskAddress } from "../core/route";
import { plain } from "../core/text";
import { ago, moment } from "../core/time";
import { now } from "../shell/drive";
import { go, leave, useClock } from "../shell/hooks";
import { call } from "../shell/http";
import { usePoll } from "../shell/polling";
import { Banner } from "./banner";
import { Icon } from "./icon";

/** How often the list is looked at, in milliseconds. */
const LOOK_EVERY = 3000;
/** How many letters a page has, and how many the cluster shows. */
const LIMIT = 50;
const LAST = 5;

export function Letters({ filters }: { filters: LetterFilters }) {
  const { poll, again } = usePoll<LetterPage>(lettersAddress(filters, LIMIT), LOOK_EVERY);
  const clock = useClock(true);
  useEffect(() => {
    document.title = "Dead letters · Baton";
  }, []);
  const page = poll.value;
  const isNarrowed = lettersAddress(filters) !== lettersAddress();
  const narrow = (change: Partial<LetterFilters>) => go(lettersAddress({ ...filters, cursor: "", ...change }), true);
  return (
    <>
      <Banner down={poll.isDown(now())} failure={poll.failure} retry={again} />
      <main class="cluster">
        <h1>Dead letters</h1>
        <p class="lead">
          Tasks that failed for good, and records that could not be read as tasks. Redrive one to run its task again.
        </p>
        <div class="filters">
          <label class="search">
            <Icon name="search" />
            <span class="unseen">Search reasons</span>
            <input
              type="search"
              placeholder="Search reasons"
              value={filters.reason}
              onInput={(event) => narrow({ reason: event.currentTarget.value.slice(0, 120) })}
              onKeyDown={(event) => {
                if (event.key === "Escape") leave(event);
              }}
            />
          </label>
          {(["project", "type"] as const).map(
            (name) =>
              filters[name] !== "" && (
                <button key={name} type="button" class="chip" onClick={() => narrow({ [name]: "" })}>
                  {name}: {filters[name]} <Icon name="x" />
                </button>
              ),
          )}
        </div>
        {!page && !poll.failure && <div class="loading">Loading…</div>}
        {poll.failure && poll.failure.status >= 400 && poll.failure.status < 500 && (
          <p class="problem" role="alert">
            <span>{poll.failure.errors[0]?.reason ?? poll.failure.detail}</span> <a href={lettersAddress()}>Show all</a>
          </p>
        )}
        {page && page.dead_letters.length === 0 && (
          <p class="none">
            {isNarrowed ? "No dead letter is like that." : "There are none: nothing has failed for good."}{" "}
            {isNarrowed && <a href={lettersAddress(NO_LETTER_FILTERS)}>Show all</a>}
          </p>
        )}
        {page && page.dead_letters.length > 0 && <List letters={page.dead_letters} clock={clock} again={again} />}
        {page && page.unlisted > 0 && (
          <p class="none">
            {page.unlisted.toLocaleString("en")} older ones are not listed, as there are too many. They are still on{" "}
            <code>tasks-dlq</code>.
          </p>
        )}
        {page && (filters.cursor !== "" || page.next_cursor !== null) && (
          <nav class="pages" aria-label="Pages">
            {filters.cursor !== "" && <a href={lettersAddress({ ...filters, cursor: "" })}>Newest</a>}
            {page.next_cursor !== null && <a href={lettersAddress({ ...filters, cursor: page.next_cursor })}>Older</a>}
          </nav>
        )}
      </main>
    </>
  );
}

/** The newest few, beside other things. */
export function LastLetters({ clock }: { clock: number }) {
  const { poll, again } = usePoll<LetterPage>(lettersAddress(NO_LETTER_FILTERS, LAST), LOOK_EVERY);
  const page = poll.value;
  if (!page) return null;
  return (
    <section>
      <h2>Dead letters</h2>
      {page.dead_letters.length === 0 ? (
        <p class="none">There are none: nothing has failed for good.</p>
      ) : (
        <>
          <List letters={page.dead_letters} clock={clock} again={again} />
          {page.next_cursor !== null && (
            <p class="none">
              <a href={lettersAddress()}>All dead letters</a>
            </p>
          )}
        </>
      )}
    </section>
  );
}

function List({ letters, clock, again }: { letters: Letter[]; clock: number; again: () => void }) {
  return (
    <ul class="letters" aria-label="Dead letters, the newest first">
      {letters.map((letter) => (
        <Row key={letter.id} letter={letter} clock={clock} again={again} />
      ))}
    </ul>
  );
}

function Row({ letter, clock, again }: { letter: Letter; clock: number; again: () => void }) {
  const at = Date.parse(letter.at);
  const attempts = letter.attempts === 1 ? "1 attempt" : `${letter.attempts} attempts`;
  return (
    <li>
      <span class="what">
        <span class="asked">{plain(letter.reason)}</span>
        <span class="kind">
          {letter.type !== null && (
            <a href={lettersAddress({ ...NO_LETTER_FILTERS, type: letter.type })}>{letter.type}</a>
          )}
          {letter.project !== null && (
            <a href={lettersAddress({ ...NO_LETTER_FILTERS, project: letter.project })}>{letter.project}</a>
          )}
          {letter.redrivable ? (
            <a href={taskAddress(letter.id)}>
              <code>{letter.id.slice(0, 8)}</code>
            </a>
          ) : (
            <code>{letter.id}</code>
          )}
          {letter.redrivable && <span>{attempts}</span>}
        </span>
      </span>
      <time class="when" dateTime={letter.at} title={moment(at)}>
        {ago(at, clock)}
      </time>
      <Choices letter={letter} again={again} />
    </li>
  );
}

type Doing = "idle" | "asking" | "redriving" | "purging";

function Choices({ letter, again }: { letter: Letter; again: () => void }) {
  const [doing, setDoing] = useState<Doing>("idle");
  const [wrong, setWrong] = useState<string>();
  const address = `/dead-letters/${encodeURIComponent(letter.id)}`;
  const redrive = async () => {
    setDoing("redriving");
    const answer = await call<{ task_id: string }>(`${address}/redrive`, { method: "POST" });
    if (answer.ok) return go(taskAddress(answer.value.task_id));
    setWrong(answer.failure.detail);
    setDoing("idle");
  };
  const purge = async () => {
    setDoing("purging");
    const answer = await call(address, { method: "DELETE" });
    if (!answer.ok) setWrong(answer.failure.detail);
    setDoing("idle");
    again();
  };
  return (
    <span class="choices">
      {wrong !== undefined && (
        <span class="is-wrong" role="alert">
          {wrong}
        </span>
      )}
      {letter.redriven_as !== null && (
        <a href={taskAddress(letter.redriven_as)}>
          redriven as <code>{letter.redriven_as.slice(0, 8)}</code>
        </a>
      )}
      {letter.redrivable && letter.redriven_as === null && (
        <button type="button" disabled={doing !== "idle"} onClick={redrive}>
          <Icon name="again" />
          {doing === "redriving" ? "Redriving…" : "Redrive"}
        </button>
      )}
      {doing === "asking" ? (
        <>
          <button type="button" class="danger" onClick={purge}>
            Purge for good
          </button>
          <button type="button" class="quiet" onClick={() => setDoing("idle")}>
            Keep
          </button>
        </>
      ) : (
        <button type="button" class="quiet" disabled={doing !== "idle"} onClick={() => setDoing("asking")}>
          {doing === "purging" ? "Purging…" : "Purge"}
        </button>
      )}
    </span>
  );
}
