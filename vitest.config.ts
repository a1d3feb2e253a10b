import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const packages = fileURLToPath(new URL("packages/", import.meta.url));

// Tests read the sources of every package, so that no build is needed and a failure points into the source.
export default defineConfig({
  resolve: {
    alias: Object.fromEntries(
      readdirSync(packages).map((name) => [`@bora/${name}`, `${packages}${name}/src/index.ts`]),
    ),
  },
  test: {
    include: ["**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    pool: "forks", // zeromq's sockets do not survive worker threads
    testTimeout: 60_000, // these end a test that hangs; on a loaded machine honest ones take many times their usual
    hookTimeout: 60_000,
  },
});
