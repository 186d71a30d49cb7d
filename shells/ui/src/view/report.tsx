// What an agent says of its own work: how far it is, what it costs, and its result. All of it is drawn as text.

import { useState } from "preact/hooks";
import { money, percent, progressOf, type Report, tokens, viewOf } from "../core/report";
import { plain, plainLines } from "../core/text";
import { CopyButton } from "./copy";

/** From 0 to 1. */
export function Progress({ progress }: { progress: number }) {
  return <progress aria-label="Progress" value={progress} aria-valuetext={percent(progress)} />;
}

interface ToldProps {
  report: Report | undefined;
  /** Its place is kept, so that nothing moves when the first word comes. */
  hasRoom: boolean;
  isDone: boolean;
}

/** How far it is, in one line; on phones in two. */
export function Told({ report, hasRoom, isDone }: ToldProps) {
  const progress = isDone ? undefined : progressOf(report);
  const status = plain(report?.status ?? "");
  const spent = report && tokens(report);
  return (
    <div class={hasRoom ? "told has-room" : "told"}>
      {progress !== undefined && <Progress progress={progress} />}
      {progress !== undefined && <b>{percent(progress)}</b>}
      {status !== "" && (
        <span class="doing" title={status}>
          {status}
        </span>
      )}
      {report?.cost_usd !== undefined && (
        <span class="cost">
          <span class="unseen">Cost: </span>
          {money(report.cost_usd)}
        </span>
      )}
      {spent && (
        <span class="tokens">
          <span class="long">Tokens: </span>
          {spent}
        </span>
      )}
    </div>
  );
}

/** What came of it. */
export function Result({ result }: { result: unknown }) {
  const [opened, setOpened] = useState(false);
  const { kind, whole, lines, beginning } = viewOf(result);
  const isFolded = beginning !== undefined && !opened;
  return (
    <section class={opened ? "result is-open" : "result"} aria-label="Result">
      <div class="bar">
        <h2>Result</h2>
        <span class="faint">
          {kind}
          {lines > 1 && `, ${lines.toLocaleString("en")} lines`}
        </span>
        <span class="fill" />
        {beginning !== undefined && (
          <button type="button" class="quiet" aria-expanded={opened} onClick={() => setOpened(!opened)}>
            {opened ? "Show less" : "Show all of it"}
          </button>
        )}
        <CopyButton text={whole} what="the result" />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys */}
      <pre tabIndex={0}>
        {plainLines(isFolded ? beginning : whole)}
        {isFolded && "\n…"}
      </pre>
    </section>
  );
}
