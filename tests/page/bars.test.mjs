// Lines that are written over and over until they are over: one row each, whose number and links hold.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, rowsOf, Server, until } from "./world.mjs";

const LINES = 1_000_000;
let server;
let long;
before(async () => {
  server = await Server.start("--slots", "2");
  long = await server.submit("bars", { lines: LINES });
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

const bar = (page, name) => page.locator(".row", { hasText: `${name} bar` });

/** Each row that is drawn has the number and the text that the server has for it. */
async function rowsAreTrue(page, id) {
  const rows = await rowsOf(page);
  const [first, last] = [rows[0].position, rows.at(-1).position];
  const address = `${server.url}/tasks/${id}/updates?from=${first}&limit=${last - first + 1}`;
  const { updates } = await (await fetch(address)).json();
  for (const { position, text } of rows) {
    assert.equal(text, updates[position - first].update.split("\r").at(-1), `line ${position + 1}`);
  }
}

test("a bar is one row, which changes in its place until it is over", async () => {
  const id = await server.submit("bars", { lines: 5 });
  const page = await openPage(server, `/tasks/${id}`);
  await bar(page, "first").waitFor();
  const seen = await bar(page, "first").evaluate(
    () =>
      new Promise((resolve) => {
        const seen = [];
        const look = () => {
          const bars = [...document.querySelectorAll(".row")].filter((row) => row.textContent.includes("first bar"));
          const places = bars.map((row) => row.getBoundingClientRect().y);
          const texts = bars.map((row) => row.querySelector(".text").textContent);
          if (seen.at(-1)?.texts.join() !== texts.join()) seen.push({ texts, places });
          if (texts.includes("first bar 100 %")) resolve(seen);
          else requestAnimationFrame(look);
        };
        look();
      }),
  );
  assert.ok(seen.length >= 4, JSON.stringify(seen));
  for (const { texts, places } of seen) {
    assert.equal(texts.length, 1, JSON.stringify(seen));
    assert.deepEqual(places, seen[0].places);
  }
  await page.locator(".row.is-done").waitFor();
  const rows = (await rowsOf(page)).map(({ text }) => text);
  const lines = Array.from(
    { length: 5 },
    (_, index) => `line ${index + 1} of 5: the quick brown fox jumps over the lazy dog${index === 1 ? " needle" : ""}`,
  );
  assert.deepEqual(rows, ["Starting...", "before", "first bar 100 %", ...lines, "second bar 100 %", "after", "DONE"]);
  await rowsAreTrue(page, id);

  // A link that was made while the bar went on leads to it; and what it showed then is neither found nor copied.
  const linked = await openPage(server, `/tasks/${id}#L4`, { permissions: ["clipboard-read", "clipboard-write"] });
  await linked.locator(".row.is-chosen", { hasText: "first bar 100 %" }).waitFor();
  assert.equal(await linked.locator(".row.is-chosen").count(), 1);
  await linked.getByLabel("Search the log").fill("needle");
  await linked.getByLabel("Matches").getByText("1 of 1").waitFor();
  await linked.getByLabel("Search the log").fill("");
  const last = await bar(linked, "first").getAttribute("data-position");
  await linked.getByRole("link", { name: "Line 2", exact: true }).click();
  const theBar = linked.getByRole("link", { name: `Line ${Number(last) + 1}`, exact: true });
  await theBar.click({ modifiers: ["Shift"] });
  await linked.getByRole("button", { name: "Copy", exact: true }).click();
  await until("it is copied", async () => {
    return (await linked.evaluate(() => navigator.clipboard.readText())) === "before\nfirst bar 100 %\n";
  });
  assert.deepEqual([page.wrongs, linked.wrongs], [[], []]);
});

test("bars at both ends of a million lines", async () => {
  await until("all is written", async () => (await server.task(long)).status === "done", 100_000);
  const page = await openPage(server, `/tasks/${long}`);
  await page.locator(".row.is-done").waitFor();
  assert.equal(await bar(page, "second").count(), 1);
  await rowsAreTrue(page, long);
  await page.getByLabel("Search the log").fill(`line ${LINES / 2} of`);
  await page.getByLabel("Matches").getByText("1 of 1").waitFor();
  const found = page.locator(".row.is-current", { hasText: `line ${LINES / 2} of` });
  await found.waitFor();
  await until("all is known", async () => (await rowsOf(page)).every(({ text }) => text !== "…"));
  await rowsAreTrue(page, long);
  const number = Number(await found.getAttribute("data-position")) + 1;
  const linked = await openPage(server, `/tasks/${long}#L${number}`);
  await linked.locator(".row.is-chosen", { hasText: `line ${LINES / 2} of` }).waitFor();
  // Its beginning becomes known only now: the bar there shrinks to a row.
  await linked.keyboard.press("g");
  await linked.locator(".row.is-started").waitFor();
  await until("all is known", async () => (await rowsOf(linked)).every(({ text }) => text !== "…"));
  assert.deepEqual(
    (await rowsOf(linked)).slice(1, 4).map(({ text }) => text.slice(0, 15)),
    ["before", "first bar 100 %", "line 1 of 10000"],
  );
  await rowsAreTrue(linked, long);
  await linked.keyboard.press("G");
  await linked.locator(".row.is-done").waitFor();
  await rowsAreTrue(linked, long);
  assert.deepEqual([page.wrongs, linked.wrongs], [[], []]);
});
