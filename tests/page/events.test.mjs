// JSON lines as events that can be read, with what was written never more than a click or a key away.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, Server, until } from "./world.mjs";

let server;
let id;
before(async () => {
  server = await Server.start();
  id = await server.submit("events");
  await server.reaches(id, "done");
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

const row = (page, position) => page.locator(`.row[data-position="${position}"]`);

test("what agents say, do, get and end with is told in words", async () => {
  const page = await openPage(server, `/tasks/${id}`);
  await page.locator(".row.is-done").waitFor();
  const shown = await page.locator(".event").evaluateAll((events) =>
    events.map((event) => {
      const parts = [...event.children].map((part) => part.textContent);
      return parts.join(" ");
    }),
  );
  assert.deepEqual(shown, [
    "session example-1 in/work tools2",
    "assistant I will look at the sheet first. Then at its *rows*.",
    "Bash ls -l timeout60",
    "output total 3 and 2 lines",
    "error output no sheet is called 'Q7'",
    "thinking There may be another sheet.",
    "output 412 rows and a line commandpython3 check.py exit code0",
    "info sheet read rows412 tabMB Attributes",
    "warn a value is missing cellE9",
    "error could not convert valuen/a row17",
    "result All 412 attributes are in order. cost$0.0123 turns4",
  ]);
  assert.deepEqual(page.wrongs, []);
});

test("the raw form is a click away, or a key", async () => {
  const page = await openPage(server, `/tasks/${id}#L3`);
  const said = row(page, 2);
  await page.locator(".row.is-chosen").waitFor();
  await page.keyboard.press("o");
  assert.equal(await said.locator(".whole").textContent(), "I will look at the sheet first.\n\nThen at its *rows*.");
  assert.match(await said.locator(".raw").textContent(), /^\{\n {2}"type": "assistant",/);
  await page.keyboard.press("o");
  await said.locator(".raw").waitFor({ state: "detached" });
  const output = row(page, 4);
  await output.getByRole("button", { name: "Line 5: show the raw JSON" }).press("Enter");
  assert.equal(await output.locator(".whole").textContent(), "total 3\nreport.xlsx\nnotes.md");
  await page.keyboard.press("e");
  assert.match(await row(page, 10).locator(".text").textContent(), /^\{"level": "error", "msg": "could not convert"/);
  assert.equal(await page.locator(".event").count(), 0);
  await page.keyboard.press("e");
  await page.locator(".event").first().waitFor();
});

test("what is searched and copied is what was written", async () => {
  const page = await openPage(server, `/tasks/${id}`, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.getByLabel("Search the log").fill("NEEDLE-7");
  await page.getByLabel("Matches").getByText("1 of 1").waitFor();
  await row(page, 2).locator("mark", { hasText: "needle-7" }).waitFor();
  await page.getByLabel("Search the log").fill("");
  await page.getByRole("link", { name: "Line 3", exact: true }).click();
  await page.getByRole("button", { name: "Copy", exact: true }).click();
  await page.getByText("Copied").waitFor();
  const { updates } = await (await fetch(`${server.url}/tasks/${id}/updates?from=2&limit=1`)).json();
  await until("it is copied", async () => {
    const text = await page.evaluate(() => navigator.clipboard.readText());
    return text === `${updates[0].update}\n`;
  });
});
