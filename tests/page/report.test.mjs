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

test("progress, cost and tokens are shown as they are said, and nothing moves for it", async () => {
  const { id, tell, say } = await server.told();
  const page = await openPage(server, `/tasks/${id}`);
  say("begins");
  await page.locator(".row", { hasText: "begins" }).waitFor();
  const bar = page.getByRole("progressbar", { name: "Progress" });
  assert.equal(await bar.count(), 0);
  const places = () =>
    page.locator(".facts, .log > .bar, .view").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().y));
  const before = await places();
  tell({ progress: 0.429, status: `Reads ${HARM}`, cost_usd: 0.12, tokens: { input: 1234, output: 56 } });
  const line = page.locator(".told");
  await line.getByText("42 %").waitFor();
  assert.equal(await bar.evaluate((bar) => bar.value), 0.429);
  await line.getByText("Reads <img src=x onerror=\"document.title='owned'\"> ‹U+202E›gnp.exe").waitFor();
  await line.getByText("Cost: $0.12").waitFor();
  await line.getByText("Tokens: 1,234 in, 56 out").waitFor();
  assert.deepEqual(await places(), before);
  tell({ progress: 0.8 });
  await line.getByText("80 %").waitFor();
  // Who comes late is told the same.
  const late = await openPage(server, `/tasks/${id}`);
  await late.locator(".told").getByText("80 %").waitFor();
  await late.locator(".told").getByText("Cost: $0.12").waitFor();
  await fetch(`${server.url}/tasks/${id}`, { method: "DELETE" });
  await page.locator(".row.is-stopped").waitFor();
  assert.equal(await page.locator(".result").count(), 0);
  assert.deepEqual([page.wrongs, late.wrongs], [[], []]);
});

test("the list shows how far tasks are, and what they do", async () => {
  const { id, tell } = await server.told();
  tell({ progress: 0.5, status: HARM, cost_usd: 3 });
  const page = await openPage(server);
  const row = page.locator(`#task-${id}`);
  await row.getByText("50 % <img").waitFor();
  await row.getByText("$3.00").waitFor();
  assert.equal(await row.getByRole("progressbar", { name: "Progress" }).evaluate((bar) => bar.value), 0.5);
  await fetch(`${server.url}/tasks/${id}`, { method: "DELETE" });
  await row.getByText("STOPPED", { exact: true }).waitFor();
  await until("its bar is gone", async () => (await row.getByRole("progressbar").count()) === 0);
  assert.deepEqual(page.wrongs, []);
});

test("a result is text, its long form a click away, and copied whole", async () => {
  const { id, tell, say } = await server.told();
  const result = { says: HARM, rows: Array.from({ length: 40 }, (_, row) => row) };
  const page = await openPage(server, `/tasks/${id}`, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.locator(".row").first().waitFor();
  tell({ result });
  const region = page.getByRole("region", { name: "Result" });
  await region.getByText("JSON, 45 lines").waitFor();
  tell({ status: "ends" });
  say("end");
  await page.locator(".row.is-done").waitFor();
  assert.ok(!(await region.locator("pre").textContent()).includes("39"));
  await region.getByRole("button", { name: "Show all of it" }).click();
  assert.ok((await region.locator("pre").textContent()).includes("‹U+202E›gnp.exe"));
  assert.ok((await region.locator("pre").textContent()).includes("39\n  ]"));
  await region.getByRole("button", { name: "Copy the result" }).click();
  await region.getByRole("button", { name: "Copied" }).waitFor();
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), result);
  assert.equal(await region.locator("img").count(), 0);
  assert.ok(await page.locator(".row.is-done").isVisible());
  assert.deepEqual(page.wrongs, []);
});

test("what an agent's result says is shown as it says it", async () => {
  const { id, say } = await server.told();
  say(JSON.stringify({ type: "system", subtype: "init", model: "example-1" }));
  say(
    JSON.stringify({
      type: "result",
      subtype: "success",
      is_error: false,
      result: "All is **well**.\nReally.",
      total_cost_usd: 0.0123,
      usage: { input_tokens: 10, output_tokens: 2 },
    }),
  );
  say("end");
  await server.reaches(id, "done");
  const page = await openPage(server, `/tasks/${id}`);
  await page.getByText("text, 2 lines").waitFor();
  assert.equal(await page.locator(".result pre").textContent(), "All is **well**.\nReally.");
  await page.locator(".told").getByText("$0.0123").waitFor();
  assert.deepEqual(page.wrongs, []);
});
