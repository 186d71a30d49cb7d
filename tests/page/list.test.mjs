// The list of tasks: live, filtered by its address, walked through by keys, and steady while tasks arrive.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, Server, until } from "./world.mjs";

let server;
let running;
before(async () => {
  server = await Server.start("--slots", "3");
  await server.submit("fails");
  await server.submit("lines", { lines: 5 });
  running = await server.submit("silent");
  await until("all have begun", async () => {
    const { totals } = await (await fetch(`${server.url}/tasks`)).json();
    return totals.done === 1 && totals.failed === 1 && totals.running === 1;
  });
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

const rows = (page) => page.locator(".list li");

test("tasks change while they are looked at", async () => {
  const page = await openPage(server);
  const id = await server.submit("steady", { lines: 60, rate: 30, input: "change before my eyes" });
  const row = page.locator(`#task-${id}`);
  await row.getByText("Running", { exact: true }).waitFor();
  await row.getByText("change before my eyes").waitFor();
  await row.getByText(/line \d+ of 60/).waitFor();
  await row.getByText("Done", { exact: true }).waitFor();
});

test("filters stand in the address, and the back button takes them back", async () => {
  const page = await openPage(server);
  await rows(page).first().waitFor();
  const all = await rows(page).count();
  await page.getByRole("button", { name: /^Failed/ }).click();
  await until("one is shown", async () => (await rows(page).count()) === 1);
  assert.match(page.url(), /\?status=failed$/);
  await page.getByRole("button", { name: /^Running/ }).click();
  await until("two are shown", async () => (await rows(page).count()) === 2);
  await page.goBack();
  await until("one is shown", async () => (await rows(page).count()) === 1);
  await page.goBack();
  await until("all are shown", async () => (await rows(page).count()) === all);
  const other = await openPage(server, "/?status=running&q=SILENT");
  await until("one is shown", async () => (await rows(other).count()) === 1);
  assert.equal(await other.getByRole("button", { name: /^Running/ }).getAttribute("aria-pressed"), "true");
  assert.equal(await other.getByLabel("Search tasks").inputValue(), "SILENT");
  await other.getByLabel("Search tasks").fill("nothing is like this");
  await other.getByText("No task is like that").waitFor();
  await other.getByRole("link", { name: "Show all tasks" }).click();
  await until("all are shown", async () => (await rows(other).count()) === all);
  await other.getByLabel("Type").selectOption("fails");
  await until("one is shown", async () => (await rows(other).count()) === 1);
  assert.match(other.url(), /\?type=fails$/);
  await rows(other).first().click();
  await other.locator(".facts").getByRole("link", { name: "default" }).click();
  await until("all of its project are shown", async () => (await rows(other).count()) === all);
  assert.match(other.url(), /\?project=default$/);
  const wrong = await openPage(server, "/?status=lost");
  await wrong.getByText(/"lost" is not a status/).waitFor();
});

test("keys alone go through it, into a task and back", async () => {
  const page = await openPage(server);
  await rows(page).first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("silent");
  await until("one is shown", async () => (await rows(page).count()) === 1);
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.locator(`#task-${running}.is-picked`).waitFor();
  await page.keyboard.press("Enter");
  await page.locator(".row", { hasText: "ready" }).waitFor();
  await page.keyboard.press("t");
  await rows(page).nth(1).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  await page.getByRole("heading", { name: "New task" }).waitFor();
  await page.getByRole("radio", { name: /^agent/ }).focus();
  for (let step = 0; step < 20; step++) {
    if (await page.evaluate(() => document.activeElement.name === "params.input")) break;
    await page.keyboard.press("Tab");
  }
  await page.keyboard.type("by keys");
  await page.locator(".runs").getByText("agent run --input 'by keys'").waitFor();
});

test("a task is submitted, watched and stopped by keys alone", async () => {
  const page = await openPage(server);
  const focused = () => page.evaluate(() => document.activeElement?.textContent || document.activeElement?.value || "");
  const press = async (key, until) => {
    for (let step = 0; step < 40; step++) {
      if (until.test(await focused())) return;
      await page.keyboard.press(key);
    }
    throw new Error(`${until} never had the focus`);
  };
  await rows(page).first().waitFor();
  await page.keyboard.press("c");
  await page.getByRole("heading", { name: "New task" }).waitFor();
  await page.getByRole("radio").first().waitFor();
  await press("Tab", /^(on|agent)$/);
  for (let step = 0; step < 20 && !(await page.getByRole("radio", { name: /^silent/ }).isChecked()); step++)
    await page.keyboard.press("ArrowDown");
  await press("Tab", /^Submit$/);
  await page.keyboard.press("Enter");
  await page.locator(".row", { hasText: "ready" }).waitFor();
  await press("Tab", /^Stop$/);
  await page.keyboard.press("Enter");
  await page.locator(".row.is-stopped", { hasText: "STOPPED" }).waitFor();
  await page.keyboard.press("t");
  await rows(page).first().getByText("Stopped", { exact: true }).waitFor();
  assert.deepEqual(page.wrongs, []);
});

test("what is read holds its place while tasks arrive, page by page", async () => {
  for (let number = 0; number < 60; number++) await server.submit("lines", { lines: 1 });
  const page = await openPage(server);
  await until("a page is full", async () => (await rows(page).count()) === 50);
  const ids = () => rows(page).evaluateAll((rows) => rows.map((row) => row.id));
  await page.evaluate(() => scrollTo(0, 900));
  const before = await ids();
  const place = await page.locator(`[id="${before[30]}"]`).boundingBox();
  for (let number = 0; number < 3; number++) await server.submit("lines", { lines: 1 });
  await page.getByRole("button", { name: "3 new tasks" }).waitFor();
  assert.deepEqual(await ids(), before);
  assert.equal((await page.locator(`[id="${before[30]}"]`).boundingBox()).y, place.y);
  await page.getByRole("button", { name: "3 new tasks" }).click();
  await until("they are let in", async () => (await ids())[3] === before[0]);
  await page.getByRole("link", { name: "Older" }).click();
  await until("the next page", async () => !(await ids()).includes(before[0]) && (await ids()).length > 0);
  const older = await ids();
  await server.submit("lines", { lines: 1 });
  await page.waitForTimeout(1500); // long enough to be told of it, if anything were
  assert.deepEqual(await ids(), older);
  await page.goBack();
  await until("the first page", async () => (await ids()).includes(before[0]));
});
