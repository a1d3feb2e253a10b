import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inspected, request } from "./experiment.fixture.js";
import { foldSweep } from "./fold-sweep.js";
import { plan } from "./plan.js";
import { runSweep, type SweepProgress } from "./run-sweep.js";
import { natsAt } from "./simulated-run.fixture.js";
import { World } from "./world.fixture.js";

let world: World;
beforeEach(() => {
  world = new World({ trials: () => ({ doneAt: 6 }) });
});
afterEach(() => world[Symbol.dispose]());

const run = (what: Parameters<typeof runSweep>[1], options = {}) =>
  world.clock.result(runSweep(world.controller(options).deps, what));

describe("a sweep of three taus in two packs", () => {
  it("trains each pack once, one after another on one trainer, and ends done", async () => {
    const sweep = request();
    expect(sweep.plan.packs.map(({ trialIds }) => trialIds.length)).toEqual([2, 1]);
    const { outcome, state } = await run(sweep);
    expect(outcome).toBe("done");
    expect(world.starts.map(({ attempt, firstSeq, resumeStep }) => ({ attempt, firstSeq, resumeStep }))).toEqual([
      { attempt: 1, firstSeq: 1, resumeStep: 0 },
      { attempt: 1, firstSeq: 1, resumeStep: 0 },
    ]);
    expect(world.processes).toHaveLength(1);
    for (const trial of Object.values(state.trials)) {
      expect(trial.state).toEqual({ at: "done", runId: trial.runId, nllPerToken: natsAt(trial.id, 4) });
      const ending = { steps: 6, bestStep: 4, ended: "validation", float32Check: null };
      expect(trial.outcome).toEqual({ ...ending, nllPerToken: natsAt(trial.id, 4) });
      expect(trial.validation.steps).toEqual([2, 4, 6]);
      expect(trial.validation.natsPerToken[0]).toBeCloseTo(natsAt(trial.id, 2), 12);
      expect(trial.attempts).toBe(0);
    }
  });

  it("sends every tau, infinity included, and asks for the base model's nats once", async () => {
    await run(request());
    expect(world.starts.flatMap(({ spec }) => spec.fits.map(({ tau }) => tau)).sort((a, b) => a - b)).toEqual([
      0,
      1000,
      Infinity,
    ]);
    expect(world.starts.map(({ spec }) => spec.evaluateBase)).toEqual([true, false]);
    expect(world.starts[0]?.spec.train?.tokensPerTask).toBe(96);
  });

  it("scores adapters that exist in packs too, each run with its own, and asks for no base beside them", async () => {
    const { experiment: trained } = request();
    const adapters = [{ name: "base" }, { name: "one", path: "/one" }, { name: "two", path: "/two" }];
    const experiment = { ...trained, evaluate: { float32Check: false, adapters } };
    const folders = ["/one", "/two"].map((path) => ({ path, sha256: `of ${path}` }));
    const looked = { ...inspected, adapterFolders: folders };
    await run({ experiment, inspected: looked, plan: plan(experiment, looked, { memoryBytes: Infinity }) });
    expect(world.starts.map(({ spec }) => spec.evaluate?.adapters)).toEqual([
      [
        { path: "", sha256: "" },
        { path: "/one", sha256: "of /one" },
      ],
      [{ path: "/two", sha256: "of /two" }],
    ]);
    expect(world.starts.map(({ spec }) => [spec.fits.length, spec.evaluateBase])).toEqual([
      [2, false],
      [1, false],
    ]);
  });

  it("leaves the files of every trial and of the base model in the sweep's folder", async () => {
    const { state } = await run(request());
    const folder = join(world.out, state.sweepId);
    expect(readFileSync(join(folder, "base/documents.jsonl"), "utf8")).toBe(`{"model":"base"}\n`);
    for (const { id } of Object.values(state.trials)) {
      expect(readFileSync(join(folder, "trials", id, "documents.jsonl"), "utf8")).toContain(id);
      for (const slug of ["romeo", "juliet", "prior-mean"])
        expect(readFileSync(join(folder, "adapters", id, slug, "adapter_model.safetensors"), "utf8")).toBe(
          `${id} ${slug} adapter_model.safetensors`,
        );
    }
  });

  it("has a state that can be written as JSON", async () => {
    const { state } = await run(request({ taus: [0, 1] }));
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  });

  it("leaves no trainer behind", async () => {
    await run(request());
    expect(world.living).toEqual([]);
  });

  it("shows each event after it is stored, once, with the state that it made", async () => {
    const seen: SweepProgress[] = [];
    const { state } = await run({ ...request(), onProgress: (progress) => seen.push(progress) });
    expect(seen.map((progress) => (progress.kind === "event" ? progress.event.position : progress.code))).toEqual(
      world.storage.rows.map((_, index) => index + 1),
    );
    expect(seen.at(-1)).toMatchObject({ kind: "event", state: { position: state.position } });
  });

  it("has the state that anyone folds from the store", async () => {
    const { state } = await run(request());
    expect(await foldSweep(world.controller().deps.store, state.sweepId)).toEqual(state);
  });

  it("works on two packs at once with two trainers, and scores the base model once", async () => {
    const { outcome } = await run(request(), { maxTrainers: 2 });
    expect(outcome).toBe("done");
    expect(world.mostAtOnce).toBe(2);
    expect(world.starts.filter(({ spec }) => spec.evaluateBase)).toHaveLength(1);
  });
});

describe("again", () => {
  it("a finished sweep trains nothing and stores nothing", async () => {
    const first = await run(request());
    const rows = world.storage.rows.length;
    const second = await run(request());
    expect(second).toEqual(first);
    expect(world.storage.rows).toHaveLength(rows);
    expect(world.processes).toHaveLength(1);
  });

  it("by its id alone it is found too; an unknown id is sweep_unknown", async () => {
    const { state } = await run(request());
    expect((await run({ sweepId: state.sweepId })).state).toEqual(state);
    await expect(run({ sweepId: "nobody-00000000" })).rejects.toMatchObject({ code: "sweep_unknown" });
  });

  it("new taus train alone, and the finished trials come along with their files", async () => {
    const old = await run(request({ taus: [0, 1000] }));
    const wider = request({ taus: [0, 1000, "inf"] });
    const { outcome, state } = await run(wider);
    expect(outcome).toBe("done");
    expect(state.sweepId).not.toBe(old.state.sweepId);
    expect(world.starts.map(({ spec }) => spec.fits.map(({ tau }) => tau))).toEqual([[0, 1000], [Infinity]]);
    const adopted = Object.values(state.trials).filter(({ adoptedFrom }) => adoptedFrom === old.state.sweepId);
    expect(adopted.map(({ tau }) => tau)).toEqual([0, 1000]);
    for (const trial of adopted) {
      expect(trial.outcome).toEqual(old.state.trials[trial.id]?.outcome);
      expect(existsSync(join(world.out, state.sweepId, "adapters", trial.id, "romeo", "adapter_config.json"))).toBe(
        true,
      );
    }
  });

  it("the base model's nats come along with adopted trials, so that no run scores it again", async () => {
    await run(request({ taus: [0] }));
    const { state } = await run(request({ taus: [0, 1000] }));
    expect(world.starts.map(({ spec }) => spec.evaluateBase)).toEqual([true, false]);
    expect(state.base?.fetched).toBe(true);
    expect(existsSync(join(world.out, state.sweepId, "base/documents.jsonl"))).toBe(true);
  });

  it("a sweep of adopted trials only starts no trainer", async () => {
    await run(request({ taus: [0, 1000] }));
    const { outcome, state } = await run(request({ taus: [0], name: "other" }));
    expect(outcome).toBe("done");
    expect(world.processes).toHaveLength(1);
    expect(existsSync(join(world.out, state.sweepId, "base/documents.jsonl"))).toBe(true);
  });

  it("a trial that the plan took for finished, and that is not, is trained all the same", async () => {
    const { experiment, plan: whole } = request();
    const finished = new Set(whole.trials.slice(0, 1).map(({ id }) => id));
    const rest = plan(experiment, inspected, { memoryBytes: Infinity }, finished);
    expect((await run({ experiment, inspected, plan: rest })).outcome).toBe("done");
    expect(world.starts.flatMap(({ spec }) => spec.fits)).toHaveLength(3);
  });

  it("packs hold only what is not finished", () => {
    const { experiment, plan: whole } = request();
    const [first] = whole.trials;
    const rest = plan(experiment, inspected, { memoryBytes: Infinity }, new Set([first?.id ?? ""]));
    expect(rest.sweepId).toBe(whole.sweepId);
    expect(rest.packs.flatMap(({ trialIds }) => trialIds)).toEqual(whole.trials.slice(1).map(({ id }) => id));
  });
});
