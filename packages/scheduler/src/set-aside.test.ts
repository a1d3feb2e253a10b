import { wire } from "@bora/contracts";
import { afterEach, describe, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { runSweep, type SweepProgress } from "./run-sweep.js";
import { failure } from "./simulated-run.fixture.js";
import { setAsideMs } from "./trainer-pool.js";
import { World, type ControllerOptions } from "./world.fixture.js";

let world: World;
afterEach(() => world[Symbol.dispose]());

const begin = (script: World["script"]) => (world = new World(script));
const run = (what: Parameters<typeof runSweep>[1], options: ControllerOptions = {}) =>
  world.clock.result(runSweep(world.controller(options).deps, what));

describe("a fault of a machine whose trainers run before the sweep", () => {
  const broken = failure("internal", wire.Domain.INFRA); // two in a row are needed, but one where it was set aside
  /** Runs begin there, with the address and the second; they fail while `isBroken`. */
  const began = (isBroken: (address: string, atMs: number) => boolean) => {
    const starts: [address: string, seconds: number][] = [];
    begin({
      trials: () => ({ doneAt: 4 }),
      failure: (runId) => {
        const holder = world.living.find(({ held }) => held?.folder.runId === runId);
        const address = (holder && world.addressOf.get(holder)) ?? "";
        starts.push([address, Math.floor(world.clock.monotonicMs() / 1000)]);
        return isBroken(address, world.clock.monotonicMs()) ? broken : null;
      },
    });
    return starts;
  };

  it("twice in a row sets it aside for ten minutes; one more there, and it is set aside again", async () => {
    const starts = began((_, atMs) => atMs < 900_000);
    const notices: SweepProgress[] = [];
    const onProgress = (progress: SweepProgress) => void (progress.kind === "notice" && notices.push(progress));
    const { outcome } = await run({ ...request({ taus: [0, 1], maxTrials: 1 }), onProgress }, { addresses: ["a:1"] });
    expect(outcome).toBe("done");
    const waits = starts.slice(1).map(([, seconds], index) => seconds - (starts[index]?.[1] ?? 0));
    expect(waits.map((seconds) => Math.round(seconds / 60))).toEqual([0, 10, 10, 0]);
    expect(notices).toMatchObject([1, 2].map(() => ({ code: "busy", message: expect.stringContaining("10 min") })));
  });

  it("leaves the sweep to the others", async () => {
    const starts = began((address) => address === "a:1");
    const options = { addresses: ["a:1", "b:1"], maxTrainers: 2 };
    const { outcome, state } = await run(request({ taus: [0, 1, 10, 100], maxTrials: 1 }), options);
    expect(outcome).toBe("done");
    expect(starts.filter(([address]) => address === "a:1")).toHaveLength(2);
    expect(starts.filter(([address]) => address === "b:1")).toHaveLength(4);
    expect(world.clock.monotonicMs()).toBeLessThan(setAsideMs); // nobody waited for the other
    expect(state.phase).toMatchObject({ at: "ended" });
  });
});
