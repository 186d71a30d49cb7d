// Builds the page into dist/: one script and one style sheet with hashed names, each with its gzipped twin, which is what
// the server sends. It must not make anything that loads from elsewhere, nor inline scripts, which the policy refuses.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** The most that the page may weigh gzipped, in bytes: it must be there at once on a slow line, too. */
const MOST_GZIPPED = 60 * 1024;

function gzipped(): Plugin {
  return {
    name: "gzipped",
    apply: "build",
    closeBundle() {
      const assets = join(import.meta.dirname, "dist/assets");
      let total = gzipSync(readFileSync(join(import.meta.dirname, "dist/index.html"))).length;
      for (const name of readdirSync(assets).filter((name) => !name.endsWith(".gz"))) {
        const packed = gzipSync(readFileSync(join(assets, name)), { level: 9 });
        writeFileSync(join(assets, `${name}.gz`), packed);
        total += packed.length;
      }
      console.log(`the page weighs ${total} bytes gzipped, of ${MOST_GZIPPED} that it may`);
      if (total > MOST_GZIPPED) {
        throw new Error(`the page weighs ${total} bytes gzipped; it may weigh ${MOST_GZIPPED}`);
      }
    },
  };
}

export default defineConfig({
  plugins: [gzipped()],
  build: { target: "es2023", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
  // How long they take is not what these tests say: machines may have much else to do.
  test: { testTimeout: 60_000 },
  server: { proxy: { "^/(tasks|types|cluster|dead-letters)": { target: "http://127.0.0.1:8000", ws: true } } },
});
