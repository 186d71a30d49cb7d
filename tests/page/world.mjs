// What the tests stand on: a real `baton dev` that can be killed and started again, and a real Chromium.
// It must leave no process and no file behind.

import { spawn, spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const HERE = import.meta.dirname;

/** How long a condition may take on a busy machine, in milliseconds. */
export const SOON = 20_000;

function binary() {
  const path = process.env.BATON_BIN;
  if (!path || !existsSync(path))
    throw new Error("BATON_BIN must name the baton binary: run these tests by `./just page-test`");
  return path;
}

function browserPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    const found = spawnSync("which", [name], { encoding: "utf8" });
    if (found.status === 0) return found.stdout.trim();
  }
  throw new Error("there is no Chromium: install Debian's package chromium, or name one in CHROMIUM");
}

const AGENT = ["--agent", `python3 ${join(HERE, "agent.py")}`, "--projects", join(HERE, "projects.json")];
const TYPES = ["--types", join(HERE, "types.toml")];

/** One process of Baton with a directory of its own: as a rule `baton dev`. */
export class Server {
  #child;
  #data = mkdtempSync(join(tmpdir(), "baton-page-"));
  #arguments;
  #tellers = 0;
  address = "127.0.0.1:0";

  static async start(...options) {
    return Server.of((server) => {
      const own = ["--listen", server.address, "--data", server.#data, "--max-line", "1MiB"];
      return ["dev", ...own, ...AGENT, ...TYPES, ...options];
    });
  }

  /** An API on the Kafka that the environment names, with topics of this prefix. */
  static async api(prefix) {
    return Server.of((server) => ["api", "--listen", server.address, ...TYPES, ...onKafka(prefix)]);
  }

  /** A worker on the same. */
  static async worker(prefix) {
    return Server.of((server) => {
      const own = ["--health", server.address, "--runs", server.#data, "--slots", "2"];
      return ["worker", ...own, ...AGENT, ...TYPES, ...onKafka(prefix)];
    });
  }

  static async of(arguments_) {
    const server = new Server();
    server.#arguments = () => arguments_(server);
    await server.start();
    await until("the server is ready", async () => (await fetch(`${server.url}/readyz`)).ok);
    return server;
  }

  get url() {
    return `http://${this.address}`;
  }

  /** How long its process has had a processor, in milliseconds; agents are other processes. */
  cpu() {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10; // ticks of 10 ms, wherever Linux runs
  }

  async start() {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("BATON_")));
    this.#child = spawn(binary(), [...this.#arguments(), "--log-format", "json"], {
      env,
      cwd: this.#data,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const child = this.#child;
    process.once("exit", () => child.kill("SIGKILL")); // whatever went wrong before
    const said = [];
    const bound = new Promise((resolve, reject) => {
      createInterface({ input: this.#child.stderr }).on("line", (line) => {
        said.push(line);
        const found = /"(?:address|health)":"([^"]+)"/.exec(line);
        if (found) resolve(found[1]);
      });
      this.#child.once("exit", () => reject(new Error(`baton ended:\n${said.join("\n")}`)));
    });
    bound.catch(() => {});
    this.address = await bound;
  }

  /** SIGKILL: what a crash does. */
  async kill() {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }

  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
    rmSync(this.#data, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  /** Submits a task, and gives its id. */
  async submit(type, params = {}) {
    const answer = await fetch(`${this.url}/tasks`, {
      method: "POST",
      body: JSON.stringify({ project: "default", type, params }),
    });
    if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
    return (await answer.json()).task_id;
  }

  /** Submits a task whose agent says what it is told to: lines, or reports of its work. The line "end" ends it. */
  async told() {
    const path = join(this.#data, `told-${this.#tellers++}`);
    writeFileSync(path, "");
    const say = (line) => appendFileSync(path, `${line}\n`);
    const id = await this.submit("told", { input: path });
    return { id, say, tell: (report) => say(JSON.stringify({ baton: report })) };
  }

  async task(id) {
    return (await fetch(`${this.url}/tasks/${id}`)).json();
  }

  /** Waits until the task is in one of these states. */
  async reaches(id, ...states) {
    return until(`${id} is ${states.join(" or ")}`, async () => {
      const task = await this.task(id);
      return states.includes(task.status) ? task : undefined;
    });
  }
}

function onKafka(prefix) {
  const kafka = process.env.BATON_TEST_KAFKA;
  if (!kafka) throw new Error("BATON_TEST_KAFKA must name a Kafka: run these tests by `./just page-test`");
  return ["--kafka", kafka, "--topic-prefix", prefix, "--partitions", "4"];
}

/** Waits until the condition gives something. */
export async function until(what, condition, within = SOON) {
  const end = Date.now() + within;
  let last;
  while (Date.now() < end) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`${what}: did not come true; last: ${last instanceof Error ? last.stack : JSON.stringify(last)}`);
}

let browser;

export async function openBrowser() {
  browser ??= await chromium.launch({
    executablePath: browserPath(),
    // Root has no user namespaces in many containers; the pages are our own.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--enable-precise-memory-info", "--js-flags=--expose-gc"],
  });
  return browser;
}

export async function closeBrowser() {
  await browser?.close();
  browser = undefined;
}

/** A page in a context of its own. What goes wrong in it is kept in `page.wrongs`. */
export async function openPage(server, path = "/", options = {}) {
  const context = await (await openBrowser()).newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(SOON);
  const page = await context.newPage();
  page.wrongs = [];
  page.on("pageerror", (error) => page.wrongs.push(String(error)));
  page.on("console", (message) => {
    if (/Content Security Policy|TrustedHTML|TrustedScript/.test(message.text())) page.wrongs.push(message.text());
  });
  await page.goto(server.url + path);
  return page;
}

/** The rows of the log that are drawn: their positions and texts. */
export function rowsOf(page) {
  return page.locator(".row").evaluateAll((rows) =>
    rows.map((row) => ({
      position: Number(row.dataset.position),
      text: row.querySelector(".text")?.textContent ?? "",
    })),
  );
}
