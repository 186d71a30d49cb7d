// The page on services of their own and a real Kafka: what it shows comes from whichever replica it asks.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, rowsOf, Server, until } from "./world.mjs";

const apis = [];
let worker;
before(async () => {
  const prefix = `page-${randomUUID().slice(0, 8)}-`;
  for (let n = 0; n < 2; n++) apis.push(await Server.api(prefix));
  worker = await Server.worker(prefix);
});
after(async () => {
  await closeBrowser();
  for (const server of [...apis, worker]) await server?.stop();
});

test("a task that one replica took is watched and stopped at another, through a kill of it", async () => {
  const [first, second] = apis;
  const page = await openPage(first, "/new");
  await page.getByRole("radio", { name: /^steady/ }).check();
  await page.getByRole("textbox", { name: /^lines/ }).fill("100000");
  await page.getByRole("button", { name: "Submit" }).click();
  await until("it is shown", async () => /\/tasks\/[0-9a-f-]{36}$/.test(page.url()));
  const id = page.url().split("/").at(-1);
  await page
    .locator(".row", { hasText: /line \d+ of 100000/ })
    .first()
    .waitFor();

  const other = await openPage(second, `/tasks/${id}`);
  await other
    .locator(".row", { hasText: /line \d+ of 100000/ })
    .first()
    .waitFor();
  await second.kill();
  await other.getByText("Disconnected:").waitFor();
  await second.start();
  await other.getByText("Disconnected:").waitFor({ state: "detached" });
  await other.getByRole("button", { name: "Stop" }).click();
  for (const one of [page, other]) await one.locator(".row.is-stopped", { hasText: "STOPPED" }).waitFor();

  const numbers = (await rowsOf(other))
    .map(({ text }) => /line (\d+) of/.exec(text)?.[1])
    .filter(Boolean)
    .map(Number);
  assert.ok(numbers.length > 5);
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => numbers[0] + index),
    "no gap and no line twice",
  );
  assert.deepEqual([page.wrongs, other.wrongs], [[], []]);
});

test("every replica shows the same cluster", async () => {
  for (const api of apis) {
    const page = await openPage(api, "/cluster");
    const rows = (title) =>
      page.locator("section", { has: page.getByRole("heading", { name: title }) }).locator("tbody tr");
    await until(
      "both replicas are live",
      async () =>
        (await rows(/^API replicas/)
          .getByText("Live")
          .count()) >= 2,
    );
    await until(
      "the worker is live",
      async () =>
        (await rows(/^Workers/)
          .getByText("Live")
          .count()) === 1,
    );
    await until(
      "it holds all partitions",
      async () =>
        (await rows(/^Workers/)
          .getByText("0-3")
          .count()) === 1,
    );
  }
});
