import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";

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

export function writeLedger(file: string, ledger: Ledger): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, JSON.stringify(ledger, null, 2));
  renameSync(`${file}.new`, file);
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
  const left = Object.entries(skipped).map(([name, why]) => `Not done here: ${name} (${why}).`);
  const lines = [head, head.map((_, column) => (column === 0 ? "---" : "---:")), ...rows].map(
    (row) => `| ${row.join(" | ")} |`,
  );
  return [...lines, ...(left.length > 0 ? ["", ...left] : [])].join("\n");
}

const marks = ["<!-- faults: begin -->", "<!-- faults: end -->"] as const;

/** Puts the table into a page between its two marks. */
export function writeTable(page: string, ledger: Ledger): void {
  const text = readFileSync(page, "utf8");
  const [begin, end] = [text.indexOf(marks[0]), text.indexOf(marks[1])];
  if (begin < 0 || end < begin) throw new Error(`${page} has no place for the table (${marks.join(" ")})`);
  writeFileSync(page, `${text.slice(0, begin + marks[0].length)}\n\n${table(ledger)}\n\n${text.slice(end)}`);
}
