// Buttons that copy a text, and say that they did, or why not.

import { useState } from "preact/hooks";
import { write } from "../shell/copy";
import { Icon, type IconName } from "./icon";

/** How long it is said, in milliseconds. */
const SAID_FOR = 1500;

function useCopy(text: string): { copy: () => void; icon: IconName; said: string } {
  const [said, setSaid] = useState("");
  const copy = async () => {
    const why = await write(text);
    setSaid(why === undefined ? "Copied" : `Not copied: ${why}`);
    setTimeout(() => setSaid(""), why === undefined ? SAID_FOR : 4 * SAID_FOR);
  };
  return { copy, icon: said === "Copied" ? "check" : said === "" ? "copy" : "warning", said };
}

/** A text that is copied when it is clicked. */
export function CopyText({ text }: { text: string }) {
  const { copy, icon, said } = useCopy(text);
  return (
    <button type="button" class="copy" onClick={copy} title={said || "Copy"} aria-label={said || `Copy ${text}`}>
      <code>{text}</code>
      <Icon name={icon} />
    </button>
  );
}

/** A button beside what it copies. */
export function CopyButton({ text, what }: { text: string; what: string }) {
  const { copy, icon, said } = useCopy(text);
  const name = said || `Copy ${what}`;
  return (
    <button type="button" class="quiet square" onClick={copy} title={name} aria-label={name}>
      <Icon name={icon} />
    </button>
  );
}
