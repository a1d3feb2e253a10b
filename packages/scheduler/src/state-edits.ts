import { byId, type BreakerCount, type RunRecord, type SweepState, type TrialRecord } from "./sweep-state.js";

/** Records of trials and runs that belong to a fold in hand, and to nobody else yet. */
const ownRecords = new WeakSet<object>();

/**
 * Folds with records of its own, which are then edited in place: a batch copies those of a thousand trials once, not once
 * an event. What was given stays as it was; states in between share what the last one has.
 */
export function withOwnRecords(state: SweepState, fold: (own: SweepState) => SweepState): SweepState {
  const own = { ...state, trials: byId(state.trials), runs: byId(state.runs) };
  const { trials, runs } = own;
  ownRecords.add(trials).add(runs);
  try {
    const folded = fold(own);
    return folded === own ? state : folded;
  } finally {
    ownRecords.delete(trials);
    ownRecords.delete(runs);
  }
}

function put<T>(records: Readonly<Record<string, T>>, changed: Record<string, T>): Readonly<Record<string, T>> {
  return ownRecords.has(records) ? Object.assign(records, changed) : byId(records, changed);
}

export const withRun = (state: SweepState, run: RunRecord): SweepState => ({
  ...state,
  runs: put(state.runs, { [run.runId]: run }),
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
  return changed.size === 0 ? state : { ...state, trials: put(state.trials, Object.fromEntries(changed)) };
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
