// What an agent says of its own work: how far it is, what it costs, and what came of it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, Server, until } from "./world.mjs";

const HARM = "<img src=x onerror=\"document.title='owned'\"> \u202egnp.exe";

let server;
before(async () => {
  server = await Server.start("--slots", "3");
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

/** A page whose server says besides what `reports` has of a task: anew with each answer and each update. */
async function openTold(path, reports) {
  const page = await openPage(server, "/healthz", { permissions: ["clipboard-read", "clipboard-write"] });
  await page.route(/\/tasks(\/[^/]+|\?.*)?$/, async (route) => {
    if (route.request().resourceType() === "document") return route.continue();
    const { "if-none-match": _, ...asked } = route.request().headers();
    const response = await route.fetch({ headers: asked });
    if (response.status() !== 200) return route.fulfill({ response });
    const json = await response.json();
    for (const task of json.tasks ?? [json]) {
      const { result, ...rest } = reports(task.task_id) ?? {};
      const told = json.tasks || result === undefined ? rest : { ...rest, result };
      if (Object.keys(told).length > 0) task.report = told;
    }
    const { etag, ...headers } = response.headers();
    return route.fulfill({ response, json, headers });
  });
  await page.routeWebSocket(/\/watch/, (socket) => {
    const upstream = socket.connectToServer();
    upstream.onMessage((text) => {
      const id = socket.url().split("/").at(-2);
      const [frame, told] = [JSON.parse(text), reports(id)];
      socket.send(JSON.stringify(told ? { ...frame, report: told } : frame));
    });
  });
  await page.goto(server.url + path);
  return page;
}

test("progress, cost and tokens are shown as they are said, and nothing moves for it", async () => {
  const id = await server.submit("steady", { lines: 100_000, rate: 20 });
  let told;
  const page = await openTold(`/tasks/${id}`, () => told);
  await page.locator(".row").nth(3).waitFor();
  const bar = page.getByRole("progressbar", { name: "Progress" });
  assert.equal(await bar.count(), 0);
  const places = () =>
    page.locator(".facts, .log > .bar, .view").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().y));
  const before = await places();
  told = { progress: 0.429, status: `Reads ${HARM}`, cost_usd: 0.12, tokens: { input: 1234, output: 56 } };
  await page.getByText("42 %").waitFor();
  assert.equal(await bar.evaluate((bar) => bar.value), 0.429);
  await page.getByText("Reads <img src=x onerror=\"document.title='owned'\"> ‹U+202E›gnp.exe").waitFor();
  await page.getByText("Cost: $0.12").waitFor();
  await page.getByText("Tokens: 1,234 in, 56 out").waitFor();
  assert.deepEqual(await places(), before);
  told = { ...told, progress: 0.8 };
  await page.getByText("80 %").waitFor();
  await fetch(`${server.url}/tasks/${id}`, { method: "DELETE" });
  await page.locator(".row.is-stopped").waitFor();
  assert.equal(await page.locator(".result").count(), 0);
  assert.deepEqual(page.wrongs, []);
});

test("the list shows how far tasks are, and what they do", async () => {
  const id = await server.submit("silent");
  const page = await openTold("/", (task) => (task === id ? { progress: 0.5, status: HARM, cost_usd: 3 } : undefined));
  const row = page.locator(`#task-${id}`);
  await row.getByText("50 % <img").waitFor();
  await row.getByText("$3.00").waitFor();
  assert.equal(await row.getByRole("progressbar", { name: "Progress" }).evaluate((bar) => bar.value), 0.5);
  assert.equal(await page.getByRole("progressbar").count(), 1);
  await fetch(`${server.url}/tasks/${id}`, { method: "DELETE" });
  await row.getByText("STOPPED", { exact: true }).waitFor();
  await until("its bar is gone", async () => (await page.getByRole("progressbar").count()) === 0);
  assert.deepEqual(page.wrongs, []);
});

test("a result is text, its long form a click away, and copied whole", async () => {
  const id = await server.submit("lines", { lines: 3 });
  await server.reaches(id, "done");
  const result = { says: HARM, rows: Array.from({ length: 40 }, (_, row) => row) };
  const page = await openTold(`/tasks/${id}`, () => ({ result }));
  const region = page.getByRole("region", { name: "Result" });
  await region.getByText("JSON, 45 lines").waitFor();
  assert.ok(!(await region.locator("pre").textContent()).includes("39"));
  await region.getByRole("button", { name: "Show all of it" }).click();
  assert.ok((await region.locator("pre").textContent()).includes("‹U+202E›gnp.exe"));
  assert.ok((await region.locator("pre").textContent()).includes("39\n  ]"));
  await region.getByRole("button", { name: "Copy the result" }).click();
  await region.getByRole("button", { name: "Copied" }).waitFor();
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), result);
  assert.equal(await region.locator("img").count(), 0);
  assert.ok(await page.locator(".row.is-done").isVisible());
  const text = await openTold(`/tasks/${id}`, () => ({ result: "All is **well**.\nReally." }));
  await text.getByText("text, 2 lines").waitFor();
  assert.equal(await text.locator(".result pre").textContent(), "All is **well**.\nReally.");
  assert.deepEqual([page.wrongs, text.wrongs], [[], []]);
});
