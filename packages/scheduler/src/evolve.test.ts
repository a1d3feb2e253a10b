import { wire, type ControlEvent } from "@bora/contracts";
import type { StoredEvent } from "@bora/store";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { request } from "./experiment.fixture.js";
import { evolve, evolveAll } from "./evolve.js";
import { runSweep } from "./run-sweep.js";
import { emptySweep, type SweepState } from "./sweep-state.js";
import { World } from "./world.fixture.js";

const sweep = request({ taus: [0, 10, 1000, "inf"], maxTrials: 3 });
const { sweepId } = sweep.plan;
const fold = (events: readonly StoredEvent[], from: SweepState = emptySweep(sweepId)) => events.reduce(evolve, from);

/** The log of a sweep with everything in it: a lost trainer, a repeated stretch, a trial that diverges. */
async function richLog(): Promise<StoredEvent[]> {
  const [first] = sweep.plan.trials;
  using world = new World({ trials: (id) => (id === first?.id ? { doneAt: 8, divergesAt: 5 } : { doneAt: 8 }) });
  const controller = world.controller();
  const done = runSweep(controller.deps, sweep);
  await world.clock.until(() => world.processes[0]?.held?.step === 5);
  world.processes[0]?.die();
  await world.clock.result(done);
  const events: StoredEvent[] = [];
  for await (const event of controller.deps.store.read({ sweepId })) events.push(event);
  return events;
}

let log: StoredEvent[] = [];
beforeAll(async () => {
  log = await richLog();
});

describe("the fold of a log", () => {
  it("has something of everything to lose", () => {
    const kinds = new Set(
      log.map(({ body }) => (body.stream === "control" ? body.event.kind : body.event.body?.$case)),
    );
    for (const kind of [
      "attempt_failed",
      "trialFailed",
      "trialDone",
      "checkpointSaved",
      "evaluated",
      "artifacts_fetched",
    ])
      expect(kinds).toContain(kind);
  });

  it("is not changed by delivering any part of it again", () => {
    const whole = fold(log);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(log.length - 1), fc.nat(log.length))), (again) => {
        const twice = again.reduce((state, [from, to]) => fold(log.slice(from, to), state), whole);
        expect(twice).toBe(whole);
      }),
    );
  });

  it("finds no trial and no run under the names that every object has", () => {
    const planned = log[0];
    if (planned === undefined) throw new Error("an empty log");
    const names = ["constructor", "__proto__", "toString"];
    const event = { kind: "metrics_missing", trialIds: names, runId: "constructor", lastSeq: 1 } as const;
    const told: StoredEvent = { ...planned, position: 2, seq: 2, body: { stream: "control", event } };
    expect(fold([planned, told]).trials).toEqual(fold([planned]).trials);
    const body = wire.Event.fromPartial({ runId: "constructor", seq: 1, trialId: "constructor" });
    const foreign: StoredEvent = {
      ...told,
      position: 3,
      runId: "constructor",
      seq: 1,
      body: { stream: "trainer", event: body },
    };
    const before = fold([planned, told]);
    expect(fold([foreign], before)).toBe(before);
  });

  it("is the same when it was cut anywhere and delivered from any earlier event on", () => {
    fc.assert(
      fc.property(fc.nat(log.length), fc.double({ min: 0, max: 1, noNaN: true }), (cut, share) => {
        const from = Math.floor(cut * share);
        expect(fold(log.slice(from), fold(log.slice(0, cut)))).toEqual(fold(log));
      }),
    );
  });

  it("is the same when a trainer's events come in any order, repeated, before they come in theirs", () => {
    fc.assert(
      fc.property(fc.nat(log.length), fc.nat(30), fc.infiniteStream(fc.nat()), (start, length, picks) => {
        const end = log.findIndex((event, index) => index >= start && event.body.stream === "control");
        const stretch = log.slice(start, Math.min(start + length, end < 0 ? log.length : end));
        const shuffled =
          stretch.length === 0 ? [] : [...picks.take(40)].flatMap((pick) => stretch[pick % stretch.length] ?? []);
        expect(fold(log.slice(start), fold(shuffled, fold(log.slice(0, start))))).toEqual(fold(log));
      }),
    );
  });

  it("is the same in batches of any size, and a batch leaves what it began with as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
        let state = emptySweep(sweepId);
        for (let at = 0, turn = 0; at < log.length; turn += 1) {
          const batch = log.slice(at, (at += sizes[turn % sizes.length] ?? 1));
          const before = structuredClone(state);
          const next = evolveAll(state, batch);
          expect(state).toEqual(before);
          state = next;
        }
        expect(state).toEqual(fold(log));
        expect(evolveAll(state, log)).toBe(state);
      }),
      { numRuns: 30 },
    );
  });

  it("ignores events of a run that no lease names", () => {
    const [event] = log.filter(({ body }) => body.stream === "trainer");
    if (event === undefined) throw new Error("no event");
    const state = fold(log.slice(0, 1));
    expect(evolve(state, { ...event, runId: "ffffffff-ffff-4fff-8fff-ffffffffffff" })).toBe(state);
  });
});

describe("the table of operations.md, section 2", () => {
  const trial = sweep.plan.trials[0]?.id ?? "";
  const runId = "00000000-0000-4000-8000-000000000001";
  const failed = { code: "child_killed", domain: "infra" as const, message: "", hint: "" };
  let state: SweepState;
  let seqs = 0;
  let position = 0;
  const stored = (body: StoredEvent["body"], seq: number, attempt: number): StoredEvent => ({
    sweepId,
    runId: body.stream === "control" ? `control:${sweepId}` : runId,
    seq,
    attempt,
    body,
    position: (position += 1),
    recordedAtMs: 0,
  });
  const decided = (event: ControlEvent) => {
    state = evolve(state, stored({ stream: "control", event }, state.controlSeq + 1, 0));
  };
  const told = (body: NonNullable<wire.Event["body"]>, trialId = "", attempt = 1) => {
    const event: wire.Event = { runId, seq: (seqs += 1), attempt, at: undefined, trialId, body };
    state = evolve(state, stored({ stream: "trainer", event }, event.seq, attempt));
  };
  const lease = (attempt: number): ControlEvent => ({
    kind: "lease_granted",
    runId,
    attempt,
    trainerId: "t1",
    trialIds: [trial],
    leaseMs: 60_000,
    firstSeq: seqs + 1,
    resumeStep: 0,
  });
  const started = (attempt = 1) =>
    told({ $case: "runStarted", runStarted: wire.RunStarted.fromPartial({ step: 0 }) }, "", attempt);
  const at = () => state.trials[trial]?.state;

  const fresh = () => {
    state = emptySweep(sweepId);
    seqs = 0;
    decided({ kind: "sweep_planned", ...sweep });
  };
  const running = () => {
    fresh();
    decided({ kind: "trials_queued", trialIds: [trial] });
    decided(lease(1));
    expect(at()).toEqual({ at: "queued", attempts: 0 }); // until the trainer says that it started
    started();
  };

  it("planned -> queued -> running", () => {
    fresh();
    expect(at()).toEqual({ at: "planned" });
    running();
    expect(at()).toEqual({ at: "running", runId, attempt: 1, step: 0 });
  });

  it("running -> done is final: nothing moves it again", () => {
    running();
    const done = wire.TrialDone.fromPartial({
      steps: 4,
      bestStep: 2,
      ended: wire.Ended.LIMIT,
      validationNatsPerToken: 3,
      manifest: { path: "trials/x/manifest.json", size: 1n, sha256: "0" },
      float32Check: { natsPerToken: 3.5, float32NatsPerToken: 3.25, largestRelativeDifference: 0.125 },
    });
    told({ $case: "trialDone", trialDone: done }, trial);
    expect(at()).toEqual({ at: "done", runId, nllPerToken: 3 });
    expect(state.trials[trial]?.outcome).toMatchObject({ ended: "limit", float32Check: done.float32Check });
    const before = at();
    decided({ kind: "trials_cancelled", trialIds: [trial] });
    decided({ kind: "trials_failed", trialIds: [trial], ...failed });
    decided({ kind: "trials_requeued", trialIds: [trial], reason: "retry" });
    decided({ kind: "metrics_missing", trialIds: [trial], runId, lastSeq: 2 });
    expect(at()).toBe(before);
  });

  it("a result that is not a number is none", () => {
    running();
    for (const half of [{ validationNatsPerToken: NaN, manifest: { path: "m" } }, { validationNatsPerToken: 3 }])
      told({ $case: "trialDone", trialDone: wire.TrialDone.fromPartial(half) }, trial); // no number, no files
    expect(at()?.at).toBe("running");
  });

  it("running -> queued when an attempt failed with budget left, which charges it", () => {
    running();
    decided({ kind: "attempt_failed", runId, attempt: 1, ...failed, retryAtMs: 5 });
    expect(at()).toEqual({ at: "queued", attempts: 1 });
    expect(state.runs[runId]?.phase).toEqual({ at: "waiting", retryAtMs: 5 });
  });

  it("a fault of the controller charges nothing", () => {
    running();
    decided({ kind: "attempt_failed", runId, attempt: 1, ...failed, domain: "controller", retryAtMs: 5 });
    expect(at()).toEqual({ at: "queued", attempts: 0 });
  });

  it("what is said of an earlier attempt than the present one moves nothing", () => {
    running();
    decided({ kind: "lease_expired", runId, attempt: 1 });
    decided(lease(2));
    started(2);
    const before = state.trials;
    decided({ kind: "attempt_failed", runId, attempt: 1, ...failed, retryAtMs: 5 });
    expect(state.trials).toBe(before);
    expect(at()).toMatchObject({ at: "running", attempt: 2 });
  });

  it.each<[string, ControlEvent]>([
    ["failed", { kind: "trials_failed", trialIds: [trial], ...failed, domain: "user", code: "diverged" }],
    ["cancelled", { kind: "trials_cancelled", trialIds: [trial] }],
    ["metrics_missing", { kind: "metrics_missing", trialIds: [trial], runId, lastSeq: 1 }],
  ])("running -> %s -> queued by a verb only, with a clean slate", (name, event) => {
    running();
    decided(event);
    expect(at()?.at).toBe(name);
    decided({ kind: "trials_queued", trialIds: [trial] });
    expect(at()?.at).toBe(name);
    decided({ kind: "trials_requeued", trialIds: [trial], reason: "retry" });
    expect(at()).toEqual({ at: "queued", attempts: 0 });
    expect(state.trials[trial]?.failure).toBeNull();
  });

  it("running -> stopped when a drain found a metric and a checkpoint; else -> queued", () => {
    const drained = () => {
      decided({ kind: "drain_requested" });
      told({ $case: "runFailed", runFailed: wire.RunFailed.fromPartial({ drained: true }) });
    };
    running();
    drained();
    expect(at()?.at).toBe("queued");
    running();
    const tasks = [{ task: 0, nats: 30, tokens: 10n }, { task: 1, nats: 5, tokens: 5n }, { task: 2, nats: 0, tokens: 0n }]; // prettier-ignore
    const evaluated = wire.Evaluated.fromPartial({
      scored: wire.Scored.TASK,
      split: wire.Split.VALIDATION,
      step: 2,
      tasks,
    });
    told({ $case: "evaluated", evaluated }, trial);
    told({ $case: "checkpointSaved", checkpointSaved: { step: 2, artifact: undefined } });
    drained();
    expect(at()).toEqual({ at: "stopped", by: "user", nllPerToken: 2 }); // macro: (3 + 1) / 2
  });

  it("keeps for each task the step of its own lowest validation, of equals the first", () => {
    running();
    const evaluated = (step: number, ...nats: number[]) => {
      const tasks = nats.map((own, task) => ({ task, nats: own, tokens: 10n }));
      const scored = { scored: wire.Scored.TASK, split: wire.Split.VALIDATION, step, tasks };
      told({ $case: "evaluated", evaluated: wire.Evaluated.fromPartial(scored) }, trial);
    };
    evaluated(1, 30, 50);
    evaluated(2, 20, 60);
    evaluated(3, 20, 40);
    expect(state.trials[trial]?.taskBest).toEqual([
      { step: 2, nllPerToken: 2 },
      { step: 3, nllPerToken: 4 },
    ]);
  });
});
