import { wire } from "@bora/contracts";
import { afterEach, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { runUses } from "./garbage.js";
import { runSweep } from "./run-sweep.js";
import { failure } from "./simulated-run.fixture.js";
import { SweepControl } from "./sweep-control.js";
import type { SweepState } from "./sweep-state.js";
import { anyTrial, World } from "./world.fixture.js";

let world: World;
afterEach(() => world[Symbol.dispose]());

const onePack = () => request({ taus: [0, 1], maxTrials: 8 });
const usesIn = (state: SweepState) => [...runUses(state).values()].map((use) => (use.at === "done" ? "done" : use.for));

it("a run whose results are fetched can go", async () => {
  world = new World({ trials: anyTrial });
  const { state } = await world.clock.result(runSweep(world.controller().deps, onePack()));
  expect(usesIn(state)).toEqual(["done"]);
});

it("a run is kept while an attempt may be at work, and for files that are not fetched", async () => {
  world = new World({ trials: anyTrial });
  const seen: string[] = [];
  const onProgress = (progress: { kind: string; state?: SweepState }) => {
    const [use] = progress.state === undefined ? [] : usesIn(progress.state);
    if (use !== undefined && use !== seen.at(-1)) seen.push(use);
  };
  await world.clock.result(runSweep(world.controller().deps, { ...onePack(), onProgress }));
  expect(seen).toEqual(["an attempt that may be at work", "result files that are not fetched", "done"]);
});

it("a run that was put down is kept for its checkpoint", async () => {
  world = new World({ trials: () => ({ doneAt: 50 }) });
  const control = new SweepControl();
  const done = runSweep(world.controller().deps, { ...onePack(), control });
  await world.clock.until(() => world.processes[0]?.held?.step === 7);
  control.send({ verb: "drain" });
  expect(usesIn((await world.clock.result(done)).state)).toEqual(["the base model's result files"]);
});

it("a run that the machine lost is kept, for `retry --lost` goes on from its checkpoint; a user's error leaves nothing", async () => {
  for (const [domain, code, use] of [
    [wire.Domain.INFRA, "child_killed", "a checkpoint to go on from"],
    [wire.Domain.USER, "spec_invalid", "done"],
  ] as const) {
    world = new World({ trials: anyTrial, failure: () => failure(code, domain) });
    const { state } = await world.clock.result(runSweep(world.controller().deps, onePack()));
    expect(usesIn(state)).toEqual([use]);
  }
});
