// For whom the page must work: with a screen reader, in the dark, on a phone; and what it must not load.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, Server, until } from "./world.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Where to put pictures of what was seen, if anywhere. */
const PICTURES = process.env.PICTURES;

let server;
let tasks;
before(async () => {
  server = await Server.start("--slots", "5", "--grace", "10m");
  const [done, failed] = [await server.submit("colours"), await server.submit("fails")];
  const input = "Analyze all MB attributes for Q1, and say which of them miss their targets";
  const running = await server.submit("steady", { lines: 100_000, rate: 30, input });
  const stopping = await server.submit("stubborn");
  await server.reaches(done, "done");
  await server.reaches(failed, "failed");
  // Before that it would heed SIGTERM.
  await until("it is stubborn", async () => (await server.task(stopping)).last_update === "ready");
  await fetch(`${server.url}/tasks/${stopping}`, { method: "DELETE" });
  const [told, result, events] = [await server.told(), await server.told(), await server.submit("events")];
  told.say("the sheet is open");
  told.tell({ progress: 0.42, status: "Compares the attributes of sheet 3 with their targets", cost_usd: 0.1234 });
  told.tell({ tokens: { input: 123_456, output: 5_678 } });
  const misses = Array.from({ length: 12 }, (_, row) => ({ attribute: `MB-${row}`, target: 0.9, is: 0.81 }));
  result.tell({ progress: 1, cost_usd: 1.5, tokens: { input: 1000, output: 50 }, result: { misses } });
  result.say("end");
  await server.reaches(result.id, "done");
  await server.reaches(events, "done");
  await until("it is told", async () => (await server.task(told.id)).report?.tokens);
  await server.submit("silent");
  await server.submit("silent");
  await server.submit("lines", { lines: 3 });
  tasks = { done, failed, running, stopping, told: told.id, result: result.id, events };
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

const VIEWS = {
  list: ["/", ".list li:nth-child(7)"],
  "list-of-none": ["/?q=nothing-is-like-this", ".none"],
  new: ["/new", ".runs pre"],
  cluster: ["/cluster", ".cluster .letters li"],
  letters: ["/dead-letters", ".letters li"],
  running: ["running", ".row:nth-child(5)"],
  told: ["told", ".told progress"],
  result: ["result", ".result pre"],
  events: ["events#L3", ".row.is-done"],
  done: ["done", ".row.is-done"],
  chosen: ["done#L4-L6", ".row.is-chosen"],
  failed: ["failed", ".problem"],
  stopping: ["stopping", ".is-asked"],
};

const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "dark", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  narrow: { colorScheme: "light", viewport: { width: 320, height: 640 }, isMobile: true },
};

async function openView(name, look) {
  const [where, there] = VIEWS[name];
  const [task, hash] = where.split("#");
  const path = where.startsWith("/") ? where : `/tasks/${tasks[task]}${hash ? `#${hash}` : ""}`;
  const page = await openPage(server, path, { reducedMotion: "reduce", ...look });
  await page.locator(there).first().waitFor();
  return page;
}

for (const [look, options] of Object.entries(LOOKS)) {
  test(`${look}: no view breaks the rules of accessibility, or its width`, async () => {
    for (const name of Object.keys(VIEWS)) {
      const page = await openView(name, options);
      const { violations } = await page.evaluate(`${AXE}; axe.run({ resultTypes: ["violations"] })`);
      const said = violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n")}`,
      );
      assert.deepEqual(said, [], name);
      const wide = await page
        .locator("html, .head, .about, .bar, .tasks, .new, .cluster")
        .evaluateAll((elements) =>
          elements.filter((element) => element.scrollWidth > element.clientWidth).map((element) => element.className),
        );
      assert.deepEqual(wide, [], `too wide in ${name}`);
      if (PICTURES) {
        mkdirSync(PICTURES, { recursive: true });
        await page.screenshot({ path: join(PICTURES, `${name}-${look}.png`) });
      }
      assert.deepEqual(page.wrongs, [], name);
      await page.context().close();
    }
  });
}

test("a choice of colours holds, and is the reader's", async () => {
  const page = await openView("list", LOOKS.light);
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await ground();
  const theme = page.getByRole("button", { name: /^Colours/ });
  await theme.click();
  await theme.click();
  assert.notEqual(await ground(), light);
  await page.reload();
  assert.notEqual(await ground(), light);
});

test("nothing comes from elsewhere, names that change are kept for ever, and the page is not", async () => {
  const page = await openPage(server, "/healthz");
  const loaded = [];
  page.on("response", (response) => loaded.push(response));
  await page.goto(`${server.url}/`);
  await page.locator(".list").waitFor();
  assert.ok(loaded.length >= 3);
  for (const response of loaded) {
    const { origin, pathname } = new URL(response.url());
    assert.equal(origin, server.url);
    const headers = response.headers();
    const isAsset = pathname.startsWith("/assets/");
    assert.equal(headers["cache-control"], isAsset ? "public, max-age=31536000, immutable" : "no-store", pathname);
    if (/\.(js|css)$/.test(pathname)) assert.equal(headers["content-encoding"], "gzip", pathname);
    if (pathname === "/") {
      assert.match(headers["content-security-policy"], /default-src 'none'; script-src 'self'; style-src 'self'/);
      assert.doesNotMatch(headers["content-security-policy"], /unsafe/);
    }
  }
});

test("nothing jumps while a task goes on", async () => {
  const page = await openView("running", LOOKS.light);
  const shift = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const moved = [];
        new PerformanceObserver((list) => {
          for (const { value, sources } of list.getEntries()) {
            // A log that goes on moves its lines up: that is no jump.
            const jumped = sources.filter(({ node }) => node && !node.parentElement?.closest(".view"));
            if (jumped.length > 0)
              moved.push({ value, what: jumped.map(({ node }) => node.className ?? node.nodeName) });
          }
        }).observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve(moved), 2500);
      }),
  );
  const sum = shift.reduce((sum, { value }) => sum + value, 0);
  assert.ok(sum < 0.02, JSON.stringify(shift));
});
