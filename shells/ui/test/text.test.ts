// What agents print, however hostile, becomes text that deceives no one.

import { expect, test } from "vitest";
import { plain, spansOf } from "../src/core/text";

const ESC = "\x1b";

test.each([
  ["plain text", "plain text"],
  ["<script>alert(1)</script>", "<script>alert(1)</script>"],
  [`${ESC}[31mred${ESC}[0m`, "red"],
  ["progress 1%\rprogress 100%", "progress 100%"],
  [`50%\r${ESC}[32m100%${ESC}[0m\r`, "100%"],
  ["\r", ""],
  [`${ESC}]8;;javascript:alert(1)\x07click${ESC}]8;;\x07`, "click"],
  [`${ESC}]8;;https://a.example${ESC}\\click${ESC}]8;;${ESC}\\`, "click"],
  [`${ESC}]0;title`, ""],
  [`${ESC}[2J${ESC}[1;1Hup${ESC}[K${ESC}7${ESC}(B`, "up"],
  [`${ESC}[31`, ""],
  [`${ESC}`, ""],
  ["\u202egnp.exe", "‹U+202E›gnp.exe"],
  ["a\u200bb\u2066c\ufeff", "a‹U+200B›b‹U+2066›c‹U+FEFF›"],
  ["nul \x00 bell \x07 del \x7f csi \x9b1m", "nul ␀ bell ␇ del ␡ csi ‹U+009B›1m"],
  ["tabs\tstay", "tabs\tstay"],
])("%j is shown as %j", (printed, shown) => {
  expect(plain(printed)).toBe(shown);
  expect(
    spansOf(printed)
      .map((span) => span.text)
      .join(""),
  ).toBe(shown);
});

test("colours become names of classes, or colours", () => {
  expect(spansOf(`a${ESC}[1;31mb${ESC}[0m${ESC}[38;5;208mc${ESC}[48;2;1;2;3md`)).toEqual([
    { text: "a", look: "" },
    { text: "b", look: "t-bold ansi-red" },
    { text: "c", look: "", colour: "rgb(255, 135, 0)" },
    { text: "d", look: "", colour: "rgb(255, 135, 0)", background: "rgb(1, 2, 3)" },
  ]);
});

test("only addresses of the web become links, without the stop after them", () => {
  const links = (text: string) => spansOf(text).flatMap((span) => (span.link ? [span.link] : []));
  expect(links("see https://a.example/b?c=d, and (http://b.example/x).")).toEqual([
    "https://a.example/b?c=d",
    "http://b.example/x",
  ]);
  expect(links("javascript://alert(1) data://x file:///etc/passwd")).toEqual([]);
  expect(links('https://a.example/"onmouseover="x')).toEqual(["https://a.example/"]);
});

test("words are marked also where a colour begins within them", () => {
  const spans = spansOf(`an ER${ESC}[31mROR here, error`, "error");
  expect(spans.map((span) => [span.text, span.found ?? false])).toEqual([
    ["an ", false],
    ["ER", true],
    ["ROR", true],
    [" here, ", false],
    ["error", true],
  ]);
});
