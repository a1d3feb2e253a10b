import type { LearningCurve, LearningCurves } from "@bora/analysis";
import { formatTau } from "@bora/contracts/tau";
import * as Plot from "@observablehq/plot";
import { endLabels, labelRoom } from "./end-labels.js";
import { highest, logScale } from "./log-scale.js";
import { draw, sheetOf, type FigureOptions, type Size } from "./sheet.js";
import { tauColors } from "./tau-color.js";

const nameOf = (tau: number): string => `τ = ${formatTau(tau)}`;

/** The ends of the curves of each tau, together where there are several seeds. */
function ends(curves: readonly LearningCurve[]): { tau: number; perplexity: number }[] {
  const byTau = new Map<number, number[]>();
  for (const { tau, points } of curves) {
    const last = points.at(-1);
    if (last !== undefined) byTau.set(tau, [...(byTau.get(tau) ?? []), Math.log(last.perplexity)]);
  }
  return [...byTau].map(([tau, logs]) => ({
    tau,
    perplexity: Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length),
  }));
}

/** The highest perplexity that is drawn: what diverges at the start leaves by the top. */
function ceiling(curves: readonly LearningCurve[]): number {
  const lasts = curves.flatMap(({ points }) => points.at(-1)?.perplexity ?? []);
  const all = curves.flatMap(({ points }) => points.map(({ perplexity }) => perplexity));
  return Math.min(highest(all), highest(lasts) * 3);
}

const mostPoints = 40_000; // of all curves: more than a figure has pixels for

/** Fewer points of each curve where there are too many in all; its last one and its best are kept. */
function thinned(curves: readonly LearningCurve[]): readonly LearningCurve[] {
  const every = Math.ceil(curves.reduce((sum, { points }) => sum + points.length, 0) / mostPoints);
  if (every <= 1) return curves;
  return curves.map((curve) => ({
    ...curve,
    points: curve.points.filter(
      ({ step }, place) => place % every === 0 || place === curve.points.length - 1 || step === curve.bestStep,
    ),
  }));
}

/**
 * Macro validation perplexity (logarithmic) while trials train: a line each, in the colour of its tau, a dot at the best
 * step. `curves` must hold a point.
 */
export function learningCurves(
  data: LearningCurves,
  options: FigureOptions & { of?: "validation" | "training" } = {},
): Element {
  const { of = "validation" } = options;
  const sheet = sheetOf(options);
  const curves = thinned(data.curves.filter(({ points }) => points.length > 0));
  const taus = [...new Set(curves.map(({ tau }) => tau))];
  const colors = tauColors(taus);
  const room = labelRoom(sheet, taus.map(nameOf));
  const size: Size = {
    height: Math.max(sheet.narrow ? 320 : 400, taus.length * sheet.lineHeight + 90),
    top: 34,
    bottom: 46,
    left: 46,
    right: room,
  };
  const area = [size.top, size.height - size.bottom] as const;
  const most = ceiling(curves);
  const points = curves.flatMap(({ trial, tau, points: own }) =>
    own.map(({ step, perplexity }) => ({
      trial,
      color: colors.get(tau),
      step,
      perplexity: Math.min(perplexity, most),
    })),
  );
  const scale = logScale(
    points.map(({ perplexity }) => perplexity),
    area,
  );
  const best = curves.flatMap(({ tau, bestStep, points: own }) =>
    own.filter(({ step }) => step === bestStep).map((point) => ({ ...point, color: colors.get(tau) })),
  );
  const wanted = ends(curves).map(({ tau, perplexity }) => ({
    ...{ text: nameOf(tau), y: scale.at(Math.min(perplexity, most)), first: true },
    color: colors.get(tau) ?? "currentColor",
  }));
  const lastStep = highest(points.map(({ step }) => step));
  return draw(sheet, size, {
    ariaLabel: `${of === "training" ? "Training" : "Validation"} perplexity by step, by tau`,
    x: { domain: [0, lastStep || 1], axis: null },
    y: { type: "log", domain: scale.domain, axis: null },
    marks: [
      ...scale.marks,
      Plot.axisX({ label: null, ticks: sheet.narrow ? 4 : 8 }),
      Plot.text([`${of} perplexity, macro`], {
        frameAnchor: "top-left",
        textAnchor: "start",
        dx: 4 - size.left,
        dy: -24,
      }),
      Plot.text(["step"], { frameAnchor: "bottom", dy: 38 }),
      Plot.line(points, { x: "step", y: "perplexity", z: "trial", stroke: "color", strokeWidth: 1.8 }),
      Plot.dot(best, { x: "step", y: "perplexity", fill: "color", r: 4 }),
      Plot.text(endLabels(sheet, wanted, area, room), {
        ...{ text: "text", x: () => lastStep || 1, y: ({ y }: { y: number }) => scale.valueAt(y), fill: "color" },
        ...{ dx: 6, textAnchor: "start", fontWeight: 600 },
      }),
    ],
  });
}
