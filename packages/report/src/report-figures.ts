import type { Findings, SizeTrend } from "@bora/analysis";
import { formatTau } from "@bora/contracts";
import type { FigureOptions } from "./figures/sheet.js";
import { figureSvg, type DrawFigure } from "./draw-figure.js";
import * as figures from "./figures.js";

/** A figure of a report: how to draw it, or why it is not drawn. */
export interface ReportFigure {
  name: string; // of its files
  title: string;
  caption: string;
  /** Null where there is nothing to draw, for the reason in `missing`. */
  svg: ((options: Omit<FigureOptions, "document">) => string) | null;
  missing: string;
}

type Words = Pick<ReportFigure, "name" | "title" | "caption" | "missing">;

const figure = <Data>(words: Words, definition: DrawFigure<Data>, data: Data | null): ReportFigure => ({
  ...words,
  svg: data === null ? null : (options) => figureSvg(definition, data, options),
});

const sizeWords = (other: string, name: string): Words => ({
  name,
  title: `Gain over τ = ${other} against training size`,
  caption: `A point is a task: the difference between the best τ and τ = ${other} on its test documents, with one standard
    error either way. The line weighs tasks by 1 / standard error²; its interval is in the heading.`,
  missing: "it takes four tasks of three sizes, with two test documents each, and a second τ",
});

const trend = (data: SizeTrend): ReportFigure => {
  const other = formatTau(data.other);
  const word = data.other === 0 ? "independent" : data.other === Infinity ? "shared" : other;
  return figure(sizeWords(other, `gain-against-size-${word}`), figures.gainAgainstSize, data);
};

const words = {
  perplexity: {
    name: "perplexity-against-tau",
    title: "Test perplexity against τ",
    caption: `Thick: exp of the mean over tasks of nats per token; its band is the 95 % interval of the paired difference to the
      best τ, which the dot marks (lowest on validation). Thin: each task. Dashed: the base model without adapters. Lower is
      better; the vertical axis is logarithmic.`,
    missing: "no trial is done",
  },
  curves: {
    name: "learning-curves",
    title: "Learning curves",
    caption: "Macro validation perplexity while training; the dot is the step whose adapters were kept and tested.",
    missing: "no validation while training is known (results of an earlier version hold none)",
  },
  gains: {
    name: "gain-by-task",
    title: "Gain by task",
    caption: `Difference between the best τ and the ends of the grid for each task's own test documents, largest training set
      first, with 95 % intervals (paired bootstrap over documents, not adjusted for the number of tasks).`,
    missing: "it takes a second τ that is done, and tasks with two test documents",
  },
  distances: {
    name: "distance-against-size",
    title: "Distance to Θ against training size",
    caption: `How far each task's adapter went from Θ, and how far it goes at τ = 0 where there is no prior. Distances grow with data
      by themselves: only the gap between the two is shrinkage.`,
    missing: "no finite τ above 0 has measured distances (trainers of an earlier version measure none)",
  },
  heat: {
    name: "perplexity-by-task-and-tau",
    title: "Test perplexity by task and τ",
    caption: "Blue is below the task's own (geometric) mean over the τ, vermillion above; the stronger, the farther.",
    missing: "no trial is done",
  },
  bestSteps: {
    name: "best-step-against-size",
    title: "Best step against training size",
    caption: `The step at which each task's own validation nats were lowest. All tasks of a trial are kept at one step, that of the lowest
      macro mean: where these points lie apart, that step is a compromise.`,
    missing: "no validation by task is known (results of an earlier version hold none)",
  },
  map: {
    name: "adapter-map",
    title: "Map of the adapters",
    caption: `Principal components of the adapters' changes of the weights. A dot's area goes with the task's training tokens; names that
      found no room are left out.`,
    missing: "it takes three tasks and the trainer's inner products between adapters",
  },
} as const satisfies Record<string, Words>;

/** The figures of a sweep's report, in order. */
export const reportFigures = (found: Findings): ReportFigure[] => [
  figure(words.perplexity, figures.perplexityAgainstTau, found.perplexity),
  figure(words.curves, figures.learningCurves, found.curves),
  figure(words.gains, figures.taskGains, found.gains),
  ...(found.trends.length > 0
    ? found.trends.map(trend)
    : [figure(sizeWords("0", "gain-against-size"), figures.gainAgainstSize, null)]),
  figure(words.distances, figures.distanceAgainstSize, found.distances),
  figure(words.heat, figures.perplexityHeatMap, found.heat),
  figure(words.bestSteps, figures.bestStepAgainstSize, found.bestSteps),
  figure(words.map, figures.adapterMap, found.map),
];
