// The fault suite: `npx nx run test:faults` does each fault once or twice, `-- --long` as often as docs/reliability.md says.
// A long run is made of slices: `--ledger FILE` adds to what is there, `--minutes N` ends a slice, `--only TEXT` names
// faults, `--seed N` repeats what chance did, `--write` puts the table into docs/reliability.md.
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { makeBench, root, type Bench } from "./bench.js";
import { inspectDamage, isWhole, type Damage } from "./checks.js";
import { faults, type Fault } from "./faults.js";
import { harm, nothing, readLedger, table, type Entry, type Ledger } from "./ledger.js";
import { Random } from "./random.js";
import { Trial } from "./trial.js";
import {
  skippedResults,
  writeBetweenMarks,
  writeLedger,
  writeSuiteReport,
  type SuiteResult,
} from "../tools/suite-report.js";

const text = { type: "string" } as const;
const { values } = parseArgs({
  options: {
    ...{ long: { type: "boolean" }, write: { type: "boolean" }, keep: { type: "boolean" } },
    ...{ only: text, minutes: text, ledger: text, seed: text, times: text },
  },
});

const seed = Number(values.seed ?? Date.now() % 1_000_000);
const deadline = performance.now() + Number(values.minutes ?? Infinity) * 60_000;
const reports = join(root, "test/reports");

/** One sweep under one fault, and what it left. */
async function disturb(bench: Bench, fault: Fault, number: number): Promise<Entry> {
  const began = performance.now();
  const out = join(bench.folder, `trial-${number}`, "out");
  const stage = await fault.where?.(out);
  const trial = new Trial(bench, out, new Random(seed + number), stage?.store);
  const entry = { ...nothing, sweeps: 1 };
  try {
    trial.begin();
    entry.times = await fault.inflict(trial);
    if (entry.times === 0) return { ...nothing }; // the sweep ended before: it tested nothing, and is not counted
    Object.assign(entry, counts(await inspectDamage(bench, out, trial.store), trial.log));
  } catch (error) {
    entry.failed = 1;
    console.log(`  ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await trial.clean();
    await stage?.end();
  }
  if (harm(entry) === 0 && values.keep !== true) rmSync(dirname(out), { recursive: true, force: true });
  return { ...entry, seconds: (performance.now() - began) / 1000 };
}

function counts(damage: Damage, log: string): Partial<Entry> {
  if (!isWhole(damage)) console.log(`  ${JSON.stringify(damage)}; see ${log}`);
  const { changed, lost, orphans, leases, store } = damage;
  return {
    ...{ changed: Math.min(1, changed.length), lost: lost.length, orphans: orphans.length },
    ...{ leases: leases.length, store: store.length },
  };
}

function add(ledger: Ledger, name: string, entry: Entry): void {
  const before = ledger.entries[name] ?? nothing;
  const sums = Object.entries(entry).map(([key, value]) => [key, value + before[key as keyof Entry]]);
  ledger.entries[name] = Object.fromEntries(sums) as Entry;
}

/** Done so often already, in this slice and earlier ones. */
const sweepsOf = (ledger: Ledger, { name }: Fault): number => ledger.entries[name]?.sweeps ?? 0;

const idle = new Map<string, number>(); // sweeps of a fault that came too late to disturb them
const mostIdle = 3;

async function runAll(bench: Bench, ledger: Ledger): Promise<void> {
  const chosen = faults.filter(({ name }) => new RegExp(values.only ?? "").test(name));
  const wanted = (fault: Fault) => Number(values.times ?? (values.long === true ? fault.long : fault.short));
  for (let number = 0; performance.now() < deadline; number += 1) {
    const due = chosen.filter((fault) => !(fault.name in ledger.skipped) && sweepsOf(ledger, fault) < wanted(fault));
    const fault = due.sort((a, b) => sweepsOf(ledger, a) / wanted(a) - sweepsOf(ledger, b) / wanted(b))[0];
    if (fault === undefined) return;
    const why = fault.missing?.() ?? null;
    if (why !== null) {
      ledger.skipped[fault.name] = why;
      console.log(`skipped: ${fault.name}: ${why}`);
      continue;
    }
    const entry = await disturb(bench, fault, number);
    if (entry.sweeps === 0) idle.set(fault.name, (idle.get(fault.name) ?? 0) + 1);
    if ((idle.get(fault.name) ?? 0) > mostIdle) entry.failed = entry.sweeps = 1;
    add(ledger, fault.name, entry);
    console.log(
      `${harm(entry) === 0 ? "ok  " : "FAIL"} ${fault.name}: ${Math.round(entry.times)} in ${entry.seconds.toFixed(0)} s (seed ${seed}, trial ${number})`,
    );
    if (values.ledger !== undefined) writeLedger(values.ledger, ledger);
  }
}

const resultsOf = ({ entries, skipped }: Ledger): SuiteResult[] => [
  ...Object.entries(entries).map(([fullName, entry]): SuiteResult => ({
    fullName,
    status: harm(entry) === 0 ? "passed" : "failed",
  })),
  ...skippedResults(skipped),
];

console.log(`fault suite, seed ${seed}`);
const bench = await makeBench();
console.log(`${bench.expected.size} result files of an undisturbed sweep of ${(bench.lifeMs / 1000).toFixed(1)} s`);
const ledger = readLedger(values.ledger);
await runAll(bench, ledger);
const sum = writeSuiteReport(reports, "faults.json", resultsOf(ledger));
console.log(`\n${table(ledger)}\n`);
if (values.write === true) writeBetweenMarks(join(root, "docs/reliability.md"), "faults", table(ledger));
if (sum.failed === 0 && values.keep !== true) rmSync(bench.folder, { recursive: true });
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
