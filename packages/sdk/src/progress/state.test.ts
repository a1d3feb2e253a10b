import { expect, test } from "vitest";
import type { SweepEvent } from "../sweep-event.js";
import { advance, noProgress } from "./state.js";

const trialIds = ["a"];
const inspected = { tasks: [{ name: "t" }], warnings: [], device: "" } as never;
const plan = { sweepId: "s", name: "s", trials: [{ id: "a", tau: 0, seed: 0 }], packs: [{ id: "p", trialIds }] };
const lease = { attempt: 1, trainerId: "t", trialIds, leaseMs: 1, firstSeq: 1, resumeStep: 0 };

const evaluated = (step: number, natsPerToken: number, complete: boolean): SweepEvent["event"] => ({
  ...{ kind: "evaluated", trialId: "a", scored: "task", split: "validation", tasks: [], best: true, seconds: 1 },
  ...{ step, natsPerToken, complete },
});

const fold = (events: readonly SweepEvent["event"][]) => {
  const state = noProgress(0);
  events.forEach((event, place) => {
    advance(state, {
      ...{ position: place + 1, at: place, sweepId: "s", seq: place + 1, attempt: 1 },
      runId: "r",
      event,
    });
  });
  return state;
};

const begun: SweepEvent["event"][] = [
  { kind: "sweep_planned", plan, experiment: {}, inspected },
  { kind: "lease_granted", runId: "r", ...lease },
];

test.each([true, false])(
  "evaluations count where they are of all documents (%s), the best step's second one does not",
  (all) => {
    const state = fold([
      ...begun,
      evaluated(4, 3, all),
      evaluated(8, 2, all),
      evaluated(12, 2.5, all),
      evaluated(8, 2, true),
    ]);
    expect(state.trials.get("a")?.validation).toEqual([3, 2, 2.5]);
  },
);

test("a sweep that ended and goes on has no outcome and does not drain any more", () => {
  const ended: SweepEvent["event"][] = [
    ...begun,
    { kind: "drain_requested" },
    { kind: "sweep_ended", outcome: "interrupted" },
  ];
  expect(fold(ended)).toMatchObject({ outcome: "interrupted", draining: false });
  expect(fold([...ended, { kind: "lease_granted", runId: "r", ...lease, attempt: 2 }])).toMatchObject({
    outcome: null,
  });
});

test("a trial keeps the newest evaluations alone", () => {
  const many = Array.from({ length: 1_000 }, (_, place) => evaluated(place + 1, place, true));
  const kept = fold([...begun, ...many]).trials.get("a")?.validation;
  expect(kept?.length).toBeLessThanOrEqual(400);
  expect(kept?.at(-1)).toBe(999);
});
