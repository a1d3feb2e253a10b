import { rm } from "node:fs/promises";
import { BoraError } from "@bora/contracts";
import { openStore } from "@bora/store";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collect, experiment, makeFolder, openFolder } from "./temporary-lab.fixture.js";

let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeEach(async () => {
  folder = await makeFolder();
});
afterEach(() => rm(folder.dir, { recursive: true }));

const reason = new BoraError("interrupted", "I have seen enough", { hint: "" });

describe("a signal", () => {
  test("drains the sweep that runs here, and the same call goes on from its checkpoint", async () => {
    const trainers = folder.scripted({ lingers: true });
    await using lab = openFolder(folder.out, trainers);
    const stop = new AbortController();
    const sweep = await lab.sweep(experiment(), { signal: stop.signal });
    const seen: string[] = [];
    for await (const { event } of sweep.events()) {
      seen.push(event.kind);
      if (event.kind === "checkpoint_saved") stop.abort(reason);
    }
    expect(seen).toContain("drain_requested");
    expect(await sweep.outcome()).toMatchObject({ outcome: "interrupted" });
    await expect(sweep.result()).rejects.toMatchObject({ code: "interrupted" });
    expect((await (await lab.sweep(experiment())).result()).trials).toHaveLength(3);
    expect(trainers.asked.starts.map(({ resumeStep }) => resumeStep)).toEqual([0, 5]);
  });

  test("of a reader ends the reading alone", async () => {
    await using lab = openFolder(folder.out, folder.scripted({ lingers: true }));
    const sweep = await lab.sweep(experiment());
    const stop = new AbortController();
    const reading = (async () => {
      for await (const { event } of sweep.events(0, { signal: stop.signal }))
        if (event.kind === "checkpoint_saved") stop.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
    await expect(sweep.outcome({ signal: stop.signal })).rejects.toBe(reason);
    expect((await lab.status())[0]).toMatchObject({ phase: "running", live: true });
  });
});

describe("disposing a lab", () => {
  test("drains what runs, ends its trainer, closes the store, and tells whoever waits", async () => {
    const trainers = folder.scripted({ lingers: true });
    const lab = openFolder(folder.out, trainers);
    const sweep = await lab.sweep(experiment());
    const seen = collect(sweep);
    await lab[Symbol.asyncDispose]();
    expect(await sweep.outcome()).toMatchObject({ outcome: "interrupted" });
    expect((await seen).at(-1)?.event).toEqual({ kind: "sweep_ended", outcome: "interrupted" });
    expect(trainers.living.size).toBe(0);
    await using _free = await openStore({ dir: folder.out, mode: "write" }); // throws store_busy while it is held
  });

  test("ends planning and its trainer", async () => {
    const trainers = folder.scripted({ ponders: true });
    const lab = openFolder(folder.out, trainers);
    const calls: Promise<unknown>[] = [];
    await new Promise<void>((resolve) => {
      const onController = () => Promise.resolve(resolve());
      calls.push(lab.plan(experiment()), lab.sweep(experiment([0]), { onController }));
    });
    const settled = Promise.allSettled(calls);
    await lab[Symbol.asyncDispose]();
    for (const one of await settled)
      expect(one).toMatchObject({
        status: "rejected",
        reason: { code: "interrupted", message: expect.stringMatching(/disposed/) },
      });
    expect(trainers.living.size).toBe(0);
  });

  test("twice is once, and every call afterwards is refused", async () => {
    const lab = openFolder(folder.out, folder.scripted());
    await lab[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
    for (const call of [() => lab.plan(experiment()), () => lab.sweep(experiment()), () => lab.status()])
      await expect(call()).rejects.toMatchObject({ code: "interrupted", message: expect.stringMatching(/disposed/) });
  });
});
