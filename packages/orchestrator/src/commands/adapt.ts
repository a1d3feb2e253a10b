import { BoraError, parseTau } from "@bora/contracts";
import { openLab, type AdaptRequest, type FewShotRequest, type SeriesOptions } from "@bora/sdk";
import { controllerApi } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import { dataFile, type DataOptions } from "../data-options.js";
import { adaptationText, curvesText } from "../model-tables.js";
import { outFolder, type OutOptions } from "../options.js";
import type { Terminal } from "../terminal.js";
import { near } from "../near.js";
import { watchSeries } from "../watch-series.js";

export interface AdaptOptions extends OutOptions, DataOptions {
  tau: string;
  task?: string;
  documents?: string;
  curve?: boolean;
  tasks?: string[];
  sizes?: string;
  set: string[];
}

const tauOf = (text: string): number | "auto" => (text === "auto" ? text : parseTau(text));

/** Throws usage. */
function count(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= 0) return value;
  throw new BoraError("usage", `--${name} ${text}: expected a whole number from 0 on`, { hint: "for example 8" });
}

function adaptRequest(sweepId: string, options: AdaptOptions, terminal: Terminal): AdaptRequest {
  const { task, tau, documents, set } = options;
  if (task === undefined)
    throw new BoraError("usage", "bora adapt needs --task, the name of the new task", {
      hint: "a task of the sweep's own source that it has not seen, or of a file with --data; or --curve for all in turn",
    });
  const data = dataFile(options, terminal);
  return {
    ...{ sweepId, task, tau: tauOf(tau), set },
    ...(data !== undefined && { data }),
    ...(documents !== undefined && { documents: count("documents", documents) }),
  };
}

function curveRequest(sweepId: string, options: AdaptOptions): FewShotRequest {
  const { tau, tasks, sizes, set } = options;
  return {
    ...{ sweepId, tau: tauOf(tau), set },
    ...(tasks !== undefined && { tasks }),
    ...(sizes !== undefined && { sizes: sizes.split(",").map((size) => count("sizes", size)) }),
  };
}

/** `bora adapt`: an adapter of a new task under a finished sweep's Theta, or the few-shot curves of its own tasks. */
export async function adapt(sweepId: string, options: AdaptOptions, terminal: Terminal): Promise<ExitName> {
  const dir = outFolder(options, terminal);
  const where = { dir, json: options.json === true };
  const tell = (found: object, text: string, files: Record<string, string>, folder: string) => {
    const list = Object.entries(files).map(([name, what]) => `${near(terminal, folder)}/${name.padEnd(16)}${what}`);
    terminal.out(where.json ? controllerApi.toJson({ ...found, folder }) : `\n${text}\n\n${list.join("\n")}\n`);
  };
  if (options.curve === true) {
    const request = curveRequest(sweepId, options);
    await using lab = await openLab({ dir });
    const work = (series: SeriesOptions) => lab.fewShotCurves(request, series);
    return await watchSeries(lab, where, terminal, work, ({ curves, folder }) => {
      const files = { "few-shot.json": "all numbers", "few-shot.svg": "the curves" };
      tell({ curves }, curvesText(curves), files, folder);
    });
  }
  const request = adaptRequest(sweepId, options, terminal);
  await using lab = await openLab({ dir });
  const work = (series: SeriesOptions) => lab.adapt(request, series);
  return await watchSeries(lab, where, terminal, work, ({ adaptation, folder }) => {
    const files = { "adapt.json": "all numbers", "adapter/": "the new adapter, in PEFT's format" };
    tell({ adaptation }, adaptationText(adaptation), files, folder);
  });
}
