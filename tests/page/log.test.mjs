// The log: a million lines, a burst, colours, links, folds, copies, and output that means harm.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { closeBrowser, openPage, rowsOf, Server, until } from "./world.mjs";

let server;
let million;
before(async () => {
  server = await Server.start("--slots", "3");
  million = await server.submit("lines", { lines: 1_000_000 });
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

/** The position is drawn, within the view. */
async function onShow(page, position) {
  const row = page.locator(`.row[data-position="${position}"]`);
  await row.waitFor();
  const [box, view] = [await row.boundingBox(), await page.locator(".view").boundingBox()];
  return box.y >= view.y - 1 && box.y + box.height <= view.y + view.height + 1;
}

test("colours, progress, links, stderr and events are shown for what they are", async () => {
  const id = await server.submit("colours");
  await server.reaches(id, "done");
  const page = await openPage(server, `/tasks/${id}`);
  const row = (text) => page.locator(".row", { hasText: text });
  await row("colour 31").waitFor();
  assert.match(await row("bold dim").locator(".t-bold").textContent(), /^bold$/);
  const red = await row("colour 31")
    .locator(".ansi-red")
    .evaluate((span) => getComputedStyle(span).color);
  assert.notEqual(red, await row("colour 31").evaluate((line) => getComputedStyle(line).color));
  assert.equal(await row("progress").locator(".text").textContent(), "progress 100%");
  const links = await row("see https")
    .locator(".text a")
    .evaluateAll((links) => links.map((link) => link.href));
  assert.deepEqual(links, ["https://example.com/a/b?c=d", "http://example.org/x"]);
  assert.equal(await row("something went wrong").locator(".stderr").textContent(), "err");
  const event = row("sheet read");
  assert.match(await event.locator(".event").textContent(), /infosheet readrows412tabMB Attributes/);
  await event.getByRole("button", { name: /show the raw JSON/ }).click();
  await event.getByText('"rows": 412').waitFor();
  const long = row("a long line");
  assert.doesNotMatch(await long.textContent(), /and its end/);
  await long.getByRole("button", { name: /show all of it/ }).click();
  await long.getByText("and its end").waitFor();
  await page.keyboard.press("s");
  await row("tabs").locator(".time").waitFor();
  await page.getByRole("button", { name: "Wrap lines" }).click();
  const wide = await page.locator(".view").evaluate((view) => view.scrollWidth - view.clientWidth);
  assert.ok(wide <= 0, `it is ${wide} pixels too wide`);
});

test("lines are copied with and without colours, and linked to", async () => {
  const id = await server.submit("colours");
  await server.reaches(id, "done");
  const page = await openPage(server, `/tasks/${id}`, { permissions: ["clipboard-read", "clipboard-write"] });
  // Its line on stderr may stand anywhere among the others.
  await page.locator(".row", { hasText: "progress" }).waitFor();
  const { position } = (await rowsOf(page)).find((row) => row.text === "progress 100%");
  const [first, last] = [position + 1, position + 2];
  await page.getByRole("link", { name: `Line ${first}`, exact: true }).click();
  await page.getByRole("link", { name: `Line ${last}`, exact: true }).click({ modifiers: ["Shift"] });
  assert.ok(page.url().endsWith(`#L${first}-L${last}`));
  const clip = async (button) => {
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.getByText("Copied").waitFor();
    const text = await page.evaluate(() => navigator.clipboard.readText());
    await page
      .getByText("Copied")
      .waitFor({ state: "detached" })
      .catch(() => {});
    return text;
  };
  const { updates } = await (await fetch(`${server.url}/tasks/${id}/updates?from=${position}&limit=2`)).json();
  assert.equal(await clip("Copy"), `progress 100%\n${updates[1].update}\n`);
  // What was overwritten on its line is told while it stands there, and is no part of it.
  assert.equal(await clip("Copy with colours"), `\x1b[32mprogress 100%\x1b[0m\n${updates[1].update}\n`);
  const other = await openPage(server, `/tasks/${id}#L${first}-L${last}`);
  await other.locator(".row.is-chosen").nth(1).waitFor();
  assert.equal(await other.locator(".row.is-chosen").count(), 2);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: "Download the log" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), `${id}.log`);
});

test("hostile output is text, and deceives no one", async () => {
  const id = await server.submit("hostile");
  await server.reaches(id, "done");
  const page = await openPage(server, `/tasks/${id}`);
  await page.locator(".row.is-done").waitFor();
  const shown = (await rowsOf(page)).map((row) => row.text).join("\n");
  for (const text of [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "&lt;b&gt; &amp; <b>bold</b>",
    "‹U+202E›gnp.exe‹U+202C› and ‹U+2066›isolated",
    "controls: ␀ ␁ ␈ ␡ ‹U+009B›1m end",
    "cleared? up",
    "click me",
    "bad utf-8 \ufffd",
  ]) {
    assert.ok(shown.includes(text), `${JSON.stringify(text)} in ${shown.slice(0, 3000)}`);
  }
  const inner = page.locator(".rows").locator("script, img, b, iframe, [onerror]");
  assert.equal(await inner.count(), 0);
  const links = await page.locator(".row .text a").evaluateAll((links) => links.map((link) => link.protocol));
  assert.ok(
    links.every((protocol) => protocol === "https:" || protocol === "http:"),
    String(links),
  );
  const megabyte = page.locator(".row", { hasText: "xxxxxxxxxx" });
  await megabyte.getByRole("button", { name: /show all of it/ }).click();
  await megabyte.getByText("the end of a megabyte").waitFor();
  assert.doesNotMatch(await page.title(), /owned/);
  assert.equal(await page.evaluate(() => "polluted" in {}), false);
  assert.deepEqual(page.wrongs, []);
});

test("a burst is followed to its end, let go of, and caught up with", async () => {
  const lines = 400_000; // more than there is time for: it is stopped
  const id = await server.submit("steady", { lines, rate: 5000 });
  const page = await openPage(server, `/tasks/${id}`);
  const reaches = (position) =>
    until(`line ${position} is there`, async () => ((await rowsOf(page)).at(-1)?.position ?? 0) > position);
  await reaches(3000);
  const view = await page.locator(".view").boundingBox();
  await page.mouse.move(view.x + 400, view.y + 200);
  await page.mouse.wheel(0, -300);
  const more = page.getByRole("button", { name: /new lines$/ });
  await more.waitFor();
  const still = (await rowsOf(page))[0];
  await until("lines go on", async () => Number((await more.textContent()).replace(/\D/g, "")) > 2000);
  assert.deepEqual((await rowsOf(page))[0], still, "what is read stays where it is");
  await page.locator(".more").click();
  await reaches(still.position + 5000);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.locator(".row.is-stopped").waitFor();
  const rows = (await rowsOf(page)).filter((row) => row.text.startsWith("line "));
  const numbers = rows.map((row) => Number(/\d+/.exec(row.text)[0]));
  assert.ok(numbers.length > 10);
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => numbers[0] + index),
  );
  await page.keyboard.press("g");
  await page.locator(".row.is-started").waitFor();
});

test("a million lines: the end at once, the middle, a search, a link to lines", async () => {
  await server.reaches(million, "done");
  const page = await openPage(server, `/tasks/${million}`);
  await page.locator('.row[data-position="1000001"]', { hasText: "DONE" }).waitFor();
  await until("its end is on show", () => onShow(page, 1_000_001));
  await page.locator(".view").evaluate((view) => {
    view.scrollTop = view.scrollHeight / 2;
  });
  await until("the middle is there", async () => {
    const rows = await rowsOf(page);
    const middle = rows[Math.floor(rows.length / 2)];
    return Math.abs(middle.position - 500_000) < 2000 && middle.text.startsWith(`line ${middle.position} of 1000000`);
  });
  await page.getByLabel("Search the log").fill("NEEDLE");
  await page.getByLabel("Matches").getByText("1 of 3").waitFor();
  assert.ok(await onShow(page, 7));
  await page.keyboard.press("Enter");
  await page.getByLabel("Matches").getByText("2 of 3").waitFor();
  await until("it is on show", () => onShow(page, 500_000));
  assert.equal(await page.locator(".row.is-current mark").textContent(), "needle");
  await page.getByRole("button", { name: "Previous match" }).click();
  await page.getByRole("button", { name: "Previous match" }).click();
  await page.getByLabel("Matches").getByText("3 of 3").waitFor();
  await until("it is on show", () => onShow(page, 999_997));
  await page.getByLabel("Search the log").press("Escape");
  assert.equal(await page.getByLabel("Search the log").inputValue(), "NEEDLE");
  await page.keyboard.press("N");
  await page.getByLabel("Matches").getByText("2 of 3").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("mark").first().waitFor({ state: "detached" });
  const linked = await openPage(server, `/tasks/${million}#L600001-L600003`);
  await linked.locator(".row.is-chosen", { hasText: "line 600000 of" }).waitFor();
  assert.ok(await onShow(linked, 600_000));
  await linked.keyboard.press("G");
  await until("the end is on show", () => onShow(linked, 1_000_001));
  const heap = await linked.evaluate(() => {
    gc();
    return performance.memory.usedJSHeapSize;
  });
  assert.ok(heap < 250e6, `${heap} bytes`);
});
