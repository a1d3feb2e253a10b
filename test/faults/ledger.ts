import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";
import { suiteTable } from "../tools/suite-report.js";

/** What is known of one kind of fault, over all sweeps that it was done to. */
const Entry = z.object({
  sweeps: z.number(),
  times: z.number(), // the fault itself
  changed: z.number(), // sweeps whose results were others than undisturbed
  lost: z.number(), // events
  orphans: z.number(),
  leases: z.number(),
  store: z.number(), // problems that the store's check found
  failed: z.number(), // sweeps that did not come to their end, or not as they should
  seconds: z.number(),
});
export type Entry = z.infer<typeof Entry>;

const Ledger = z.object({ entries: z.record(z.string(), Entry), skipped: z.record(z.string(), z.string()) });
export type Ledger = z.infer<typeof Ledger>;

export const nothing: Entry = {
  ...{ sweeps: 0, times: 0, changed: 0, lost: 0, orphans: 0, leases: 0, store: 0, failed: 0, seconds: 0 },
};

/** What earlier slices of a long run found, so that many short ones add up to it. */
export function readLedger(file: string | undefined): Ledger {
  if (file === undefined || !existsSync(file)) return { entries: {}, skipped: {} };
  return Ledger.parse(JSON.parse(readFileSync(file, "utf8")));
}

export const harm = ({ changed, lost, orphans, leases, store, failed }: Entry): number =>
  changed + lost + orphans + leases + store + failed;

/** The table of docs/reliability.md. */
export function table({ entries, skipped }: Ledger): string {
  const head = ["fault", "sweeps", "times", "results changed", "events lost", "orphans", "leases held", "store faults"];
  const rows = Object.entries(entries).map(([name, entry]) => [
    name,
    ...[entry.sweeps, Math.round(entry.times), entry.changed, entry.lost, entry.orphans, entry.leases, entry.store].map(
      String,
    ),
  ]);
  return suiteTable(head, rows, skipped);
}
