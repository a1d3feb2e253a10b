import { BoraError, wire, type ControlEvent } from "@bora/contracts";
import type { NewEvent } from "@bora/store";
import { afterEach, describe, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { packMemory } from "./memory.js";
import { runSweep, type SweepEnd, type SweepProgress } from "./run-sweep.js";
import { failure } from "./simulated-run.fixture.js";
import { refuse } from "./simulated-trainer.fixture.js";
import { SweepControl } from "./sweep-control.js";
import { anyTrial, World, type ControllerOptions } from "./world.fixture.js";

let world: World;
afterEach(() => world[Symbol.dispose]());

const begin = (script: World["script"]) => (world = new World(script));
const run = (what: Parameters<typeof runSweep>[1], options: ControllerOptions = {}) =>
  world.clock.result(runSweep(world.controller(options).deps, what));
const events = () => world.storage.rows.map(({ kind }) => kind);
const onePack = (taus = [0, 1, 10, 100]) => request({ taus, maxTrials: 8 });

describe("a trial", () => {
  it("that ends early is done, and its files are here, while its pack goes on", async () => {
    const sweep = onePack();
    const [first = ""] = sweep.plan.trials.map(({ id }) => id);
    begin({ trials: (id) => ({ doneAt: id === first ? 4 : 12 }) });
    const atFetch: string[][] = [];
    const onProgress = (progress: SweepProgress) => {
      if (progress.kind !== "event" || progress.event.body.stream !== "control") return;
      const { event } = progress.event.body;
      if (event.kind === "artifacts_fetched" && event.trialId === first)
        atFetch.push(Object.values(progress.state.trials).map(({ state }) => state.at));
    };
    const { outcome } = await run({ ...sweep, onProgress });
    expect(outcome).toBe("done");
    expect(atFetch).toEqual([["done", "running", "running", "running"]]);
  });

  it("that diverges has failed and is not tried again; the others of its pack go on", async () => {
    const sweep = onePack();
    const [first = ""] = sweep.plan.trials.map(({ id }) => id);
    begin({ trials: (id) => (id === first ? { doneAt: 8, divergesAt: 3 } : { doneAt: 8 }) });
    const { outcome, state } = await run(sweep);
    expect(outcome).toBe("failed");
    expect(Object.values(state.trials).map((trial) => trial.state.at)).toEqual(["failed", "done", "done", "done"]);
    expect(state.trials[first]?.state).toEqual({ at: "failed", code: "diverged", domain: "user", attempts: 1 });
    expect(world.starts).toHaveLength(1);
  });

  it("without a result although its run is done has metrics_missing, with the last event of the complete log", async () => {
    const sweep = onePack([0, 1]);
    const [first = ""] = sweep.plan.trials.map(({ id }) => id);
    begin({ trials: (id) => ({ doneAt: 4, mute: id === first }) });
    const { outcome, state } = await run(sweep);
    expect(outcome).toBe("failed");
    const [runId = ""] = Object.keys(state.runs);
    expect(state.trials[first]?.state).toEqual({ at: "metrics_missing", runId, lastSeq: state.runs[runId]?.lastSeq });
  });
});

describe("events that the store refuses", () => {
  it("fail the trials they are of, and no others whose events came in the same moment", async () => {
    begin({ trials: () => ({ doneAt: 8 }) });
    const batches: Set<string>[] = [];
    const runOf = (trainer: string) => world.starts.find(({ runId }) => runId.endsWith(trainer))?.runId;
    const storeFault = (stored: readonly NewEvent[]) => {
      const told = stored.filter(({ body }) => body.stream === "trainer");
      batches.push(new Set(told.map(({ runId }) => runId)));
      return told.some(({ runId, attempt, seq }) => runId === runOf("2") && attempt === 1 && seq > 3)
        ? refuse("event_conflict")
        : null;
    };
    const { deps } = world.controller({ storeFault, maxTrainers: 2 });
    const sweep = request({ taus: [0, 1, 10, 100], maxTrials: 2 });
    const { state } = await world.clock.result(runSweep(deps, sweep));
    expect(batches.some((runs) => runs.size === 2)).toBe(true);
    const endOf = (trainer: string) =>
      Object.values(state.trials).flatMap((trial) => (trial.runId === runOf(trainer) ? [trial.state] : []));
    expect(endOf("1")).toMatchObject([{ at: "done" }, { at: "done" }]);
    expect(endOf("2")).toMatchObject([1, 2].map(() => ({ at: "failed", code: "event_conflict" })));
  });
});

describe("out of memory", () => {
  it("halves the pack until it fits", async () => {
    begin({ trials: () => ({ doneAt: 4 }), mostTrials: 2 });
    const { outcome, state } = await run(onePack([0, 1, 10, 100, 1000]));
    expect(outcome).toBe("done");
    expect(world.starts.map(({ spec }) => spec.fits.length)).toEqual([5, 3, 2, 2, 1]);
    expect(Object.values(state.trials).every(({ attempts }) => attempts === 0)).toBe(true);
  });

  it("fails a trial that is alone", async () => {
    begin({ trials: () => ({ doneAt: 4 }), mostTrials: 0 });
    const { outcome, state } = await run(onePack([0, 1]));
    expect(outcome).toBe("failed");
    expect(Object.values(state.trials).map((trial) => trial.state)).toEqual([
      { at: "failed", code: "out_of_memory", domain: "oom", attempts: 1 },
      { at: "failed", code: "out_of_memory", domain: "oom", attempts: 1 },
    ]);
    expect(world.starts.map(({ spec }) => spec.fits.length)).toEqual([2, 1, 1]);
  });

  it("is in the log: the attempt that failed, then both halves with every trial once", async () => {
    begin({ trials: () => ({ doneAt: 4 }), mostTrials: 2 });
    const sweep = onePack([0, 1, 10, 100, 1000]);
    const seen: ControlEvent[] = [];
    const onProgress = (progress: SweepProgress) => {
      if (progress.kind !== "event" || progress.event.body.stream !== "control") return;
      const { event } = progress.event.body;
      if (event.kind === "attempt_failed" || event.kind === "pack_split") seen.push(event);
    };
    const { state } = await run({ ...sweep, onProgress });
    expect(seen.map(({ kind }) => kind)).toEqual(["attempt_failed", "pack_split", "attempt_failed", "pack_split"]);
    const ids = sweep.plan.trials.map(({ id }) => id);
    expect(seen[0]).toMatchObject({ code: "out_of_memory", domain: "oom", retryAtMs: null });
    expect(seen[1]).toMatchObject({ packs: [{ trialIds: ids.slice(0, 3) }, { trialIds: ids.slice(3) }] });
    expect(seen[3]).toMatchObject({ packs: [{ trialIds: ids.slice(0, 2) }, { trialIds: ids.slice(2, 3) }] });
    expect(state.packs.flatMap(({ trialIds }) => trialIds).toSorted()).toEqual(ids.toSorted());
    const peakOf = (trials: number) => packMemory(sweep.experiment, sweep.inspected, trials).peak;
    const peaks = state.packs.map(({ trialIds }) => peakOf(trialIds.length));
    expect(Math.max(...peaks)).toBe(peakOf(2)); // what fits on this trainer
  });

  it("changes no result", async () => {
    const sweep = onePack([0, 1, 10, 100, 1000]);
    const results = async () =>
      Object.values((await run(sweep)).state.trials).map(({ id, outcome, validation }) => ({
        id,
        outcome,
        validation,
      }));
    begin({ trials: () => ({ doneAt: 4 }) });
    const whole = await results();
    world[Symbol.dispose]();
    begin({ trials: () => ({ doneAt: 4 }), mostTrials: 1 });
    expect(await results()).toEqual(whole);
    expect(world.starts.length).toBeGreaterThan(5);
  });

  it("of the run that was to score the base model leaves that to the next one", async () => {
    begin({ trials: () => ({ doneAt: 4 }), mostTrials: 1 });
    const { state } = await run(onePack([0, 1]));
    expect(world.starts.map(({ spec }) => spec.evaluateBase)).toEqual([true, true, false]);
    expect(state.base?.fetched).toBe(true);
  });
});

describe("a fault of the machine", () => {
  it("is tried 3 times, after 5 and 10 seconds, and then the trials have failed", async () => {
    begin({ trials: anyTrial, failure: () => failure("child_killed", wire.Domain.INFRA) });
    const waits: number[] = [];
    const onProgress = (progress: SweepProgress) => {
      if (progress.kind !== "event" || progress.event.body.stream !== "control") return;
      const { event } = progress.event.body;
      if (event.kind === "attempt_failed") waits.push((event.retryAtMs ?? Infinity) - progress.event.recordedAtMs);
    };
    const { outcome, state } = await run({ ...onePack([0, 1]), onProgress });
    expect(outcome).toBe("failed");
    expect(waits).toEqual([5_000, 10_000, Infinity]);
    expect(world.starts.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    for (const trial of Object.values(state.trials))
      expect(trial.state).toEqual({ at: "failed", code: "child_killed", domain: "infra", attempts: 3 });
  });

  it("costs the steps after the last checkpoint: the next attempt goes on from there, with the same execution", async () => {
    begin({ trials: () => ({ doneAt: 12 }) });
    const done = runSweep(world.controller().deps, onePack());
    await world.clock.until(() => world.processes[0]?.held?.step === 7);
    world.processes[0]?.die();
    const { outcome, state } = await world.clock.result(done);
    expect(outcome).toBe("done");
    const [first, second] = world.starts;
    expect(second).toMatchObject({ attempt: 2, resumeStep: 6 });
    expect(second?.spec).toEqual({ ...first?.spec, execution: expect.objectContaining({ dtypeReason: "simulated" }) });
    expect(Object.values(state.trials).map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1]);
    expect(world.processes.map(({ trainerId }) => trainerId.slice(-2))).toEqual(["t1", "t2"]);
  });

  it("repeats what was already said, which changes nothing", async () => {
    const sweep = onePack();
    const [first = ""] = sweep.plan.trials.map(({ id }) => id);
    begin({ trials: (id) => (id === first ? { doneAt: 12, divergesAt: 7 } : { doneAt: 12 }), checkpointEvery: 4 });
    const undisturbed = await run(sweep);
    world[Symbol.dispose]();
    begin(world.script);
    const done = runSweep(world.controller().deps, sweep);
    await world.clock.until(() => world.processes[0]?.held?.step === 7);
    world.processes[0]?.die(); // after the checkpoint of step 4: step 6 is evaluated again, and step 7 diverges again
    const { state } = await world.clock.result(done);
    expect(world.starts.at(-1)).toMatchObject({ attempt: 2, resumeStep: 4 });
    const results = (of: typeof state) =>
      Object.values(of.trials).map(({ outcome, validation, failure: why }) => ({ outcome, validation, why }));
    expect(results(state)).toEqual(results(undisturbed.state));
    expect(state.trials[first]?.state).toMatchObject({ at: "failed", attempts: 1 });
  });

  it("that cost the checkpoint too makes the run begin anew", async () => {
    begin({ trials: () => ({ doneAt: 6 }) });
    const done = runSweep(world.controller().deps, onePack());
    await world.clock.until(() => world.processes[0]?.held?.step === 5);
    world.processes[0]?.die();
    for (const folder of world.folders.values()) folder.checkpoints.clear();
    const { outcome } = await world.clock.result(done);
    expect(outcome).toBe("done");
    expect(world.starts.map(({ attempt, resumeStep }) => ({ attempt, resumeStep }))).toEqual([
      { attempt: 1, resumeStep: 0 },
      { attempt: 3, resumeStep: 0 }, // attempt 2 was refused: checkpoint_missing
    ]);
  });

  it("twice in a row on one trainer ends that trainer too: its breaker", async () => {
    begin({
      trials: anyTrial,
      failure: (_, attempt) => (attempt < 3 ? failure("child_killed", wire.Domain.INFRA) : null),
    });
    const { outcome } = await run(onePack());
    expect(outcome).toBe("done");
    expect(world.starts.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(world.processes.map(({ trainerId }) => trainerId.slice(-2))).toEqual(["t1", "t2"]);
  });

  it("of the device ends the trainer too, so that the next attempt has a fresh process", async () => {
    begin({
      trials: anyTrial,
      failure: (_, attempt) => (attempt === 1 ? failure("device_error", wire.Domain.INFRA) : null),
    });
    const { outcome } = await run(onePack());
    expect(outcome).toBe("done");
    expect(world.processes).toHaveLength(2);
  });
});

describe("breakers pause the sweep, which ends as stopped and can be resumed", () => {
  const taus = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
  const divergeFrom = (sweep: ReturnType<typeof request>, pick: (index: number) => boolean): World["script"] => ({
    trials: (id) =>
      pick(sweep.plan.trials.findIndex((trial) => trial.id === id)) ? { doneAt: 4, divergesAt: 1 } : { doneAt: 4 },
  });

  it.each([
    ["the first 3 trials fail with one code", (index: number) => index < 3, "the first 3 trials failed with diverged"],
    ["5 fail in a row", (index: number) => index >= 3 && index < 8, "5 trials failed in a row"],
    ["over 20 % of at least 10 fail", (index: number) => index % 4 === 1, "3 of 10 trials failed, more than 20 %"],
  ])("when %s", async (_, pick, reason) => {
    const sweep = request({ taus, maxTrials: 1 });
    begin(divergeFrom(sweep, pick));
    const { outcome, state } = await run(sweep);
    expect(outcome).toBe("stopped");
    expect(state.pausedBy).toEqual(expect.objectContaining({ code: "breaker", reason }));
    expect(Object.values(state.trials).some((trial) => trial.state.at === "queued")).toBe(true);
    expect(Object.values(state.trials).some((trial) => trial.state.at === "cancelled")).toBe(false);
    world.script = { trials: () => ({ doneAt: 4 }) };
    const again = await run(sweep);
    expect(again.outcome).toBe("failed"); // those that failed stay failed until somebody retries them
    expect(Object.values(again.state.trials).every((trial) => ["done", "failed"].includes(trial.state.at))).toBe(true);
  });

  it("when no trainer can be had; no trial pays", async () => {
    begin({ trials: anyTrial });
    const fault = new BoraError("environment_missing", "no trainer-py/.venv", { hint: "npx nx run trainer-py:venv" });
    const { outcome, state } = await run(onePack(), { placeFault: () => fault });
    expect(outcome).toBe("stopped");
    expect(state.pausedBy).toMatchObject({ code: "environment_missing", reason: "no trainer-py/.venv" });
    expect((await run(onePack())).outcome).toBe("done");
  });
});

describe("a disk that is full", () => {
  const fault = new BoraError("disk_full", "0 bytes left", { hint: "free some" });

  it.each([
    ["for a moment", 20_000, 1],
    ["for longer than the lease", 200_000, 2],
  ])("%s holds all commands back, then the sweep goes on and no attempt is charged", async (_, ms, starts) => {
    begin({ trials: () => ({ doneAt: 100 }) });
    let fullUntilMs = -1;
    const controller = world.controller({ storeFault: () => (world.clock.monotonicMs() < fullUntilMs ? fault : null) });
    const notices: string[] = [];
    const done = runSweep(controller.deps, {
      ...onePack(),
      onProgress: (progress) => progress.kind === "notice" && notices.push(progress.code),
    });
    await world.clock.until(() => world.processes[0]?.held?.step === 5);
    fullUntilMs = world.clock.monotonicMs() + ms;
    const { outcome, state } = await world.clock.result(done);
    expect(outcome).toBe("done");
    expect(notices).toContain("disk_full");
    expect(world.starts).toHaveLength(starts);
    expect(Object.values(state.trials).map(({ attempts }) => attempts)).toEqual([0, 0, 0, 0]);
  });

  it("lets a person leave who does not want to wait", async () => {
    begin({ trials: () => ({ doneAt: 12 }) });
    let full = false;
    const control = new SweepControl();
    const done = runSweep(world.controller({ storeFault: () => (full ? fault : null) }).deps, {
      ...onePack(),
      control,
    });
    await world.clock.until(() => world.processes[0]?.held?.step === 5);
    full = true;
    await world.clock.pass(5_000);
    control.send({ verb: "abandon" });
    await expect(world.clock.result(done)).rejects.toMatchObject({ code: "disk_full" });
  });

  it("for good ends the sweep with disk_full; later it goes on", async () => {
    begin({ trials: () => ({ doneAt: 12 }) });
    let full = false;
    const controller = world.controller({ storeFault: () => (full ? fault : null) });
    const done = runSweep({ ...controller.deps, diskPatienceMs: 600_000 }, onePack());
    await world.clock.until(() => world.processes[0]?.held?.step === 5);
    full = true;
    await expect(world.clock.result(done)).rejects.toMatchObject({ code: "disk_full" });
    const { outcome, state } = await run(onePack());
    expect(outcome).toBe("done");
    expect(Object.values(state.trials).map(({ attempts }) => attempts)).toEqual([0, 0, 0, 0]);
  });

  describe("on the trainer's side", () => {
    const once = () =>
      begin({
        trials: anyTrial,
        failure: (_, attempt) => (attempt === 1 ? failure("disk_full", wire.Domain.CONTROLLER) : null),
      });
    const attempts = (state: SweepEnd["state"]) => Object.values(state.trials).map((trial) => trial.attempts);

    it("pauses the sweep, which looks again and goes on by itself when there is room; nothing is charged", async () => {
      once();
      let looks = 0;
      const roomIn = async () => ((looks += 1) < 4 ? fault : null);
      const { outcome, state } = await world.clock.result(runSweep({ ...world.controller().deps, roomIn }, onePack()));
      expect(outcome).toBe("done");
      expect(looks).toBe(4);
      expect(events().filter((kind) => kind === "paused" || kind === "resumed")).toEqual(["paused", "resumed"]);
      expect(attempts(state)).toEqual([0, 0, 0, 0]);
    });

    it("for longer than anybody waits ends the sweep as stopped, to be resumed", async () => {
      once();
      const deps = { ...world.controller().deps, roomIn: async () => fault, diskPatienceMs: 600_000 };
      const { outcome, state } = await world.clock.result(runSweep(deps, onePack()));
      expect(outcome).toBe("stopped");
      expect(state.pausedBy).toMatchObject({ code: "disk_full" });
      const again = await run(onePack());
      expect(again.outcome).toBe("done");
      expect(attempts(again.state)).toEqual([0, 0, 0, 0]);
    });

    it("keeps nobody who wants to stop", async () => {
      once();
      const control = new SweepControl();
      const deps = { ...world.controller().deps, roomIn: async () => fault };
      const done = runSweep(deps, { ...onePack(), control });
      await world.clock.until(() => events().includes("paused"));
      control.send({ verb: "drain" });
      expect((await world.clock.result(done)).outcome).toBe("interrupted");
    });
  });
});
