#!/usr/bin/env node
import { existsSync } from "node:fs";

const built = new URL("../dist/main.js", import.meta.url);
if (existsSync(built)) {
  const { main, processTerminal } = await import(built.href);
  process.exit(await main(process.argv.slice(2), processTerminal()));
} else {
  process.stderr.write(
    "error environment_missing: the command line is not built yet\n" +
      "  hint: npx nx run orchestrator:build (npx nx run orchestrator:sweep builds by itself)\n",
  );
  process.exit(2);
}
