import { BoraError } from "@bora/contracts";
import { openLab, type EvaluateRequest } from "@bora/sdk";
import { controllerApi } from "@bora/sdk/controller";
import { dataFile, type DataOptions } from "../data-options.js";
import type { ExitName } from "../exit-codes.js";
import { evaluationText } from "../model-tables.js";
import { near } from "../near.js";
import { experimentOf, outFolder, type OutOptions } from "../options.js";
import type { Terminal } from "../terminal.js";
import { watchSeries } from "../watch-series.js";

export interface EvaluateOptions extends OutOptions, DataOptions {
  sweep?: string;
  spec?: string;
  tasks?: string[];
  set: string[];
}

async function requestOf(
  adapters: readonly string[],
  options: EvaluateOptions,
  terminal: Terminal,
): Promise<EvaluateRequest> {
  const { sweep, spec, tasks, set } = options;
  if ((sweep === undefined) === (spec === undefined))
    throw new BoraError("usage", "bora evaluate needs --sweep or --spec, one of them", {
      hint: "it says which base the adapters are of: a finished sweep, or an experiment file",
    });
  const data = dataFile(options, terminal);
  const of = sweep === undefined ? { experiment: await experimentOf(options, terminal) } : { sweepId: sweep };
  return {
    ...{ of, adapters, cwd: terminal.cwd },
    ...(sweep !== undefined && { set }), // of an experiment file they are in it already
    ...(data !== undefined && { data }),
    ...(tasks !== undefined && { tasks }),
  };
}

/** `bora evaluate`: scores adapters that exist, and the base, on documents. */
export async function evaluate(
  adapters: readonly string[],
  options: EvaluateOptions,
  terminal: Terminal,
): Promise<ExitName> {
  const dir = outFolder(options, terminal);
  const json = options.json === true;
  const request = await requestOf(adapters, options, terminal);
  await using lab = await openLab({ dir });
  return await watchSeries(
    lab,
    { dir, json },
    terminal,
    (series) => lab.evaluate(request, series),
    ({ evaluation, folder }) => {
      const place = near(terminal, folder);
      const files = `${place}/evaluation.json     all numbers\n${place}/documents.parquet   nats of every document`;
      terminal.out(
        json ? controllerApi.toJson({ evaluation, folder }) : `\n${evaluationText(evaluation)}\n\n${files}\n`,
      );
    },
  );
}
