import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { runSweep } from "./run-sweep.js";
import { SweepControl } from "./sweep-control.js";
import type { SweepState } from "./sweep-state.js";
import { anyTrial, World } from "./world.fixture.js";

const sweep = request({ taus: [0, 1000, "inf"], maxTrials: 2 });
const [, second = ""] = sweep.plan.trials.map(({ id }) => id);
// Ends at different steps, and one diverges.
const script = { trials: (id: string) => (id === second ? { doneAt: 6, divergesAt: 3 } : anyTrial(id)) };

/** What happens to the trainers between one controller and the next. */
type Meanwhile = "at once" | "after the lease" | "trainers die too";

function files(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    entries.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [path.slice(folder.length), readFileSync(path, "utf8")];
    }),
  );
}

/** What a report is made of: nothing about runs, attempts or times. */
const results = (state: SweepState, out: string) => ({
  phase: state.phase,
  trials: Object.values(state.trials).map(
    ({ id, tau, seed, state: { at }, outcome, validation, failure, attempts, fetched }) => ({
      id,
      tau,
      seed,
      at,
      outcome,
      validation,
      failure,
      attempts,
      fetched, // prettier-ignore
    }),
  ),
  base: state.base?.fetched,
  files: files(join(out, state.sweepId)),
});

async function meanwhile(world: World, what: Meanwhile): Promise<void> {
  if (what === "trainers die too") world.living.forEach((one) => one.die());
  if (what === "after the lease") await world.clock.pass(90_000);
}

/** Runs a controller until it has stored so many events; whether that was before the sweep's end. */
async function crashAfter(world: World, events: number): Promise<boolean> {
  const controller = world.controller({ crashAfter: events });
  let ended = false;
  void runSweep(controller.deps, sweep).then(() => (ended = true));
  await world.clock.until(() => ended || controller.stored >= events);
  return !ended;
}

const finish = async (world: World) => {
  const { state } = await world.clock.result(runSweep(world.controller().deps, sweep));
  expect(world.living.map(({ trainerId }) => trainerId)).toEqual([]);
  expect(world.mostAtOnce).toBe(1);
  return results(state, world.out);
};

async function undisturbed(): Promise<{ events: number; results: ReturnType<typeof results> }> {
  using world = new World(script);
  return { results: await finish(world), events: world.storage.rows.length };
}

describe("a controller that is killed", () => {
  it.each<Meanwhile>(["at once", "after the lease", "trainers die too"])(
    "at any event, and started again (%s), comes to the results of an undisturbed sweep",
    async (what) => {
      const expected = await undisturbed();
      expect(expected.results.trials.map(({ at }) => at)).toEqual(["done", "failed", "done"]);
      for (let events = 1; events <= expected.events; events += 1) {
        using world = new World(script);
        expect(await crashAfter(world, events)).toBe(true);
        await meanwhile(world, what);
        expect({ events, ...(await finish(world)) }).toEqual({ events, ...expected.results });
      }
    },
    60_000,
  );

  it("adopts a trainer that lives, so that nothing is trained twice", async () => {
    const expected = await undisturbed();
    for (let events = 5; events < expected.events; events += 5) {
      using world = new World(script);
      await crashAfter(world, events);
      const training = world.living.some((one) => one.active);
      const before = world.starts.length;
      await finish(world);
      const attempts = world.starts.map(({ attempt }) => attempt);
      if (training) expect(Math.max(...attempts)).toBe(1);
      expect(world.starts.length - before).toBeLessThanOrEqual(2);
    }
  });

  it("is followed by one that leaves a trainer in use for questions alone, and ends every other", async () => {
    using world = new World(script);
    await crashAfter(world, 8);
    const { placer } = world.controller().deps;
    for (const trainerId of ["text-1", "another-sweep-t1"])
      await placer.place({ trainerId, leaseMs: 3_600_000 }, new AbortController().signal);
    await world.clock.result(runSweep(world.controller().deps, sweep));
    expect(world.living.map(({ trainerId }) => trainerId)).toEqual(["text-1"]);
  });

  it("again and again, or drained, or with its trainers, comes to the same", async () => {
    const expected = await undisturbed();
    const blow = fc.record({
      events: fc.integer({ min: 1, max: 40 }),
      what: fc.constantFrom<Meanwhile | "drain">("at once", "after the lease", "trainers die too", "drain"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(blow, { maxLength: 5 }), async (blows) => {
        using world = new World(script);
        for (const { events, what } of blows) {
          if (what !== "drain") {
            await crashAfter(world, events);
            await meanwhile(world, what);
            continue;
          }
          const control = new SweepControl();
          const controller = world.controller();
          const onProgress = () => void (controller.stored === events && control.send({ verb: "drain" }));
          await world.clock.result(runSweep(controller.deps, { ...sweep, control, onProgress }));
        }
        expect(await finish(world)).toEqual(expected.results);
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});
