// The load suite, by hand: `npx nx run test:load`. What it is held to, and what it measured, is in docs/reliability.md.
// `--store sqlite|postgres` and `--only stream|artifact|startup` choose; `--seconds N`, `--rate N` (events a second, in all)
// and `--events N` (in the store, at a start) make it smaller or larger; `--write` puts the table into docs/reliability.md, with what earlier runs measured beside it.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeBetweenMarks, writeLedger } from "../tools/suite-report.js";
import { artifact } from "./artifact.js";
import { missed, table, type Figure, type Part } from "./figures.js";
import { root } from "./measured-process.js";
import { missing, openPlace, type Place, type StoreName } from "./places.js";
import { startup } from "./startup.js";
import { stream } from "./stream.js";

const ledger = join(root, "test/reports/load.json");

const text = { type: "string" } as const;
const { values } = parseArgs({
  options: {
    ...{ store: text, only: text, seconds: text, rate: text, events: text },
    write: { type: "boolean" },
    keep: { type: "boolean" },
  },
});

const [trials, trainers] = [1_000, 8];
const { seconds = "60", rate = "5000", events = "10000000" } = values;

const parts: Record<string, { name: string; measure: (place: Place, folder: string) => Promise<Figure[]> }> = {
  stream: {
    name: `${trials.toLocaleString("en-US")} trials on ${trainers} trainers, ${rate} events a second for ${seconds} s`,
    measure: (place, folder) =>
      stream(place, folder, { trials, trainers, rate: Number(rate), seconds: Number(seconds) }),
  },
  artifact: {
    name: "a file of 1 GiB, fetched from a trainer",
    measure: (place, folder) => artifact(place, folder, { bytes: 2 ** 30 }),
  },
  startup: {
    name: `start with ${Number(events).toLocaleString("en-US")} events in the store`,
    measure: (place, folder) => startup(place, folder, { events: Number(events) }),
  },
};

const stores: Record<string, StoreName> = { sqlite: "SQLite", postgres: "PostgreSQL" };

function chosen<T>(all: Readonly<Record<string, T>>, name: string | undefined, option: string): T[] {
  if (name === undefined) return Object.values(all);
  const one = all[name];
  if (one === undefined) throw new Error(`--${option} is ${name}; expected ${Object.keys(all).join(" or ")}`);
  return [one];
}

async function measure({ name, measure: run }: (typeof parts)[string], store: StoreName): Promise<Part> {
  const why = missing(store);
  console.log(`\n${name}, ${store}${why === null ? "" : `: skipped, ${why}`}`);
  if (why !== null) return { name, store, skipped: why };
  const folder = mkdtempSync(join(tmpdir(), "bora-load-"));
  await using place = await openPlace(store);
  try {
    const figures = await run(place, folder);
    for (const { what, measured, bound, holds } of figures)
      console.log(`  ${holds ? "ok  " : "MISS"} ${what}: ${measured}${bound === "" ? "" : ` (bound ${bound})`}`);
    return { name, store, figures };
  } finally {
    if (values.keep === true) console.log(`  kept: ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
  }
}

/** Parts may be measured one by one: what an earlier run found stays until the same is measured again. */
function withEarlier(now: readonly Part[]): Part[] {
  const earlier = existsSync(ledger) ? (JSON.parse(readFileSync(ledger, "utf8")) as Part[]) : [];
  const isNew = ({ name, store }: Part) => now.some((part) => part.name === name && part.store === store);
  return [...earlier.filter((part) => !isNew(part)), ...now];
}

const done: Part[] = [];
for (const part of chosen(parts, values.only, "only"))
  for (const store of chosen(stores, values.store, "store")) done.push(await measure(part, store));
console.log(`\n${table(done)}\n`);
const all = withEarlier(done);
writeLedger(ledger, all);
if (values.write === true) writeBetweenMarks(join(root, "docs/reliability.md"), "load", table(all));
const [misses, skipped] = [missed(done), done.filter((part) => "skipped" in part).length];
for (const miss of misses) console.log(`missed: ${miss}`);
console.log(`${done.length - skipped} measured, ${skipped} skipped, ${misses.length} bounds missed`);
process.exitCode = misses.length > 0 || skipped === done.length ? 1 : 0;
