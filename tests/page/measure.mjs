// Measures the page in a real browser, each figure beside its target. It must run on the release build, on a quiet machine.

import { gzipSync } from "node:zlib";
import { closeBrowser, openPage, Server, until } from "./world.mjs";

const server = await Server.start("--slots", "2");
const figures = [];

function figure(name, value, unit, target) {
  const met = target === undefined ? "" : value <= target ? `(target ${target}: met)` : `(target ${target}: MISSED)`;
  figures.push(`${name}: ${value < 10 ? value.toFixed(2) : Math.round(value)} ${unit} ${met}`);
  console.log(figures.at(-1));
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** How long scripts ran in each drawn frame while `during` went on, in milliseconds. */
async function scripting(page, during) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await session.send("Tracing.start", { categories: "devtools.timeline", transferMode: "ReportEvents" });
  await during();
  const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await complete;
  const names = ["FireAnimationFrame", "EventDispatch", "FunctionCall", "RunMicrotasks", "TimerFire", "V8.GC"];
  const scripts = events.filter((event) => names.includes(event.name) && event.dur).sort((a, b) => a.ts - b.ts);
  const main = scripts.find((event) => event.name === "FireAnimationFrame")?.tid;
  const frames = [0];
  let end = 0;
  for (const { name, ts, dur, tdur, tid } of scripts) {
    if (tid !== main || ts < end) continue; // within the one before
    end = ts + dur;
    if (name === "FireAnimationFrame") frames.push(0);
    // The thread's own time: on a busy machine others run in between.
    frames[frames.length - 1] += (tdur ?? dur) / 1000;
  }
  return frames.slice(1);
}

async function heap(page) {
  return page.evaluate(() => {
    gc();
    return performance.memory.usedJSHeapSize / 1e6;
  });
}

/** In a browser: watches a task so many times over, and gives how many frames each watcher got. */
async function watch({ id, watchers, asPage }) {
  const path = `/tasks/${id}`;
  const all = Array.from({ length: watchers }, async () => {
    if (asPage) await Promise.all([fetch(path), fetch(`${path}/updates?limit=1`)]);
    const looks = asPage && setInterval(() => fetch(path), 3000);
    const socket = new WebSocket(
      `${path}/watch`.replace(/^/, location.origin.replace("http", "ws")),
      asPage ? ["baton.v1"] : [],
    );
    let count = 0;
    socket.onmessage = () => {
      count += 1;
    };
    await new Promise((resolve) => {
      socket.onclose = resolve;
    });
    clearInterval(looks);
    return count;
  });
  return Promise.all(all);
}

// Size
{
  const page = await (await fetch(server.url, { headers: { accept: "text/html" } })).text();
  let bytes = gzipSync(page).length;
  for (const [, path] of page.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)) {
    bytes += gzipSync(Buffer.from(await (await fetch(server.url + path)).arrayBuffer()), { level: 9 }).length;
  }
  figure("the whole page, gzipped", bytes / 1024, "KB", 60);
}

// The first line of a long task, from navigation to pixels
{
  const id = await server.submit("lines", { lines: 100_000 });
  await server.reaches(id, "done");
  const times = [];
  for (let round = 0; round < 15; round++) {
    const page = await openPage(server, "/healthz");
    await page.addInitScript(() => {
      new MutationObserver((_, observer) => {
        if (!document.querySelector(".row .text:not(.faint)")) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => performance.mark("first line")));
      }).observe(document, { childList: true, subtree: true });
    });
    await page.goto(`${server.url}/tasks/${id}`);
    const mark = await page.waitForFunction(() => performance.getEntriesByName("first line")[0]?.startTime);
    times.push(await mark.jsonValue());
    await page.context().close();
  }
  figure("first line of 100,000, p50", quantile(times, 0.5), "ms", 300);
  figure("first line of 100,000, p95", quantile(times, 0.95), "ms");
}

// A line's way from the agent's write to pixels
{
  const id = await server.submit("clocked", { lines: 300, rate: 20 });
  const page = await openPage(server, `/tasks/${id}`);
  await page.evaluate(() => {
    window.ways = [];
    const seen = new Set();
    new MutationObserver(() => {
      const fresh = [];
      for (const row of document.querySelectorAll(".row .text")) {
        const found = /^at ([\d.]+)$/.exec(row.textContent);
        if (found && !seen.has(found[1])) {
          seen.add(found[1]);
          fresh.push(Number(found[1]));
        }
      }
      if (fresh.length > 0) {
        requestAnimationFrame(() =>
          setTimeout(() => {
            const now = performance.timeOrigin + performance.now();
            for (const at of fresh) window.ways.push(now - at);
          }),
        );
      }
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await page.locator(".row.is-done").waitFor();
  const ways = (await page.evaluate(() => window.ways)).slice(20);
  figure("agent's write to pixels, p50", quantile(ways, 0.5), "ms", 50);
  figure("agent's write to pixels, p95", quantile(ways, 0.95), "ms");
  await page.context().close();
}

// A burst, followed
{
  const id = await server.submit("steady", { lines: 60_000, rate: 5000 });
  const page = await openPage(server, `/tasks/${id}`);
  await page.locator(".row").first().waitFor();
  const frames = await scripting(page, () => new Promise((resolve) => setTimeout(resolve, 8000)));
  figure("scripting a frame at 5,000 lines/s, p50", quantile(frames, 0.5), "ms");
  figure("scripting a frame at 5,000 lines/s, p95", quantile(frames, 0.95), "ms", 8);
  figure("frames a second meanwhile", frames.length / 8, "");
  await page.context().close();
  await server.reaches(id, "done");
}

// What a watcher costs the server: one that asks as the page does, and one of plain frames
{
  // Slow enough that each line is a write of its own, and watchers in one browser keep up.
  const [WATCHERS, lines, rate] = [20, 1200, 200];
  const page = await openPage(server, "/healthz");
  const cost = async (watchers, asPage) => {
    const id = await server.submit("steady", { lines, rate });
    await server.reaches(id, "running");
    const before = server.cpu();
    const counts = await page.evaluate(watch, { id, watchers, asPage });
    await server.reaches(id, "done");
    if (counts.some((count) => count < lines)) throw new Error(`a watcher saw too little: ${counts}`);
    return server.cpu() - before;
  };
  const costs = { none: [], plain: [], page: [] };
  for (let round = 0; round < 3; round++) {
    costs.none.push(await cost(0, false));
    costs.plain.push(await cost(WATCHERS, false));
    costs.page.push(await cost(WATCHERS, true));
  }
  const [none, plain, asPage] = Object.values(costs).map((all) => quantile(all, 0.5));
  const each = (all) => ((all - none) * 1000) / (WATCHERS * lines);
  figure("server's time for a line to a plain watcher", each(plain), "µs");
  figure("server's time for a line to a page", each(asPage), "µs");
  await page.context().close();
}

// A million lines, as they come and afterwards
{
  const id = await server.submit("lines", { lines: 1_000_000 });
  const live = await openPage(server, `/tasks/${id}`);
  await until("the end", async () => (await live.locator(".row.is-done").count()) === 1, 100_000);
  figure("memory, a million lines followed live", await heap(live), "MB", 250);
  await live.context().close();
  const page = await openPage(server, `/tasks/${id}`);
  await page.locator(".row.is-done").waitFor();
  const frames = await scripting(page, async () => {
    for (let step = 0; step < 300; step++) {
      await page.locator(".view").evaluate((view, step) => {
        view.scrollTop = step % 10 === 0 ? (view.scrollHeight * ((step * 37) % 300)) / 300 : view.scrollTop - 700;
      }, step);
    }
  });
  figure("scripting a frame while scrolling a million lines, p95", quantile(frames, 0.95), "ms", 8);
  figure("memory, a million lines scrolled through", await heap(page), "MB", 250);
  const begun = performance.now();
  await page.getByLabel("Search the log").fill("needle");
  await page.getByLabel("Matches").getByText("1 of 3").waitFor();
  figure("search of a million lines", performance.now() - begun, "ms");
}

await closeBrowser();
await server.stop();
