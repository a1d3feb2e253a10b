import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { readResultFiles } from "./result-files.js";
import { runSweep, type SweepProgress } from "./run-sweep.js";
import { artifactJson } from "./simulated-run.fixture.js";
import { World } from "./world.fixture.js";

let world: World;
beforeEach(() => {
  world = new World({ trials: () => ({ doneAt: 4 }) });
});
afterEach(() => world[Symbol.dispose]());

const sweep = request({ taus: [0] });
const [trialId = ""] = sweep.plan.trials.map(({ id }) => id);
const run = (what: Parameters<typeof runSweep>[1] = sweep, options = {}) =>
  world.clock.result(runSweep(world.controller(options).deps, what));
const inSweep = (...path: string[]) => join(world.out, sweep.plan.sweepId, ...path);
const adapter = () => inSweep("adapters", trialId, "romeo", "adapter_model.safetensors");

/** Runs until a trial's result is stored, and kills the controller before it fetched anything. */
async function untilTrialDone() {
  const controller = world.controller();
  const onProgress = (progress: SweepProgress) => {
    if (progress.kind === "event" && progress.state.trials[trialId]?.state.at === "done") controller.crash();
  };
  void runSweep(controller.deps, { ...sweep, onProgress });
  await world.clock.until(() => world.folders.size > 0 && world.processes[0]?.active === false);
}

describe("result files", () => {
  it("are fetched by the next controller when the first one died before", async () => {
    await untilTrialDone();
    expect(existsSync(adapter())).toBe(false);
    const { outcome } = await run();
    expect(outcome).toBe("done");
    expect(readFileSync(adapter(), "utf8")).toContain(trialId);
    expect(world.starts).toHaveLength(1);
  });

  it("are served by a new trainer of the same machine when the one that wrote them is gone", async () => {
    await untilTrialDone();
    world.living.forEach((one) => one.die());
    const { outcome } = await run();
    expect(outcome).toBe("done");
    expect(existsSync(adapter())).toBe(true);
    expect(world.processes).toHaveLength(2);
  });

  it("that are already there in full are not fetched again, and one that was cut is", async () => {
    await untilTrialDone();
    const size = `${trialId} romeo adapter_model.safetensors`.length;
    mkdirSync(dirname(adapter()), { recursive: true });
    writeFileSync(adapter(), "x".repeat(size));
    writeFileSync(join(dirname(adapter()), "adapter_config.json"), "cut");
    expect((await run()).outcome).toBe("done");
    expect(readFileSync(adapter(), "utf8")).toBe("x".repeat(size));
    expect(readFileSync(join(dirname(adapter()), "adapter_config.json"), "utf8")).toContain(trialId);
  });

  it("that are gone on the trainer's side leave the trial without a result, after 3 tries; a retry trains it", async () => {
    await untilTrialDone();
    const folder = [...world.folders.values()][0];
    const path = `trials/${trialId}/adapters/romeo/adapter_model.safetensors`;
    folder?.files.delete(path);
    const notices: string[] = [];
    const { outcome, state } = await run({
      ...sweep,
      onProgress: (progress) => progress.kind === "notice" && notices.push(progress.code),
    });
    expect(outcome).toBe("failed");
    expect(state.trials[trialId]).toMatchObject({
      state: { at: "metrics_missing" },
      failure: { code: "artifact_corrupt", hint: expect.stringContaining("bora retry --missing") },
    });
    expect(notices).toEqual(["artifact_corrupt", "artifact_corrupt", "artifact_corrupt"]);
    expect((await run({ ...sweep, requeue: { by: "missing" } })).outcome).toBe("done");
    expect(world.starts.map(({ attempt }) => attempt)).toEqual([1, 1]); // a run of its own
  });

  describe("that were fetched before the controller died", () => {
    const two = request({ taus: [0, 1], maxTrials: 2 });
    const [first = ""] = two.plan.trials.map(({ id }) => id);
    const documents = () => join(world.out, two.plan.sweepId, "trials", first, "documents.jsonl");
    /** Kills the controller when the first trial's files are here, while the second still trains. */
    async function untilFetched(): Promise<void> {
      world.script = { trials: (id) => ({ doneAt: id === first ? 4 : 12 }) };
      const controller = world.controller();
      let fetched = false;
      const onProgress = (progress: SweepProgress) => {
        if (progress.kind !== "event" || progress.state.trials[first]?.fetched !== true) return;
        fetched = true;
        controller.crash();
      };
      void runSweep(controller.deps, { ...two, onProgress });
      await world.clock.until(() => fetched);
    }

    it.each([
      ["cut short", "x"],
      ["changed in place", null],
    ])("and %s meanwhile are fetched again", async (_, content) => {
      await untilFetched();
      const whole = readFileSync(documents(), "utf8");
      writeFileSync(documents(), content ?? whole.replace("nats", "NATS"));
      const notices: string[] = [];
      const { outcome } = await run({
        ...two,
        onProgress: (progress) => progress.kind === "notice" && notices.push(progress.code),
      });
      expect(outcome).toBe("done");
      expect(notices).toEqual(["artifact_corrupt"]);
      expect(readFileSync(documents(), "utf8")).toBe(whole);
    });

    it("and are lost on both sides leave the trial without a result", async () => {
      await untilFetched();
      rmSync(documents());
      [...world.folders.values()][0]?.files.delete(`trials/${first}/documents.jsonl`);
      const { outcome, state } = await run(two);
      expect(outcome).toBe("failed");
      expect(state.trials[first]).toMatchObject({ state: { at: "metrics_missing" }, fetched: false });
    });
  });

  it("are those that the manifest names: distances beside the documents, none where an older trainer wrote none", async () => {
    await untilTrialDone();
    const file = inSweep("trials", trialId, "distances.json");
    expect((await run()).outcome).toBe("done");
    expect(readFileSync(file, "utf8")).toContain(trialId);
    const manifest = inSweep("trials", trialId, "manifest.json");
    const { distances: _, ...older } = JSON.parse(readFileSync(manifest, "utf8")) as Record<string, unknown>;
    writeFileSync(manifest, JSON.stringify(older));
    const files = await readResultFiles(inSweep(), trialId);
    expect(files.map(({ to }) => to)).toContain(inSweep("trials", trialId, "documents.jsonl"));
    expect(files.map(({ to }) => to)).not.toContain(file);
  });

  it("cannot leave the sweep's folder: a manifest that names another place is refused", async () => {
    await untilTrialDone();
    const folder = [...world.folders.values()][0];
    const documents = folder?.write(`trials/${trialId}/documents.jsonl`, "{}");
    if (!folder || !documents) throw new Error("no run");
    const manifest = JSON.stringify({ documents: artifactJson(documents), adapters: { "../../elsewhere": [] } });
    folder.files.set(`trials/${trialId}/manifest.json`, Buffer.from(manifest));
    const { outcome, state } = await run();
    expect(outcome).toBe("failed");
    expect(state.trials[trialId]?.state.at).toBe("metrics_missing");
  });
});

describe("an adopted trial's files", () => {
  const wider = request({ taus: [0, 1] });
  const there = () => join(world.out, wider.plan.sweepId, "adapters", trialId, "romeo", "adapter_model.safetensors");

  it("are linked, not copied, where the disk allows", async () => {
    await run();
    await run(wider);
    expect(statSync(there()).ino).toBe(statSync(adapter()).ino);
  });

  it("come from the trainer's folder when the other sweep's were deleted or cut", async () => {
    await run();
    rmSync(inSweep("adapters"), { recursive: true });
    writeFileSync(inSweep("trials", trialId, "documents.jsonl"), "cut");
    const { outcome } = await run(wider);
    expect(outcome).toBe("done");
    expect(readFileSync(there(), "utf8")).toContain(trialId);
  });
});
