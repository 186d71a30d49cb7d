// From the form to the end of a task, and what stands in a task's head.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, Server, until } from "./world.mjs";

let server;
before(async () => {
  server = await Server.start("--slots", "4", "--grace", "3s");
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

test("an empty page says how to submit, and the form leads to a live log", async () => {
  const page = await openPage(server);
  await page.getByText("No tasks yet").waitFor();
  assert.match(await page.locator(".nothing pre").first().textContent(), new RegExp(`curl ${server.url}/tasks`));
  await page.locator(".nothing").getByRole("link", { name: "New task" }).click();
  await page.getByRole("radio", { name: /^steady/ }).check();
  await page.getByRole("textbox", { name: /^input/ }).fill("it's a 'test'");
  await page.getByRole("textbox", { name: /^lines/ }).fill("40");
  await page.getByRole("textbox", { name: /^rate/ }).fill("many");
  await page.getByRole("textbox", { name: /^rate/ }).blur();
  await page.getByText("rate must be a number").waitFor();
  await page.getByRole("textbox", { name: /^rate/ }).fill("40");
  await page.locator(".runs").getByText("steady --lines 40 --rate 40 --input 'it'\\''s a '\\''test'\\'''").waitFor();
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByRole("heading", { name: "it's a 'test'" }).waitFor();
  await page.locator(".row", { hasText: "line 40 of 40" }).waitFor();
  await page.locator(".row.is-done", { hasText: "DONE" }).waitFor();
  await page.locator(".facts", { hasText: "Done" }).waitFor();
  assert.deepEqual(page.wrongs, []);
});

test("bad input is said at its field, which has the focus then, and nothing is submitted", async () => {
  const page = await openPage(server, "/new");
  await page.getByRole("radio", { name: /^lines/ }).check();
  await page.getByRole("textbox", { name: /^Project/ }).fill("not a name");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByText("lines is missing").waitFor();
  const focused = await page.evaluate(() => document.activeElement.name);
  assert.equal(focused, "project");
  const field = page.getByRole("textbox", { name: /^lines/ });
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  const described = await field.getAttribute("aria-describedby");
  assert.equal(await page.locator(`[id="${described}"]`).textContent(), "lines is missing");
  await page.getByRole("textbox", { name: /^Project/ }).fill("default");
  await field.fill("3");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.locator(".row", { hasText: "line 3 of 3" }).waitFor();
});

test("a second window sees the STOP, its countdown and the end", async () => {
  const id = await server.submit("stubborn");
  const [first, second] = [await openPage(server, `/tasks/${id}`), await openPage(server, `/tasks/${id}`)];
  for (const page of [first, second]) await page.locator(".row", { hasText: "ready" }).waitFor();
  await first.getByRole("button", { name: "Stop" }).click();
  for (const page of [first, second]) await page.getByRole("button", { name: /Stopping, killed in [123] s/ }).waitFor();
  for (const page of [first, second]) {
    await page.locator(".row.is-stopped").waitFor();
    await page.locator(".facts", { hasText: "Stopped" }).waitFor();
    assert.equal(await page.getByRole("button", { name: /^Stop/ }).count(), 0);
  }
  const announced = await second.locator(".log > [role=status]").textContent();
  assert.equal(announced, "The task has ended: STOPPED");
});

test("a stop whose grace is long is forced", async () => {
  const patient = await Server.start("--grace", "10m");
  try {
    const id = await patient.submit("stubborn");
    await until("it is stubborn", async () => (await patient.task(id)).last_update === "ready");
    const page = await openPage(patient, `/tasks/${id}`);
    assert.equal(await page.getByRole("button", { name: "Force stop" }).count(), 0);
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByRole("button", { name: /Stopping, killed in/ }).waitFor();
    await page.getByRole("button", { name: "Force stop" }).click();
    await page.locator(".row.is-stopped", { hasText: "STOPPED" }).waitFor();
    await page.locator(".facts", { hasText: "Signal" }).waitFor();
    assert.deepEqual(page.wrongs, []);
  } finally {
    await patient.stop();
  }
});

test("a task that failed says why, and can be run again, also changed", async () => {
  const id = await server.submit("fails");
  const page = await openPage(server, `/tasks/${id}`);
  await page.locator(".problem", { hasText: "exit code 3: the sheet has no tab 'Q7'" }).waitFor();
  await page.locator(".facts", { hasText: "Exit code3" }).waitFor();
  const stderr = page.locator(".row.is-stderr");
  assert.equal(await stderr.locator(".stderr").textContent(), "err");
  await page.getByRole("button", { name: "Run again" }).click();
  await until("another task is on show", async () => !page.url().includes(id) && page.url().includes("/tasks/"));
  await page.locator(".row.is-failed").waitFor();
  const steady = await server.submit("steady", { lines: 3, rate: 100, input: "as before" });
  await page.goto(`${server.url}/tasks/${steady}`);
  await page.getByRole("link", { name: "Edit and run" }).click();
  assert.equal(await page.getByRole("textbox", { name: /^input/ }).inputValue(), "as before");
  await page.getByRole("textbox", { name: /^lines/ }).fill("5");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.locator(".row", { hasText: "line 5 of 5" }).waitFor();
});

test("a task that is not there is said to be so", async () => {
  const page = await openPage(server, "/tasks/nothing");
  await page.getByRole("heading", { name: "There is no such task here" }).waitFor();
  await page.goto(`${server.url}/tasks`);
  await page.locator(".list").waitFor();
});
