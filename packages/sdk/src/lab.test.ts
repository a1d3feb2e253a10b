import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, type ExperimentSpec } from "@bora/contracts";
import { systemClock } from "@bora/scheduler";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkOf, type InstantTrainers } from "./instant-trainer.fixture.js";
import { FolderLab } from "./folder-lab.js";
import type { LabParts } from "./lab-parts.js";
import { LocalLab } from "./local-lab.js";
import { decodeSweepEvent, encodeSweepEvent } from "./sweep-event.js";
import { collect, experiment, makeFolder, openFolder, partsOf } from "./temporary-lab.fixture.js";
import { writeResults } from "./write-results.js";

let folder: Awaited<ReturnType<typeof makeFolder>>;
let dir: string;
beforeEach(async () => {
  folder = await makeFolder();
  dir = folder.dir;
});
afterEach(() => rm(dir, { recursive: true }));

const scripted: typeof folder.scripted = (script) => folder.scripted(script);
const out = () => folder.out;
const openLab = (trainers: InstantTrainers, where = out()) => openFolder(where, trainers);

async function runOnce(spec: ExperimentSpec, trainers: InstantTrainers) {
  await using lab = openLab(trainers);
  const handle = await lab.sweep(spec);
  const events = await collect(handle);
  return { handle, events, outcome: await handle.outcome() };
}

describe("a sweep", () => {
  test("trains every tau, stores every event, and leaves its results on disk", async () => {
    const { events, outcome } = await runOnce(experiment(), scripted());
    expect(outcome).toMatchObject({ outcome: "done", alreadyDone: false, reason: null });
    expect(outcome.results?.best?.tau).toBe(1);
    expect((await readdir(outcome.folder)).sort()).toEqual(
      expect.arrayContaining(["documents.parquet", "report.html", "results.json"]),
    );
    expect(JSON.parse(await readFile(join(outcome.folder, "results.json"), "utf8"))).toMatchObject({
      schemaVersion: 1,
      trials: [{ tau: 0 }, { tau: 1 }, { tau: "inf" }],
    });
    expect(events.map(({ position }) => position)).toEqual(events.map((_, index) => index + 1));
    expect(events.at(-1)?.event).toEqual({ kind: "sweep_ended", outcome: "done" });
  });

  test("that is finished says so, trains nothing and asks no trainer", async () => {
    const first = await runOnce(experiment(), scripted());
    const trainers = scripted();
    const again = await runOnce(experiment(), trainers);
    expect(trainers.asked).toEqual({ place: 0, inspect: 0, starts: [] });
    expect(again.handle.at).toBe("ended");
    expect(again.outcome).toEqual({ ...first.outcome, alreadyDone: true });
    expect(again.events).toEqual(first.events);
  });

  test("waits for room when its results do not fit on the disk, and writes them then", async () => {
    const notices: string[] = [];
    let writes = 0;
    const parts: LabParts = {
      ...partsOf(out(), scripted()),
      clock: {
        ...systemClock,
        sleep: (ms, signal) => (ms === 5_000 ? Promise.resolve() : systemClock.sleep(ms, signal)),
      },
      writeResults: (state, folder) =>
        (writes += 1) === 1
          ? Promise.reject(Object.assign(new Error("no space"), { code: "ENOSPC", syscall: "write" }))
          : writeResults(state, folder),
    };
    await using lab = new FolderLab(out(), new LocalLab(parts));
    const handle = await lab.sweep(experiment(), { onNotice: ({ code }) => notices.push(code) });
    expect((await handle.outcome()).results?.best?.tau).toBe(1);
    expect(notices).toEqual(["disk_full"]);
  });

  test("whose data changed since is read again", async () => {
    await runOnce(experiment(), scripted());
    await writeFile(join(dir, "data.csv"), "task,text\nromeo,but soft\n");
    const trainers = scripted();
    await runOnce(experiment(), trainers);
    expect(trainers.asked.inspect).toBe(1);
  });

  test("with one tau more trains only that one", async () => {
    await runOnce(experiment(), scripted());
    const trainers = scripted();
    const { outcome } = await runOnce(experiment([0, 1, 100, "inf"]), trainers);
    expect(outcome.outcome).toBe("done");
    expect(outcome.results?.trials).toHaveLength(4);
    expect(trainers.asked.inspect).toBe(0);
    expect(trainers.asked.starts.flatMap(({ spec }) => spec.fits.map(({ tau }) => tau))).toEqual([100]);
  });

  test("some of whose trials fail says which and why, and still compares the others", async () => {
    const { outcome } = await runOnce(experiment(), scripted({ diverges: (tau) => tau === 0 }));
    expect(outcome).toMatchObject({ outcome: "failed", reason: { code: "diverged" } });
    expect(outcome.results?.trials.map(({ state }) => state)).toEqual(["failed", "done", "done"]);
  });

  test("with a check in float32 has it in its results for every tau, and says when there was nothing to check", async () => {
    const checked = { ...experiment(), evaluate: { float32Check: true } };
    const { results } = (await runOnce(checked, scripted({ bfloat16: true }))).outcome;
    expect(results?.execution?.dtype).toBe("bfloat16");
    expect(results?.trials.map(({ tau, float32Check }) => [tau, float32Check])).toEqual([
      [0, checkOf(0)],
      [1, checkOf(1)],
      [Infinity, checkOf(Infinity)],
    ]);
    expect(results?.warnings.join()).not.toContain("float32Check");
    await rm(out(), { recursive: true });
    const idle = (await runOnce(checked, scripted())).outcome.results;
    expect(idle?.trials.map(({ float32Check }) => float32Check)).toEqual([null, null, null]);
    expect(idle?.warnings).toContainEqual(expect.stringMatching(/^evaluate\.float32Check has no figure/));
  });

  test("is seen by a lab that looked at the folder before there was anything in it", async () => {
    await using watcher = openLab(scripted());
    expect(await watcher.status()).toEqual([]);
    const { sweepId } = (await runOnce(experiment(), scripted())).handle;
    expect(await watcher.status()).toMatchObject([{ sweepId, phase: "ended" }]);
    expect((await (await watcher.follow(sweepId)).outcome()).outcome).toBe("done");
  });

  test("leaves no trainer behind", async () => {
    const trainers = scripted();
    await runOnce(experiment(), trainers);
    expect(trainers.living.size).toBe(0);
  });
});

describe("retry", () => {
  test("sends the failed trial back, and only that one", async () => {
    const { outcome } = await runOnce(experiment(), scripted({ diverges: (tau) => tau === 0 }));
    const mended = scripted();
    await using lab = openLab(mended);
    const handle = await lab.continue(outcome.sweepId, { verb: "retry", selection: { by: "failed" } });
    expect(await handle.outcome()).toMatchObject({ outcome: "done", alreadyDone: false });
    expect(mended.asked.starts.flatMap(({ spec }) => spec.fits.map(({ tau }) => tau))).toEqual([0]);
  });

  test("of a sweep that is not there is refused", async () => {
    await using lab = openLab(scripted());
    await expect(lab.continue("none", { verb: "resume" })).rejects.toMatchObject({ code: "sweep_unknown" });
  });
});

describe("stopping", () => {
  test("drains to a checkpoint; the same call goes on from it", async () => {
    const trainers = scripted({ lingers: true });
    await using lab = openLab(trainers);
    const handle = await lab.sweep(experiment());
    const seen: string[] = [];
    for await (const { event } of handle.events()) {
      seen.push(event.kind);
      if (event.kind === "checkpoint_saved") await handle.send({ verb: "drain" });
    }
    expect(await handle.outcome()).toMatchObject({ outcome: "interrupted", results: null });
    expect(seen).not.toContain("trials_cancelled");
    const resumed = await lab.sweep(experiment());
    expect(await resumed.outcome()).toMatchObject({ outcome: "done" });
    expect(trainers.asked.starts.map(({ resumeStep }) => resumeStep)).toEqual([0, 5]);
  });

  test("is for the process that runs it to say: to others it runs, whether they can speak to it or not", async () => {
    await using lab = openLab(scripted({ lingers: true }));
    await using watcher = openLab(scripted());
    const handle = await lab.sweep(experiment());
    const during: unknown[] = [];
    for await (const { event } of handle.events()) {
      if (event.kind !== "checkpoint_saved") continue;
      during.push(...(await watcher.status()));
      await handle.send({ verb: "drain" });
    }
    expect(during[0]).toMatchObject({ live: true, trials: { running: 3 } });
    await handle.outcome();
    await lab[Symbol.asyncDispose]();
    expect(await watcher.status()).toMatchObject([{ live: false, trials: { queued: 3 } }]);
  });

  test("abandon leaves at once and cancels nothing", async () => {
    const trainers = scripted({ lingers: true });
    await using lab = openLab(trainers);
    const handle = await lab.sweep(experiment());
    for await (const { event } of handle.events()) if (event.kind === "checkpoint_saved") handle.abandon();
    expect(await handle.outcome()).toMatchObject({ outcome: "interrupted" });
    expect((await lab.status())[0]?.trials).toEqual({ "left off": 3 }); // nobody renews their lease
  });

  test("while planning, nothing is trained and the error is the signal's", async () => {
    await using lab = openLab(scripted());
    const stopped = new BoraError("interrupted", "stopped", { hint: "" });
    const stop = new AbortController();
    const onStage = () => {
      stop.abort(stopped);
    };
    const refusing = scripted({ refuses: stopped });
    await using other = openLab(refusing);
    await expect(other.sweep(experiment(), { signal: stop.signal, onStage })).rejects.toBe(stopped);
    expect(await lab.status()).toEqual([]);
  });
});

describe("one writer", () => {
  test("the same experiment joins, another is store_busy with process, host and time", async () => {
    await using lab = openLab(scripted({ lingers: true }));
    const handle = await lab.sweep(experiment());
    expect(await lab.sweep(experiment())).toBe(handle);
    await expect(lab.sweep(experiment([0]))).rejects.toMatchObject({
      code: "store_busy",
      message: expect.stringMatching(/pid \d+ on .+ since \d{4}-/),
    });
    await handle.send({ verb: "drain" });
    await handle.outcome();
  });

  test("a folder of somebody else is refused and left alone", async () => {
    await using lab = openLab(scripted(), dir);
    await expect(lab.sweep(experiment())).rejects.toMatchObject({ code: "out_not_empty" });
    expect(await readdir(dir)).toEqual(["data.csv"]);
  });

  test("what a trainer refuses while inspecting is the caller's error, and its trainer is gone", async () => {
    const refuses = new BoraError("data_empty", "no documents", { hint: "check data.path" });
    const trainers = scripted({ refuses });
    await using lab = openLab(trainers);
    await expect(lab.sweep(experiment())).rejects.toBe(refuses);
    expect(trainers.living.size).toBe(0);
  });
});

test("every event survives its JSON line, infinity included", async () => {
  const { events } = await runOnce(experiment(), scripted());
  const lines = events.map(encodeSweepEvent);
  expect(lines.join("\n")).toContain('"tau":"inf"');
  expect(lines.map(decodeSweepEvent)).toEqual(events);
});
