import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { localPlacer, pythonTrainer } from "./index.js";

const python = fileURLToPath(new URL("../../../trainer-py/.venv/bin/python", import.meta.url));
const signal = new AbortController().signal;

/** Why the trainer of trainer-py cannot run here, or null. */
function missing(): string | null {
  try {
    execFileSync(python, ["-c", "import bora_trainer.process"], { stdio: "pipe" });
    return null;
  } catch {
    return "trainer-py has no environment: run `npx nx run trainer-py:venv`";
  }
}

const skip = process.platform === "linux" ? missing() : "trainers are placed on Linux only";

test.skipIf(skip !== null)(
  `the Python trainer is placed, found again and released${skip === null ? "" : ` (skipped: ${skip})`}`,
  { timeout: 180_000 },
  async () => {
    const root = await mkdtemp(join(tmpdir(), "bora-placer-"));
    const placer = await localPlacer({ root, program: pythonTrainer(python) });
    const request = { trainerId: "t1", leaseMs: 60_000 };
    try {
      const placed = await placer.place(request, signal);
      const ready: unknown = JSON.parse(await readFile(join(root, "t1", "ready.json"), "utf8"));
      expect(ready).toMatchObject({ address: placed.address, instanceId: placed.instanceId });
      expect(await placer.place(request, signal)).toEqual(placed);
    } finally {
      await placer.release("t1", 30_000, signal);
    }
    expect(await placer.list(signal)).toEqual([]);
    await rm(root, { recursive: true });
  },
);
