import type { DocumentRow, ModelDifference, ModelLevel } from "@bora/contracts";
import { asPercent } from "./against-ends.js";
import { compareContrasts, type Comparison, type ContrastOptions } from "./contrast.js";
import { heldOut, taskRates, type HeldOut } from "./held-out.js";

/** A model by the name it is reported under, and its test documents. */
export interface NamedModel {
  name: string;
  documents: readonly DocumentRow[];
}

/** Test nats of several models on the same documents, compared in pairs. */
export interface ModelComparison {
  models: ModelLevel[]; // in the order given
  differences: ModelDifference[];
  tasks: { name: string; natsPerToken: ReadonlyMap<string, number> }[]; // by model
}

/** Lines the models up as trials are lined up. Throws artifact_corrupt unless all scored the same documents. */
function linedUp(models: readonly NamedModel[]): { data: HeldOut; natsOf: (name: string) => Float64Array } {
  const rows = models.flatMap(({ name, documents }) =>
    documents.map((row): DocumentRow => ({ ...row, model: "task", trial: name, split: "test", tau: 0, seed: 0 })),
  );
  const data = heldOut(rows, "test");
  const byName = new Map(data.runs.map(({ trial, nats }) => [trial, nats]));
  return { data, natsOf: (name) => byName.get(name) ?? new Float64Array(data.tokens.length).fill(NaN) };
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
const interval = ({ low, high }: Comparison) => ({ low: finite(low), high: finite(high) });

/**
 * Levels with their intervals, and differences of pairs (first minus second) by paired bootstrap: documents within
 * tasks, or whole tasks for a claim about new ones, under the same resamples for all. Macro nats per token.
 */
export function compareModels(
  models: readonly NamedModel[],
  pairs: readonly (readonly [first: string, second: string])[],
  options: Partial<ContrastOptions> = {},
): ModelComparison {
  const { data, natsOf } = linedUp(models);
  const differenceOf = ([first, second]: readonly [string, string]): Float64Array => {
    const other = natsOf(second);
    return natsOf(first).map((value, document) => value - (other[document] ?? NaN));
  };
  const contrasts = [...models.map(({ name }) => natsOf(name)), ...pairs.map(differenceOf)];
  const found = compareContrasts(
    data,
    contrasts.map((nats) => ({ differences: [nats] })),
    options,
  );
  return {
    models: models.map(({ name }, index) => level(name, found[index])),
    differences: pairs.map(([first, second], index) => ({
      ...{ first, second },
      ...difference(found[models.length + index]),
    })),
    tasks: data.tasks.map(({ name }, task) => ({
      name,
      natsPerToken: new Map(models.map((model) => [model.name, taskRates(data, natsOf(model.name))[task] ?? NaN])),
    })),
  };
}

function level(name: string, found: Comparison | undefined): ModelLevel {
  if (found === undefined) throw new RangeError(`no level of ${name}`);
  return { name, natsPerToken: found.difference, ...interval(found), perplexity: Math.exp(found.difference) };
}

function difference(found: Comparison | undefined): Omit<ModelDifference, "first" | "second"> {
  if (found === undefined) throw new RangeError("no difference");
  const { difference: natsPerToken, p } = found;
  const { low, high } = interval(found);
  const withinNoise = low === null || high === null || (low <= 0 && high >= 0);
  return { natsPerToken, low, high, p, percent: asPercent(natsPerToken), withinNoise };
}
