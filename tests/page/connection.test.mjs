// A server that is killed in mid-log and comes back: every line once, in order, and people know what is going on.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, rowsOf, Server, until } from "./world.mjs";

const LINES = 300;
let server;
before(async () => {
  server = await Server.start();
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

/** All rows, read by scrolling through the log. */
async function allRows(page) {
  const seen = new Map();
  await page.keyboard.press("g");
  for (let last = -1; ; ) {
    await until("rows are known", async () => (await rowsOf(page)).every((row) => row.text !== "…"));
    for (const { position, text } of await rowsOf(page)) seen.set(position, text);
    const at = await page.locator(".view").evaluate((view) => {
      view.scrollTop += view.clientHeight / 2;
      return view.scrollTop;
    });
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    if (at === last) break;
    last = at;
  }
  return [...seen].sort(([a], [b]) => a - b);
}

test("a server that is killed and comes back costs no line and doubles none", async () => {
  const id = await server.submit("dies-once", { lines: LINES });
  const page = await openPage(server, `/tasks/${id}`);
  const list = await openPage(server);
  await list.locator(`#task-${id}`).waitFor();
  await page.locator(".row", { hasText: "waiting for the end" }).waitFor();
  await server.kill();
  for (const one of [page, list]) await one.getByText("Disconnected").waitFor();
  await page.getByText("Reconnecting").waitFor();
  await server.start();
  await page.locator(".row.is-done", { hasText: "DONE" }).waitFor();
  for (const one of [page, list]) await one.getByText("Disconnected").waitFor({ state: "detached" });
  await list.locator(`#task-${id}`).getByText("Done", { exact: true }).waitFor();

  const lines = Array.from({ length: LINES }, (_, index) => `line ${index + 1} of ${LINES}`);
  const expected = ["Starting...", "attempt 1 begins", ...lines, "waiting for the end of the world"];
  expected.push("Starting... (attempt 2)", "attempt 2 begins", ...lines, "DONE");
  const rows = await allRows(page);
  assert.deepEqual(
    rows.map(([position]) => position),
    [...expected.keys()],
  );
  assert.deepEqual(
    rows.map(([, text]) => text),
    expected,
  );

  const attempts = page.getByRole("list", { name: "Attempts" });
  await attempts.getByText("its worker was lost").waitFor();
  await attempts.getByText("Attempt 2").click();
  await page.locator(".row.is-chosen", { hasText: "Starting... (attempt 2)" }).waitFor();
  await page.keyboard.press("g");
  await page.getByRole("button", { name: "Attempt 1: fold" }).click();
  await page.locator(".row", { hasText: "attempt 1 begins" }).waitFor({ state: "detached" });
  await page.locator(".row", { hasText: "attempt 2 begins" }).waitFor();
  assert.deepEqual(page.wrongs, []);
});

test("a page that slept goes on by itself", async () => {
  const id = await server.submit("steady", { lines: 2000, rate: 100 });
  const page = await openPage(server, `/tasks/${id}`);
  // Which one is on show depends on how soon the page is there: it follows the end.
  await page.locator(".row", { hasText: "of 2000" }).first().waitFor();
  await page.context().setOffline(true);
  await page.evaluate(() => dispatchEvent(new Event("online"))); // a wake-up into no network
  await page.getByText("Disconnected").waitFor();
  await page.context().setOffline(false);
  await page.getByText("Live").waitFor();
  await page.keyboard.press("f");
  const last = async () => (await rowsOf(page)).at(-1);
  const there = await last();
  await until("lines go on", async () => (await last()).position > there.position + 50);
  for (const { position, text } of (await rowsOf(page)).slice(1)) assert.equal(text, `line ${position} of 2000`);
});
