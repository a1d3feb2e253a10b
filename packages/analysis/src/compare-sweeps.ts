import { BoraError, parseExperiment, type DocumentRow, type SweepResults } from "@bora/contracts";
import { bitsPerCharacter } from "./bits-per-character.js";
import { compareContrasts, type Comparison, type ContrastOptions } from "./contrast.js";
import { heldOut, taskRates, type HeldOut } from "./held-out.js";
import { holm } from "./holm.js";
import { modelName } from "./model-name.js";
import { mean } from "./resampling.js";
import { compare } from "./tau-order.js";

/** One of the sweeps that are held against each other. */
export interface SweepSide {
  label: string;
  results: SweepResults;
  documents: readonly DocumentRow[];
}

export type ComparedUnit = "nats per token" | "bits per character";

/** A sweep at its best tau, on all of its test documents, macro over its tasks; the interval is of this sweep alone. */
export interface ComparedSweep {
  label: string;
  sweepId: string;
  tau: number;
  seeds: number;
  tasks: number;
  documents: number; // test
  value: number; // in the comparison's unit
  low: number | null;
  high: number | null;
  perplexity: number; // comparable only where tokens are the same
  base: number | null; // the model without adapters, in the unit
  byTau: { tau: number; value: number }[];
}

/** A sweep against the first, over the documents of both; negative: it is better than the first. */
export interface SweepDifference extends Pick<Comparison, "difference" | "low" | "high" | "p" | "method" | "seeds"> {
  label: string;
  pHolm: number; // over the sweeps
  documents: number;
  tasks: number;
  /** Documents of either that the other lacks, or of which it scored much more or less text. */
  leftOut: number;
}

export interface SweepComparison {
  unit: ComparedUnit;
  sweeps: ComparedSweep[]; // the first is what the others are held against
  differences: SweepDifference[];
  /** Sweeps that no paired comparison with the first is possible for, and why. */
  unpaired: { label: string; why: string }[];
  tasks: { name: string; values: (number | null)[] }[]; // in the order of the sweeps
  /** Settings that are not the same in all: path in the experiment, value of each. */
  settings: { path: string; values: string[] }[];
}

const key = ({ task, document }: Pick<DocumentRow, "task" | "document">): string => JSON.stringify([task, document]);

/** Test documents of a sweep's finished trials under the task adapters. */
function scoredRows({ results, documents }: SweepSide): DocumentRow[] {
  const done = new Set(results.trials.filter(({ state }) => state === "done").map(({ id }) => id));
  return documents.filter((row) => row.model === "task" && row.split === "test" && done.has(row.trial));
}

/** One row for each document. */
const oneEach = (rows: readonly DocumentRow[]): Map<string, DocumentRow> => new Map(rows.map((row) => [key(row), row]));

const bits = (rows: readonly DocumentRow[]): DocumentRow[] => rows.filter(({ characters }) => characters > 0);

/** The same documents weighed by ln 2 times their characters: rates become bits per character. */
function inUnit(
  data: HeldOut,
  unit: ComparedUnit,
  rows: ReadonlyMap<string, DocumentRow>,
  order: readonly string[],
): HeldOut {
  if (unit === "nats per token") return data;
  return { ...data, tokens: Float64Array.from(order, (name) => Math.LN2 * (rows.get(name)?.characters ?? NaN)) };
}

/** Runs of the best tau lined up over some documents, in the order of `heldOut`. */
function lined(rows: readonly DocumentRow[], unit: ComparedUnit): HeldOut {
  const each = oneEach(rows);
  const order = [...each.values()]
    .toSorted((a, b) => compareNames(a.task, b.task) || compareNames(a.document, b.document))
    .map(key);
  return inUnit(heldOut(rows, "test"), unit, each, order);
}

const compareNames = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

const macro = (data: HeldOut, runs: HeldOut["runs"]): number =>
  runs.reduce((sum, { nats }) => sum + mean(taskRates(data, nats)), 0) / runs.length;

function bestTauOf({ label, results }: SweepSide): number {
  if (results.best !== null) return results.best.tau;
  throw new BoraError("results_missing", `${label}: none of ${results.trials.length} trials has a result`, {
    hint: "it can be compared once a trial is done; bora status shows where it stands",
  });
}

/** Tokens of a document are the same in all sweeps that have it. */
function sameTokens(sides: readonly SweepSide[]): boolean {
  const known = new Map<string, number>();
  const data = new Set(sides.map(({ results }) => results.data.hash));
  return (
    data.size === 1 &&
    sides.every((side) =>
      [...oneEach(scoredRows(side))].every(([name, { tokens }]) => {
        const before = known.get(name) ?? tokens;
        known.set(name, before);
        return before === tokens;
      }),
    )
  );
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

function summary(side: SweepSide, unit: ComparedUnit, options: Partial<ContrastOptions>): ComparedSweep {
  const tau = bestTauOf(side);
  const rows = unit === "nats per token" ? scoredRows(side) : bits(scoredRows(side));
  const data = lined(rows, unit);
  const own = data.runs.filter((run) => run.tau === tau);
  const [alone] = compareContrasts(data, [{ differences: own.map(({ nats }) => nats) }], options);
  const taus = [...new Set(data.runs.map((run) => run.tau))].toSorted(compare);
  const base = side.documents.filter((row) => row.model === "base" && row.split === "test");
  const test = side.results.trials.filter((trial) => trial.state === "done" && trial.tau === tau);
  const logs = test.flatMap(({ test: scored }) => (scored === null ? [] : [Math.log(scored.macroPerplexity)]));
  const ofBase = () =>
    unit === "bits per character"
      ? bitsPerCharacter(bits(base)).macro
      : Math.log(side.results.base?.test.macroPerplexity ?? NaN);
  return {
    ...{ label: side.label, sweepId: side.results.sweepId, tau, seeds: own.length },
    ...{ tasks: data.tasks.length, documents: data.tokens.length, value: macro(data, own) },
    ...{ low: finite(alone?.low ?? NaN), high: finite(alone?.high ?? NaN) },
    perplexity: Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length),
    base: base.length === 0 ? null : finite(ofBase()),
    byTau: taus.map((own) => ({
      tau: own,
      value: macro(
        data,
        data.runs.filter((run) => run.tau === own),
      ),
    })),
  };
}

/** Runs of two sweeps by twos: of one seed where they share seeds, else in the order of their seeds. */
function pairs(first: HeldOut["runs"], second: HeldOut["runs"]): Float64Array[] {
  const shared = second.filter(({ seed }) => first.some((own) => own.seed === seed));
  const [left, right] =
    shared.length > 0 ? [shared.map(({ seed }) => first.find((own) => own.seed === seed)), shared] : [first, second];
  return right.flatMap((run, place) => {
    const other = left[place];
    return other === undefined ? [] : [run.nats.map((nats, index) => nats - (other.nats[index] ?? NaN))];
  });
}

const sameText = 0.05; // of the characters: the first token is not scored, and tokenisers differ in how long it is

/** Documents of both, of which both scored the same text but for an edge. */
function common(first: SweepSide, second: SweepSide): { kept: Map<string, DocumentRow>; leftOut: number } {
  const [mine, theirs] = [oneEach(scoredRows(first)), oneEach(scoredRows(second))];
  const kept = [...mine].filter(([name, { characters }]) => {
    const others = theirs.get(name)?.characters ?? 0;
    return characters > 0 && others > 0 && Math.abs(characters - others) <= sameText * Math.max(characters, others);
  });
  return { kept: new Map(kept), leftOut: new Set([...mine.keys(), ...theirs.keys()]).size - kept.length };
}

const dataOf = ({ results }: SweepSide): string => JSON.stringify(leaves(parseExperiment(results.experiment).data));

/** Why two sweeps did not score the same documents; null when they did, perhaps in other tokens. */
function unlike(first: SweepSide, second: SweepSide): string | null {
  const [mine, theirs] = [first, second].map(({ results }) => results.data.hash.slice(0, 12));
  if (mine === theirs) return null;
  const otherTokens = first.results.model.hash !== second.results.model.hash;
  if (otherTokens && dataOf(first) === dataOf(second)) return null;
  return `its data (hash ${theirs ?? ""}) are not those of ${first.label} (${mine ?? ""})`;
}

function difference(
  first: SweepSide,
  second: SweepSide,
  unit: ComparedUnit,
  options: Partial<ContrastOptions>,
): Omit<SweepDifference, "pHolm"> | string {
  const why = unlike(first, second);
  if (why !== null) return why;
  const { kept, leftOut } = common(first, second);
  if (kept.size === 0) return "the two scored no document over the same text";
  const at = (side: SweepSide) => {
    const tau = bestTauOf(side);
    const rows = scoredRows(side).flatMap((row) => {
      const mine = row.tau === tau ? kept.get(key(row)) : undefined;
      if (mine === undefined) return [];
      const { tokens, characters } = mine; // one denominator for both: nats as of as much text
      return unit === "nats per token"
        ? row
        : { ...row, tokens, characters, nats: (row.nats * characters) / row.characters };
    });
    return lined(rows, unit);
  };
  const [a, b] = [at(first), at(second)];
  const [found] = compareContrasts(a, [{ differences: pairs(a.runs, b.runs) }], options);
  if (found === undefined || !Number.isFinite(found.standardError))
    return "one document a task and one seed: nothing could vary";
  const { difference: value, low, high, p, method, seeds } = found;
  const counts = { documents: kept.size, tasks: a.tasks.length, leftOut };
  return { label: second.label, difference: value, low, high, p, method, seeds, ...counts };
}

/** Leaves of an experiment by their paths; lists are one leaf. */
function leaves(value: unknown, path = ""): [string, string][] {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return [
      [
        path,
        typeof value === "string"
          ? value
          : (JSON.stringify(value, (_, own: unknown) => (own === Infinity ? "inf" : own)) ?? ""),
      ],
    ];
  return Object.entries(value).flatMap(([name, part]) => leaves(part, path === "" ? name : `${path}.${name}`));
}

function settings(sides: readonly SweepSide[]): SweepComparison["settings"] {
  const all = sides.map(
    ({ results }) =>
      new Map([
        ["base model", modelName(results)],
        ["model hash", results.model.hash.slice(0, 12)],
        ["data hash", results.data.hash.slice(0, 12)],
        ...leaves(results.experiment),
      ]),
  );
  const paths = [...new Set(all.flatMap((own) => [...own.keys()]))].filter(
    (path) => path !== "name" && !path.startsWith("model."),
  );
  return paths
    .map((path) => ({ path, values: all.map((own) => own.get(path) ?? "") }))
    .filter(({ values }) => new Set(values).size > 1);
}

function taskValues(sides: readonly SweepSide[], unit: ComparedUnit): SweepComparison["tasks"] {
  const bySide = sides.map((side) => {
    const tau = bestTauOf(side);
    const rows = scoredRows(side).filter((row) => row.tau === tau);
    const data = lined(unit === "nats per token" ? rows : bits(rows), unit);
    const rates = data.runs.map(({ nats }) => taskRates(data, nats));
    return new Map(
      data.tasks.map(({ name }, task) => [
        name,
        rates.reduce((sum, own) => sum + (own[task] ?? NaN), 0) / rates.length,
      ]),
    );
  });
  const names = [...new Set(bySide.flatMap((own) => [...own.keys()]))].toSorted();
  return names.map((name) => ({ name, values: bySide.map((own) => own.get(name) ?? null) }));
}

/**
 * Holds sweeps against the first, each at its own best tau (chosen on its own validation): another base, data set or
 * adapter family. Paired over the test documents of both where their data are the same, tokens included, or were asked
 * for in the same words with another base; in bits per character where tokens are not the same. Throws results_missing when one has no result.
 */
export function compareSweeps(sides: readonly SweepSide[], options: Partial<ContrastOptions> = {}): SweepComparison {
  const unit: ComparedUnit = sameTokens(sides) ? "nats per token" : "bits per character";
  const [first, ...others] = sides;
  const found =
    first === undefined ? [] : others.map((side) => ({ side, result: difference(first, side, unit, options) }));
  const paired = found.flatMap(({ result }) => (typeof result === "string" ? [] : [result]));
  const adjusted = holm(paired.map(({ p }) => p));
  return {
    unit,
    sweeps: sides.map((side) => summary(side, unit, options)),
    differences: paired.map((own, index) => ({ ...own, pHolm: adjusted[index] ?? NaN })),
    unpaired: found.flatMap(({ side, result }) =>
      typeof result === "string" ? [{ label: side.label, why: result }] : [],
    ),
    tasks: taskValues(sides, unit),
    settings: settings(sides),
  };
}
