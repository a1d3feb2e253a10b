import { compareTasks, compareTaus, describeWinner, type TaskRow, type TauRow } from "@bora/analysis";
import type { SweepResults } from "@bora/contracts";

/** What a reader of results wants to see, as rows and sentences. */
export interface Comparison {
  taus: TauRow[];
  tasks: TaskRow[];
  winner: string[];
}

export const compareResults = (results: SweepResults): Comparison => ({
  taus: compareTaus(results),
  tasks: compareTasks(results),
  winner: describeWinner(results),
});
