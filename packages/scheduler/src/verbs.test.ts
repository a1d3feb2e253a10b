import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { runSweep } from "./run-sweep.js";
import { SweepControl, type SweepVerb } from "./sweep-control.js";
import type { SweepState } from "./sweep-state.js";
import { World } from "./world.fixture.js";

let world: World;
beforeEach(() => {
  world = new World({ trials: () => ({ doneAt: 12 }) });
});
afterEach(() => world[Symbol.dispose]());

const sweep = request({ taus: [0, 1, 10], maxTrials: 2 });
const at = (state: SweepState) => Object.values(state.trials).map((trial) => trial.state.at);
const run = (what: Parameters<typeof runSweep>[1] = sweep) =>
  world.clock.result(runSweep(world.controller().deps, what));

/** Runs until a trainer has done some steps, gives a verb, and runs on. */
async function runWith(step: number, verb: SweepVerb) {
  const control = new SweepControl();
  const done = runSweep(world.controller().deps, { ...sweep, control });
  await world.clock.until(() => world.processes.at(-1)?.held?.step === step);
  control.send(verb);
  return { control, done };
}

describe("drain", () => {
  it("stops at a checkpoint: interrupted, and nothing is left running", async () => {
    const { done } = await runWith(5, { verb: "drain" });
    const { outcome, state } = await world.clock.result(done);
    expect(outcome).toBe("interrupted");
    expect(at(state)).toEqual(["stopped", "stopped", "queued"]);
    expect(Object.values(state.runs)).toMatchObject([{ checkpointStep: 5, attempt: 1 }]);
    expect(world.living).toEqual([]);
  });

  it("and the same command again goes on: attempt 2, the next event's number, the checkpoint's step, the same execution", async () => {
    const { done } = await runWith(5, { verb: "drain" });
    const { state: drained } = await world.clock.result(done);
    const { outcome, state } = await run();
    expect(outcome).toBe("done");
    const [run1] = Object.values(drained.runs);
    const [first, second] = world.starts;
    expect(second).toMatchObject({
      attempt: 2,
      firstSeq: (run1?.lastSeq ?? 0) + 1,
      resumeStep: 5,
      runId: first?.runId,
    });
    expect(first?.spec.execution).toBeUndefined();
    expect(second?.spec.execution).toEqual(run1?.execution);
    expect(second?.spec).toEqual({ ...first?.spec, execution: run1?.execution });
    expect(at(state)).toEqual(["done", "done", "done"]);
    expect(Object.values(state.trials).map(({ attempts }) => attempts)).toEqual([0, 0, 0]);
  });

  it("before anything was trained leaves the trials in the queue", async () => {
    const control = new SweepControl();
    control.send({ verb: "drain" });
    const { outcome, state } = await run({ ...sweep, control });
    expect(outcome).toBe("interrupted");
    expect(at(state).every((state) => state === "queued" || state === "planned")).toBe(true);
    expect((await run()).outcome).toBe("done");
  });

  it("is not what a pause is: that waits for a person", async () => {
    const { done } = await runWith(11, { verb: "pause" });
    const { outcome } = await world.clock.result(
      Promise.race([done, world.clock.sleep(60_000).then(() => ({ outcome: "waits" }))]),
    );
    expect(outcome).toBe("waits");
  });
});

describe("abandon", () => {
  it("returns at once as interrupted and moves no trial; the trainer goes on, and is adopted for as long as it takes", async () => {
    world.script = { trials: () => ({ doneAt: 200 }) };
    const { done } = await runWith(5, { verb: "abandon" });
    const { outcome, state } = await world.clock.result(done, 0);
    expect(outcome).toBe("interrupted");
    expect(at(state)).toEqual(["running", "running", "queued"]);
    expect(world.living).toHaveLength(1);
    const again = await run();
    expect(again.outcome).toBe("done");
    expect(world.starts.map(({ attempt }) => attempt)).toEqual([1, 1]); // adopted, then the second pack
  });

  it("and once the lease has lapsed the trainer is gone by itself, at a checkpoint from which the sweep goes on", async () => {
    world.script = { trials: () => ({ doneAt: 200 }) };
    const { done } = await runWith(5, { verb: "abandon" });
    await world.clock.result(done, 0);
    await world.clock.until(() => world.living.length === 0, 120_000);
    world.script.trials = () => ({ doneAt: 100 });
    const { outcome, state } = await run();
    expect(outcome).toBe("done");
    expect(world.starts[1]).toMatchObject({ attempt: 2 });
    expect(world.starts[1]?.resumeStep).toBeGreaterThan(50); // its folder was read to the end
    expect(Object.values(state.trials).map(({ attempts }) => attempts)).toEqual([0, 0, 0]);
  });
});

describe("cancel", () => {
  it("kills, and what had not ended is cancelled", async () => {
    const { done } = await runWith(5, { verb: "cancel" });
    const { outcome, state } = await world.clock.result(done);
    expect(outcome).toBe("cancelled");
    expect(at(state)).toEqual(["cancelled", "cancelled", "cancelled"]);
    expect(world.living).toEqual([]);
  });

  it("stays cancelled until a resume, which goes on from the last checkpoint", async () => {
    const { done } = await runWith(5, { verb: "cancel" });
    await world.clock.result(done);
    expect((await run()).outcome).toBe("cancelled");
    expect(world.starts).toHaveLength(1);
    const { outcome } = await run({ ...sweep, requeue: { by: "resume" } });
    expect(outcome).toBe("done");
    expect(world.starts[1]).toMatchObject({ attempt: 2, resumeStep: 4 });
  });
});

describe("pause and resume", () => {
  it("lets what runs finish, begins nothing, and waits", async () => {
    const { control, done } = await runWith(5, { verb: "pause" });
    await world.clock.until(() => world.processes[0]?.active === false);
    await world.clock.pass(30_000);
    expect(world.starts).toHaveLength(1);
    control.send({ verb: "resume" });
    expect((await world.clock.result(done)).outcome).toBe("done");
    expect(world.starts).toHaveLength(2);
  });

  it("a paused sweep whose controller is gone goes on with the next command", async () => {
    const { done } = await runWith(5, { verb: "pause" });
    await world.clock.until(() => world.processes[0]?.active === false);
    void done; // this controller is never heard of again
    expect((await run()).outcome).toBe("done");
  });
});

describe("retry", () => {
  const diverging = (id: string) => (id === sweep.plan.trials[0]?.id ? { doneAt: 12, divergesAt: 3 } : { doneAt: 12 });

  it.each([
    ["--failed", { by: "failed" }, 1],
    ["--failed --code=diverged", { by: "failed", code: "diverged" }, 1],
    ["--failed --code=out_of_memory", { by: "failed", code: "out_of_memory" }, 0],
    ["--lost", { by: "lost" }, 0],
    ["--missing", { by: "missing" }, 0],
    ["a trial", { by: "trials", trialIds: [sweep.plan.trials[0]?.id ?? ""] }, 1],
    ["a trial that is done", { by: "trials", trialIds: [sweep.plan.trials[1]?.id ?? ""] }, 0],
  ] as const)("%s trains what it selects, in a new run", async (_, requeue, count) => {
    world.script = { trials: diverging };
    expect((await run()).outcome).toBe("failed");
    world.script.trials = () => ({ doneAt: 12 });
    const { outcome } = await run({ ...sweep, requeue });
    expect(outcome).toBe(count === 1 ? "done" : "failed");
    const again = world.starts.slice(2);
    expect(again.map(({ attempt, spec }) => [attempt, spec.fits.length])).toEqual(count === 1 ? [[1, 1]] : []);
  });

  it("of a trial whose metric was missing trains it again", async () => {
    world.script = { trials: (id) => ({ doneAt: 4, mute: id === sweep.plan.trials[2]?.id }) };
    const first = await run();
    expect(at(first.state)).toEqual(["done", "done", "metrics_missing"]);
    world.script.trials = () => ({ doneAt: 4 });
    expect((await run({ ...sweep, requeue: { by: "missing" } })).outcome).toBe("done");
  });

  it("while the rest of the pack still trains waits for a trainer, and the diverged one's old run is not heard any more", async () => {
    world.script = { trials: diverging };
    const { done } = await runWith(5, { verb: "retry", selection: { by: "failed" } });
    world.script.trials = () => ({ doneAt: 12 });
    const { outcome } = await world.clock.result(done);
    expect(outcome).toBe("done");
    expect(world.starts.map(({ spec }) => spec.fits.length)).toEqual([2, 1, 1]);
  });
});
