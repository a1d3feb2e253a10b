import { afterEach, describe, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { runSweep, type SweepProgress } from "./run-sweep.js";
import { refuse } from "./simulated-trainer.fixture.js";
import { World } from "./world.fixture.js";

let world: World;
afterEach(() => world[Symbol.dispose]());

const begin = (script: World["script"]) => (world = new World(script));
const events = () => world.storage.rows.map(({ kind }) => kind);
const onePack = () => request({ taus: [0, 1, 10, 100], maxTrials: 8 });

describe("a silent trainer", () => {
  it("that placement says is gone is given up at once", async () => {
    begin({ trials: () => ({ doneAt: 12 }) });
    const done = runSweep(world.controller().deps, onePack());
    await world.clock.until(() => world.processes[0]?.held?.step === 3);
    const atMs = world.clock.monotonicMs();
    world.processes[0]?.die();
    await world.clock.until(() => events().includes("attempt_failed"));
    expect(world.clock.monotonicMs() - atMs).toBeLessThanOrEqual(10_000);
    await world.clock.result(done);
  });

  it("that is still there is suspected after 30 s and given up 15 s after its lease", async () => {
    begin({ trials: () => ({ doneAt: 12 }) });
    const seen: SweepProgress[] = [];
    const done = runSweep(world.controller().deps, { ...onePack(), onProgress: (progress) => seen.push(progress) });
    await world.clock.until(() => world.processes[0]?.held?.step === 3);
    const atMs = world.clock.monotonicMs();
    const [process] = world.processes;
    if (process) process.frozen = true;
    await world.clock.until(() => seen.some(({ kind }) => kind === "notice"));
    expect(world.clock.monotonicMs() - atMs).toBeGreaterThanOrEqual(20_000);
    await world.clock.until(() => events().includes("lease_expired"));
    expect(world.clock.monotonicMs() - atMs).toBeGreaterThan(60_000 + 15_000 - 10_000);
    const { outcome, state } = await world.clock.result(done);
    const decided = seen.map((told) =>
      told.kind === "event" && "event" in told.event.body ? told.event.body.event : null,
    );
    expect(decided).toContainEqual(expect.objectContaining({ kind: "attempt_failed", code: "lease_expired" }));
    expect(outcome).toBe("done");
    expect(process?.alive).toBe(false);
    expect(world.starts.at(-1)).toMatchObject({ attempt: 2, resumeStep: 2 });
    expect(Object.values(state.trials).map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1]);
  });

  it("that cannot be reached leaves at the end of its lease, and what it did until then is read from its folder", async () => {
    begin({ trials: () => ({ doneAt: 100 }) });
    const done = runSweep(world.controller().deps, onePack());
    await world.clock.until(() => world.processes[0]?.held?.step === 3);
    const [process] = world.processes;
    if (process) process.unreachable = true;
    const { outcome } = await world.clock.result(done);
    expect(outcome).toBe("done");
    expect(world.starts.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(world.starts.at(-1)?.resumeStep).toBeGreaterThan(50);
  });

  it("keeps a lease that is shorter than the usual time between renewals", async () => {
    begin({ trials: () => ({ doneAt: 60 }) });
    const { outcome } = await world.clock.result(runSweep({ ...world.controller().deps, leaseMs: 6_000 }, onePack()));
    expect(outcome).toBe("done");
    expect(world.starts).toHaveLength(1);
  });

  it("that does not answer its first call is ended, and another is placed", async () => {
    begin({ trials: () => ({ doneAt: 12 }) });
    let faults = 1;
    const connectFault = () => (faults-- > 0 ? refuse("trainer_lost") : null);
    const { outcome } = await world.clock.result(runSweep(world.controller({ connectFault }).deps, onePack()));
    expect(outcome).toBe("done");
    expect(world.processes.map(({ alive }) => alive)).toEqual([false, false]);
    expect(world.mostAtOnce).toBe(1);
  });

  it("for less than its lease costs nothing", async () => {
    begin({ trials: () => ({ doneAt: 60 }) });
    const done = runSweep(world.controller().deps, onePack());
    await world.clock.until(() => world.processes[0]?.held?.step === 3);
    const [process] = world.processes;
    if (process) process.unreachable = true;
    await world.clock.pass(40_000);
    if (process) process.unreachable = false;
    const { outcome } = await world.clock.result(done);
    expect(outcome).toBe("done");
    expect(world.starts).toHaveLength(1);
  });
});
