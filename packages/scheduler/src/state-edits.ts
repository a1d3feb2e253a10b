import { byId, type BreakerCount, type RunRecord, type SweepState, type TrialRecord } from "./sweep-state.js";

export const withRun = (state: SweepState, run: RunRecord): SweepState => ({
  ...state,
  runs: byId(state.runs, { [run.runId]: run }),
});

/** Edits the named trials; the state stays the same object when no trial changed. */
export function withTrials(
  state: SweepState,
  trialIds: readonly string[],
  edit: (trial: TrialRecord) => TrialRecord,
): SweepState {
  const changed = new Map<string, TrialRecord>();
  for (const id of trialIds) {
    const trial = state.trials[id];
    if (trial === undefined) continue;
    const next = edit(trial);
    if (next !== trial) changed.set(id, next);
  }
  return changed.size === 0 ? state : { ...state, trials: byId(state.trials, Object.fromEntries(changed)) };
}

/** Counts trials that ended, for the breaker; "" = without failure. */
export function countEnded(state: SweepState, codes: readonly string[]): SweepState {
  const breaker = codes.reduce<BreakerCount>(
    (count, code) => ({
      ended: count.ended + 1,
      failed: count.failed + (code === "" ? 0 : 1),
      failedInRow: code === "" ? 0 : count.failedInRow + 1,
      firstCodes: count.firstCodes.length < 3 ? [...count.firstCodes, code] : count.firstCodes,
    }),
    state.breaker,
  );
  return { ...state, breaker };
}
