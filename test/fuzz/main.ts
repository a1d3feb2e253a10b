// The fuzz suite: `npx nx run test:fuzz` gives every reader of outside data some thousand inputs, `-- --long` a million.
// A long run is made of slices: `--ledger FILE` goes on where the last one ended, `--minutes N` ends a slice, `--only TEXT`
// names targets, `--seed N` repeats what chance did, `--write` puts the table into docs/reliability.md.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { grew, harm, noEntry, readLedger, table, type Entry, type Ledger } from "./ledger.js";
import { add, faults, judged } from "./tally.js";
import { targets, type Target } from "./targets.js";
import { missing } from "./requirements.js";
import { WorkerProcess } from "./worker-process.js";
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
    ...{ long: { type: "boolean" }, write: { type: "boolean" } },
    ...{ only: text, minutes: text, ledger: text, seed: text, times: text },
  },
});

const root = fileURLToPath(new URL("../..", import.meta.url));
const reports = join(root, "test/reports");
const firstSeed = 1; // of the short form: the same inputs for every change, so that what is new is the change's doing
const seed = Number(values.seed ?? (values.long === true ? Date.now() % 1_000_000 : firstSeed));
const deadline = performance.now() + Number(values.minutes ?? Infinity) * 60_000;
const limitOfBatchMs = 120_000;

/** One thread each, for threads that wait for each other only burn time; files in memory, for disks are not what is tested. */
const environment = {
  ...process.env,
  ...{ OMP_NUM_THREADS: "1", PYTHONPATH: join(root, "trainer-py/src") },
  ...(existsSync("/dev/shm") ? { TMPDIR: "/dev/shm" } : {}),
};

function openWorker({ session }: Target): WorkerProcess {
  if (session.on === "trainer")
    return new WorkerProcess(
      join(root, "trainer-py/.venv/bin/python"),
      ["-m", "fuzz", session.key],
      join(root, "trainer-py"),
      environment,
    );
  const script = join(root, "test/fuzz/worker.ts");
  return new WorkerProcess(
    process.execPath,
    ["--expose-gc", "--import", "tsx", script, session.key],
    root,
    environment,
  );
}

/** Another seed for every batch of every target (FNV-1a of its name and number). */
function seedOf(ledger: Ledger, { name }: Target, batch: number): number {
  let hash = 0x811c9dc5 ^ ledger.seed;
  for (const character of `${name} ${batch}`) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  return hash >>> 0;
}

const wanted = ({ short, long }: Target): number => Number(values.times ?? (values.long === true ? long : short));

/** Gives one target what it still lacks, as far as the time goes. */
async function fuzz(target: Target, ledger: Ledger): Promise<void> {
  const { name, batch, limitMs = limitOfBatchMs } = target;
  let entry: Entry = ledger.entries[name] ?? noEntry();
  let worker: WorkerProcess | null = null;
  let warmMiB: number | null = null;
  while (entry.tally.inputs < wanted(target) && performance.now() < deadline) {
    worker ??= openWorker(target);
    const began = performance.now();
    const size = Math.min(batch, wanted(target) - entry.tally.inputs);
    const own = seedOf(ledger, target, entry.batches);
    const tally = judged(await worker.run(own, size, limitMs));
    if (tally.residentMiB > 0) warmMiB ??= tally.residentMiB;
    entry = {
      ...{ tally: add(entry.tally, tally), batches: entry.batches + 1 },
      grownMiB: Math.max(entry.grownMiB, tally.residentMiB - (warmMiB ?? tally.residentMiB)),
      seconds: entry.seconds + (performance.now() - began) / 1000,
    };
    ledger.entries[name] = entry;
    for (const sample of tally.samples) console.log(`  ${name}, batch ${entry.batches - 1} (seed ${own}): ${sample}`);
    if (values.ledger !== undefined) writeLedger(values.ledger, ledger);
    if (faults(tally) > 0) {
      await worker.end(); // whatever state it is in
      [worker, warmMiB] = [null, null];
    }
  }
  await worker?.end();
  const { tally, grownMiB, seconds } = entry;
  const grown = grew(entry) ? `, grew by ${grownMiB.toFixed(0)} MiB` : "";
  console.log(
    `${harm(entry) === 0 ? "ok  " : "FAIL"} ${name}: ${tally.inputs} inputs, ${tally.accepted} taken, refused ${JSON.stringify(tally.refused)}${grown} in ${seconds.toFixed(0)} s`,
  );
}

const resultsOf = ({ entries, skipped }: Ledger): SuiteResult[] => [
  ...Object.entries(entries).map(([fullName, entry]): SuiteResult => ({
    fullName: `${fullName}: ${entry.tally.inputs} inputs`,
    status: harm(entry) === 0 ? "passed" : "failed",
  })),
  ...skippedResults(skipped),
];

const ledger = readLedger(values.ledger, seed);
console.log(`fuzz suite, seed ${ledger.seed}`);
for (const target of targets.filter(({ name }) => new RegExp(values.only ?? "").test(name))) {
  const why = missing(target);
  if (why === null) await fuzz(target, ledger);
  else {
    ledger.skipped[target.name] = why;
    console.log(`skipped: ${target.name}: ${why}`);
  }
}
const sum = writeSuiteReport(reports, "fuzz.json", resultsOf(ledger));
console.log(`\n${table(ledger)}\n`);
if (values.write === true) writeBetweenMarks(join(root, "docs/reliability.md"), "fuzz", table(ledger));
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
