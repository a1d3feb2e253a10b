import { BoraError } from "@bora/contracts";
import type { ExperimentInput, Lab, SeriesOptions, SweepHandle } from "@bora/sdk";
import { describe, expect, test } from "vitest";
import { ScriptedSweep, scriptedLab, sweepId } from "../lab.fixture.js";
import { SweepsHere } from "./sweeps-here.js";

/** Labs that note what became of them. */
function bench(continued: (options: { onController?: () => Promise<void> }) => Promise<SweepHandle>) {
  const said: string[] = [];
  const openLab = (): Promise<Lab> => {
    said.push("open");
    return Promise.resolve({
      ...scriptedLab(new ScriptedSweep()),
      continue: (_id, _command, options = {}) => continued(options),
      sweep: (_spec, options = {}) => continued(options),
      [Symbol.asyncDispose]: () => {
        said.push("close");
        return Promise.resolve();
      },
    });
  };
  const serve = () => {
    said.push("serve");
    return Promise.resolve({
      [Symbol.asyncDispose]: () => {
        said.push("stop serving");
        return Promise.resolve();
      },
    });
  };
  return { said, here: new SweepsHere({ openLab, serve }) };
}

describe("a command to a sweep", () => {
  test("that nobody is at makes this process its controller until it ends, then the store is free again", async () => {
    const sweep = new ScriptedSweep();
    const { said, here } = bench(async ({ onController }) => {
      await onController?.();
      return sweep;
    });
    await here.send(sweepId, { verb: "resume" });
    expect([said, here.busy]).toEqual([["open", "serve"], true]);
    const drained = here.drain();
    sweep.finish();
    await drained;
    expect(sweep.commands).toEqual([{ verb: "drain" }]);
    expect([said, here.busy]).toEqual([["open", "serve", "stop serving", "close"], false]);
  });

  test("of another process is handed on, and nothing is kept", async () => {
    const elsewhere = Object.assign(Object.create(ScriptedSweep.prototype) as SweepHandle, { at: "elsewhere" });
    const { said, here } = bench(() => Promise.resolve(elsewhere));
    await here.send(sweepId, { verb: "cancel" });
    expect([said, here.busy]).toEqual([["open", "close"], false]);
  });

  test("that is refused leaves nothing behind", async () => {
    const refusal = new BoraError("store_busy", "pid 7", { hint: "" });
    const { said, here } = bench(async ({ onController }) => {
      await onController?.();
      throw refusal;
    });
    await expect(here.send(sweepId, { verb: "resume" })).rejects.toBe(refusal);
    expect([said, here.busy]).toEqual([["open", "serve", "stop serving", "close"], false]);
  });
});

test("an experiment that a program hands in is trained here, or by whoever trains it already", async () => {
  const sweep = new ScriptedSweep();
  const { said, here } = bench(async ({ onController }) => {
    await onController?.();
    return sweep;
  });
  expect(await here.sweep({} as ExperimentInput)).toBe(sweepId);
  expect([said, here.busy]).toEqual([["open", "serve"], true]);
  sweep.finish();
  await here.drain();
  expect([said, here.busy]).toEqual([["open", "serve", "stop serving", "close"], false]);
});

describe("work of several sweeps", () => {
  const answering = async (_lab: Lab, { onController, onSweep }: SeriesOptions) => {
    await onController?.();
    onSweep?.(new ScriptedSweep(), "the first");
    return "an answer";
  };

  test("makes this process the controller while it lasts", async () => {
    const { said, here } = bench(() => Promise.reject(new Error("no sweep here")));
    const heard: string[] = [];
    const asked = here.work(answering, { onSweep: ({ sweepId: id }, words) => heard.push(id, words) });
    expect(await asked).toBe("an answer");
    expect([said, heard, here.busy]).toEqual([
      ["open", "serve", "stop serving", "close"],
      [sweepId, "the first"],
      false,
    ]);
  });

  test.each(["drain", "abandon"] as const)("ends when this process is told to %s", async (verb) => {
    const { said, here } = bench(() => Promise.reject(new Error("no sweep here")));
    const asked = here.work(
      (_lab, { signal }) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener("abort", () => {
            reject(new BoraError("interrupted", "stopped", { hint: "" }));
          });
        }),
    );
    const ended = expect(asked).rejects.toMatchObject({ code: "interrupted" });
    await new Promise((resolve) => setImmediate(resolve));
    expect(here.busy).toBe(true);
    await here[verb]();
    await ended;
    expect([said, here.busy]).toEqual([["open", "close"], false]);
  });
});
