import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { livingTrainers } from "./living-trainers.js";
import { startTimeOf } from "./processes.js";

test("trainers whose process lives are found, and nothing is touched", async () => {
  const root = await mkdtemp(join(tmpdir(), "bora-trainers-"));
  const own = { pid: process.pid, startTime: (await startTimeOf(process.pid)) ?? 0 };
  const trainers = { living: own, ended: { ...own, startTime: own.startTime - 1 }, released: own, runs: own };
  for (const [name, identity] of Object.entries(trainers)) {
    await mkdir(join(root, name));
    await writeFile(
      join(root, name, "ready.json"),
      JSON.stringify({ address: "127.0.0.1:7", instanceId: "i", ...identity }),
    );
    if (name !== "released") await writeFile(join(root, name, "token"), "secret\n", { mode: 0o600 });
  }
  const found = await livingTrainers(root);
  expect(found).toMatchObject([{ placement: { trainerId: "living", address: "127.0.0.1:7", token: "secret" } }]);
  for (const name of Object.keys(trainers)) expect(await readdir(join(root, name))).toContain("ready.json");
  expect(await livingTrainers(join(root, "none"))).toEqual([]);
  await rm(root, { recursive: true });
});
