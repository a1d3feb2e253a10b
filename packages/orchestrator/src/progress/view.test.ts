import { describe, expect, test } from "vitest";
import { progress } from "@bora/sdk/controller";
import {
  endOfMidway,
  eventsOf,
  filled,
  leased,
  midway,
  planned,
  started,
  steps,
  trials,
  validated,
} from "./sweep.fixture.js";
import { view } from "./view.js";

const { advance, noProgress, timeLeft } = progress;

const startOf = (events: typeof midway) => events[0]?.at ?? 0;
const fold = (events = midway) => events.reduce(advance, noProgress(startOf(events)));
const draw = (columns: number, rows = 40) => view(fold(), { columns, rows, nowMs: endOfMidway });

describe("the live view", () => {
  test("at 80 columns", () => {
    expect(`\n${draw(80).join("\n")}\n`).toMatchInlineSnapshot(`
      "
      tiny-0123abcd  1/3 trials ended  base 190.6  elapsed 0:12
      pack 1/1  step 50/400  2.0k tok/s  ETA <= 0:54  ████░░░░░░░░░░░░░░░░░░░░░░░░░░░░
           tau    train  validation  perplexity   best  state             trend
             0   4.0000      4.7000       109.9    @50  done @50          █▁
           1e3   4.1000      4.8500       127.7    @25  training          ▁
           inf   4.2000      4.9500       141.2    @25  training          ▁
      "
    `);
  });

  test("at 200 columns", () => {
    expect(`\n${draw(200).join("\n")}\n`).toMatchInlineSnapshot(`
      "
      tiny-0123abcd  1/3 trials ended  2 tasks  base 190.6  elapsed 0:12
      pack 1/1  step 50/400  2.0k tok/s  ETA <= 0:54  6 rows on cpu bfloat16  checkpoint @25  ████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
           tau    train  validation  perplexity   best  state             validation at every evaluation
             0   4.0000      4.7000       109.9    @50  done @50          █▁                                        4.750 4.700
           1e3   4.1000      4.8500       127.7    @25  training          ▁                                         4.850
           inf   4.2000      4.9500       141.2    @25  training          ▁                                         4.950
      "
    `);
  });

  test.each([20, 40, 60, 80, 100, 120, 200, 300])("no line is longer than %i columns", (columns) => {
    for (const line of draw(columns)) expect(line.length).toBeLessThanOrEqual(columns);
  });

  test("fits the rows of a terminal and says what it left out", () => {
    const many = Array.from({ length: 40 }, (_, index) => ({ id: `t${index}`, tau: index, seed: 0 }));
    if (planned.kind !== "sweep_planned" || leased.kind !== "lease_granted") throw new Error("fixture");
    const state = fold(
      eventsOf([
        { ...planned, plan: { ...planned.plan, trials: many } },
        { ...leased, trialIds: many.map(({ id }) => id) },
      ]),
    );
    const lines = view(state, { columns: 80, rows: 24, nowMs: endOfMidway });
    expect(lines.length).toBeLessThan(24);
    expect(lines.at(-1)).toMatch(/^… \d+ lines more$/);
  });

  test("tells how long it takes at most from the wall time of the steps so far", () => {
    const state = fold(eventsOf([planned, leased, started, steps(25), steps(50)]));
    const [pack] = state.packs.values();
    if (pack === undefined) throw new Error("no pack");
    expect(timeLeft(state, pack)).toBeCloseTo(((400 - 50) * 2000) / 50, 6); // 50 steps took 2 s of the fixture's clock
  });
});

describe("the fold", () => {
  test("an event delivered again changes nothing that is shown, but for the validation curve's own events", () => {
    const again = fold(midway);
    const last = midway.at(-1);
    if (last === undefined) throw new Error("fixture");
    expect(advance(again, last)).toEqual(again);
  });

  test("hidden states are noted until all are there", () => {
    const note = (...tokens: number[]) =>
      [...fold(eventsOf([planned, leased, started, ...tokens.map(filled)])).packs.values()][0]?.note;
    expect([note(0), note(79_999), note(79_999, 80_000)]).toEqual(["hidden states 0 %", "hidden states 99 %", ""]);
  });

  test("a resumed run goes on counting from its checkpoint", () => {
    if (leased.kind !== "lease_granted" || started.kind !== "run_started") throw new Error("fixture");
    const resumed = fold(
      eventsOf([
        planned,
        leased,
        started,
        steps(25),
        { ...leased, attempt: 2, resumeStep: 25 },
        { ...started, step: 25 },
      ]),
    );
    const [pack] = resumed.packs.values();
    expect(resumed.packs.size).toBe(1);
    expect(pack).toMatchObject({ number: 1, attempt: 2, step: 25, firstStep: 25 });
  });

  test("an evaluation of every document at the end is not an evaluation while training", () => {
    const trial = trials[0]?.id ?? "";
    const end = { ...validated(trial, 25, 4.6), complete: true };
    const state = fold(eventsOf([planned, leased, started, validated(trial, 25, 4.75), end]));
    expect(state.trials.get(trial)?.validation).toEqual([4.75]);
  });

  test("a pause, a drain and the end are shown", () => {
    const stopped = fold(
      eventsOf([
        planned,
        { kind: "paused", code: "diverged", reason: "3 of 3 trials failed" },
        { kind: "drain_requested" },
      ]),
    );
    expect(stopped).toMatchObject({ paused: "diverged: 3 of 3 trials failed", draining: true });
    expect(fold(eventsOf([planned, { kind: "sweep_ended", outcome: "done" }])).outcome).toBe("done");
  });
});
