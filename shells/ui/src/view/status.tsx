// The state of a task, as an icon and a word.

import type { Status } from "../core/api";
import { Icon, type IconName } from "./icon";

const LOOKS: Record<Status, { word: string; icon: IconName }> = {
  queued: { word: "Queued", icon: "queued" },
  running: { word: "Running", icon: "running" },
  retrying: { word: "Retrying", icon: "retrying" },
  stopping: { word: "Stopping", icon: "stop" },
  done: { word: "Done", icon: "check" },
  stopped: { word: "Stopped", icon: "stop" },
  failed: { word: "Failed", icon: "x" },
};

export function wordOf(status: string): string {
  return status in LOOKS ? LOOKS[status as Status].word : status;
}

export function StatusMark({ status }: { status: Status }) {
  const { word, icon } = LOOKS[status];
  return (
    <span class={`status is-${status}`}>
      <Icon name={icon} turns={status === "running"} />
      {word}
    </span>
  );
}
