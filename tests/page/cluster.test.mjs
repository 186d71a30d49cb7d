// The cluster and its dead letters: who works, what failed, and what may be done about it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, Server, until } from "./world.mjs";

let server;
before(async () => {
  server = await Server.start("--slots", "3");
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

const section = (page, title) => page.locator("section", { has: page.getByRole("heading", { name: title }) });

test("a worker shows what it runs, as it begins and as it ends", async () => {
  const page = await openPage(server, "/cluster");
  const worker = section(page, /^Workers/).locator("tbody tr");
  await worker.getByText("Live").waitFor();
  await worker.getByText("0 of 3").waitFor();
  const id = await server.submit("silent");
  await worker.getByText("1 of 3").waitFor();
  await section(page, /^Partitions/)
    .locator("tbody tr")
    .first()
    .waitFor();
  assert.equal(
    await section(page, /^API replicas/)
      .locator("tbody tr")
      .count(),
    1,
  );
  await worker.getByRole("link", { name: id.slice(0, 8) }).click();
  await until("its page is shown", async () => page.url().endsWith(`/tasks/${id}`));
  await page.goBack();
  await fetch(`${server.url}/tasks/${id}`, { method: "DELETE" });
  await worker.getByText("0 of 3").waitFor();
  assert.deepEqual(page.wrongs, []);
});

test("a task that waits for its next attempt is counted as that", async () => {
  const page = await openPage(server, "/cluster");
  const id = await server.submit("fails-often");
  await server.reaches(id, "retrying");
  const cells = section(page, /^Partitions/).locator("tbody tr td:nth-child(4)");
  await until("one retries", async () => (await cells.allTextContents()).filter((text) => text === "1").length === 1);
  const waiting = await section(page, /^Partitions/)
    .locator("tbody tr td:nth-child(3)")
    .allTextContents();
  assert.ok(
    waiting.every((text) => text === "0"),
    String(waiting),
  );
  await fetch(`${server.url}/tasks/${id}`, { method: "DELETE" });
  await server.reaches(id, "stopped");
});

test("what happens is counted", async () => {
  const page = await openPage(server, "/cluster");
  const id = await server.submit("lines", { lines: 40 });
  await server.reaches(id, "done");
  await page.getByRole("img", { name: /^Lines: .* at most [1-9]/ }).waitFor();
  await page.getByRole("img", { name: /^Wait, p95: [\d.]+ m?s/ }).waitFor();
});

test("a dead letter is found, redriven and purged", async () => {
  const id = await server.submit("fails");
  await server.reaches(id, "failed");
  const cluster = await openPage(server, "/cluster");
  await section(cluster, "Dead letters").locator(".letters li").first().waitFor();
  const page = await openPage(server, "/dead-letters");
  const letter = page.locator(".letters li", { hasText: id.slice(0, 8) });
  await letter.waitFor();
  await page.getByLabel("Search reasons").fill("nothing is like this");
  await page.getByText("No dead letter is like that").waitFor();
  assert.match(page.url(), /\?reason=nothing/);
  await page.getByRole("link", { name: "Show all" }).click();
  await letter.getByRole("button", { name: "Redrive" }).click();
  await until("the new task is shown", async () => /\/tasks\/[0-9a-f-]{36}$/.test(page.url()));
  const again = page.url().split("/").at(-1);
  assert.notEqual(again, id);
  await server.reaches(again, "failed");
  await page.goBack();
  await letter.getByText("redriven as").waitFor();
  await letter.getByRole("button", { name: "Purge" }).click();
  await letter.getByRole("button", { name: "Keep" }).click();
  await letter.getByRole("button", { name: "Purge" }).click();
  await letter.getByRole("button", { name: "Purge for good" }).click();
  await until("it is gone", async () => (await letter.count()) === 0);
  assert.equal((await fetch(`${server.url}/dead-letters/${id}`)).status, 404);
  assert.deepEqual(page.wrongs, []);
});

test("a server that is killed and comes back is shown as it is then", async () => {
  const page = await openPage(server, "/cluster");
  const worker = section(page, /^Workers/).locator("tbody tr");
  await worker.first().waitFor();
  await server.kill();
  await page.getByText("Disconnected:").waitFor();
  await server.start();
  await page.getByText("Disconnected:").waitFor({ state: "detached" });
  await until("the new one is live", async () => (await worker.getByText("Live").count()) >= 1);
});
