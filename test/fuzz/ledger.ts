import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";
import { suiteTable } from "../tools/suite-report.js";
import { add, emptyTally, faults, Tally } from "./tally.js";
import { targets } from "./targets.js";

/** What is known of one target, over all slices. */
const Entry = z.object({ tally: Tally, batches: z.number(), grownMiB: z.number(), seconds: z.number() });
export type Entry = z.infer<typeof Entry>;

const Ledger = z.object({
  seed: z.number(),
  entries: z.record(z.string(), Entry),
  skipped: z.record(z.string(), z.string()),
});
export type Ledger = z.infer<typeof Ledger>;

export const noEntry = (): Entry => ({ tally: emptyTally(), batches: 0, grownMiB: 0, seconds: 0 });

/** What earlier slices of a long run found; their seed goes on, so that all slices are one run. */
export function readLedger(file: string | undefined, seed: number): Ledger {
  if (file === undefined || !existsSync(file)) return { seed, entries: {}, skipped: {} };
  return Ledger.parse(JSON.parse(readFileSync(file, "utf8")));
}

const mostGrowthMiB = 64; // after the first batch, which loads what a target needs and fills its caches

export const grew = ({ grownMiB }: Entry): boolean => grownMiB > mostGrowthMiB;

/** Faults of an entry; too much growth is one. */
export const harm = (entry: Entry): number => faults(entry.tally) + (grew(entry) ? 1 : 0);

const refusals = ({ refused }: Tally): number => Object.values(refused).reduce((sum, times) => sum + times, 0);

const whole = (value: number): string => Math.round(value).toLocaleString("en-GB");

function row(name: string, { tally, grownMiB }: Entry): string[] {
  const { inputs, accepted, crashes, hangs, internal, escapes } = tally;
  return [name, ...[inputs, accepted, refusals(tally), crashes, hangs, internal, escapes, grownMiB].map(whole)];
}

/** The table of docs/reliability.md. */
export function table({ entries, skipped }: Ledger): string {
  const head = ["input", "inputs", "taken", "refused", "crashes", "hangs", "500s", "escapes", "memory, MiB"];
  const known = targets.flatMap(({ name }) => (entries[name] === undefined ? [] : [[name, entries[name]] as const]));
  const sum = known.reduce<Entry>(
    (all, [, entry]) => ({
      ...{ tally: add(all.tally, entry.tally), batches: 0, seconds: all.seconds + entry.seconds },
      grownMiB: Math.max(all.grownMiB, entry.grownMiB),
    }),
    noEntry(),
  );
  const rows = [...known.map(([name, entry]) => row(name, entry)), row("**all**", sum)];
  return suiteTable(head, rows, skipped);
}
