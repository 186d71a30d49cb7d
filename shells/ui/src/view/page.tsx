// The frame of the page: its head, what the address asks for, and help. Whatever breaks while drawing is said in words.

import { Component, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { readRoute } from "../core/route";
import { go, useAddress, useKeys } from "../shell/hooks";
import { readSettings, type Settings, writeSettings } from "../shell/settings";
import { ClusterView } from "./cluster";
import { Icon, type IconName } from "./icon";
import { Letters } from "./letters";
import { NewTask } from "./new";
import { TaskView } from "./task";
import { Tasks } from "./tasks";

const THEMES: Record<Settings["theme"], { next: Settings["theme"]; icon: IconName; says: string }> = {
  auto: { next: "light", icon: "auto", says: "Colours: as the system" },
  light: { next: "dark", icon: "sun", says: "Colours: light" },
  dark: { next: "auto", icon: "moon", says: "Colours: dark" },
};

export function Page() {
  const route = readRoute(useAddress());
  const [settings, setSettings] = useState(readSettings);
  const [helping, setHelping] = useState(false);
  const choose = (change: Partial<Settings>) => {
    const chosen = { ...settings, ...change };
    writeSettings(chosen);
    setSettings(chosen);
  };
  useKeys((key) => {
    if (key === "?") setHelping(true);
    else if (key === "c") go("/new");
    else if (key === "t" && route.name !== "tasks") go("/");
    else return false;
    return true;
  });
  const theme = THEMES[settings.theme];
  return (
    <>
      <header class="head">
        <a class="brand" href="/" aria-label="Baton: all tasks">
          <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
            <path d="M8 24 21 11" />
            <circle cx="24" cy="8" r="3" />
          </svg>
          Baton
        </a>
        <nav aria-label="Main">
          <a href="/" aria-current={route.name === "tasks" ? "page" : undefined}>
            Tasks
          </a>
          <a href="/cluster" aria-current={route.name === "cluster" ? "page" : undefined}>
            Cluster
          </a>
          <a href="/dead-letters" aria-current={route.name === "letters" ? "page" : undefined}>
            <span class="long">Dead </span>letters
          </a>
        </nav>
        <span class="fill" />
        <button
          type="button"
          class="quiet square"
          title={theme.says}
          aria-label={`${theme.says}. Change`}
          onClick={() => choose({ theme: theme.next })}
        >
          <Icon name={theme.icon} />
        </button>
        <button
          type="button"
          class="quiet square keys"
          title="Keys (?)"
          aria-label="Keys"
          onClick={() => setHelping(true)}
        >
          <Icon name="help" />
        </button>
        <a class="button main" href="/new" title="New task (c)">
          <Icon name="plus" />
          <span>New task</span>
        </a>
      </header>
      <Catch key={route.name}>
        {route.name === "tasks" && <Tasks filters={route.filters} />}
        {route.name === "new" && <NewTask key={route.from} from={route.from} />}
        {route.name === "task" && (
          <TaskView key={route.id} id={route.id} lines={route.lines} settings={settings} choose={choose} />
        )}
        {route.name === "cluster" && <ClusterView />}
        {route.name === "letters" && <Letters filters={route.filters} />}
        {route.name === "nowhere" && (
          <main class="note">
            <h1>There is nothing here</h1>
            <p>
              Nothing is shown at <code>{route.path}</code>. <a href="/">All tasks</a>
            </p>
          </main>
        )}
      </Catch>
      {helping && <Help close={() => setHelping(false)} />}
    </>
  );
}

class Catch extends Component<{ children: ComponentChildren }, { broken?: unknown }> {
  static override getDerivedStateFromError(broken: unknown) {
    return { broken };
  }

  override render() {
    if (this.state.broken === undefined) return this.props.children;
    return (
      <main class="note">
        <h1>The page broke</h1>
        <p>Your tasks are not affected. Load the page again; if it breaks again, this is what to report:</p>
        <pre>{String(this.state.broken)}</pre>
        <button type="button" onClick={() => location.reload()}>
          Load again
        </button>
      </main>
    );
  }
}

const KEYS: [string, [string, string][]][] = [
  [
    "Everywhere",
    [
      ["c", "New task"],
      ["t", "All tasks"],
      ["/", "Search"],
      ["?", "This help"],
    ],
  ],
  [
    "Tasks",
    [
      ["j  k", "Next and previous"],
      ["Enter", "Open"],
      ["Esc", "Let go, and let new tasks in"],
    ],
  ],
  [
    "Log",
    [
      ["n  N", "Next and previous match"],
      ["f", "Follow the end"],
      ["g  G", "First and last line"],
      ["w", "Wrap lines"],
      ["s", "Change timestamps"],
      ["e", "JSON as events, or as it was written"],
      ["o", "Open the chosen line, and close it"],
      ["Esc", "End the search, choose no lines"],
    ],
  ],
];

function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="help" onClose={close} aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      {KEYS.map(([where, keys]) => (
        <section key={where}>
          <h3>{where}</h3>
          <dl>
            {keys.map(([key, does]) => (
              <div key={key}>
                <dt>
                  {key.split("  ").map((one) => (
                    <kbd key={one}>{one}</kbd>
                  ))}
                </dt>
                <dd>{does}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}
