import type { PerplexityByTau, PerplexityPoint } from "@bora/analysis";
import * as Plot from "@observablehq/plot";
import { endLabels, labelRoom } from "./end-labels.js";
import { logScale, type LogScale } from "./log-scale.js";
import { draw, sheetOf, type FigureOptions, type Sheet, type Size } from "./sheet.js";
import { readableTicks, tauAxis, type TauTick } from "./tau-axis.js";

const overall = "all tasks (macro)";

interface Axis {
  ticks: readonly TauTick[];
  domain: [number, number];
  at(tau: number): number;
}

function axisOf(taus: readonly number[]): Axis {
  const ticks = tauAxis(taus);
  const [first, last] = [ticks[0]?.at ?? 0, ticks.at(-1)?.at ?? 0];
  const margin = 0.03 * (last - first || 1);
  return {
    ticks,
    domain: [first - margin, last + margin],
    at: (tau) => ticks.find((tick) => tick.tau === tau)?.at ?? NaN,
  };
}

function axes(sheet: Sheet, size: Size, { ticks, domain }: Axis): Plot.Markish[] {
  const perPixel = (domain[1] - domain[0]) / (sheet.width - size.left - size.right);
  const widest = Math.max(...ticks.map(({ label }) => Math.max(...label.split("\n").map(sheet.textWidth))));
  const shown = readableTicks(ticks, (widest + 8) * perPixel);
  return [
    Plot.axisX(
      shown.map(({ at }) => at),
      { label: null, tickFormat: (at: number) => ticks.find((tick) => tick.at === at)?.label ?? "", lineHeight: 1.3 },
    ),
    Plot.text(["test perplexity"], { frameAnchor: "top-left", textAnchor: "start", dx: 4 - size.left, dy: -24 }),
    Plot.text(["prior precision τ (nats)"], { frameAnchor: "bottom", dy: size.bottom - 8 }),
  ];
}

function lines(sheet: Sheet, { overall: mean, tasks, best }: PerplexityByTau, { at }: Axis): Plot.Markish[] {
  const x = ({ tau }: { tau: number }) => at(tau);
  const points = tasks.flatMap(({ name, points: own }) => own.map((point) => ({ name, ...point })));
  const banded = mean.flatMap(({ tau, band }) => (band === null ? [] : [{ tau, low: band[0], high: band[1] }]));
  return [
    Plot.areaY(banded, { x, y1: "low", y2: "high", fill: sheet.color("low"), fillOpacity: 0.25 }),
    Plot.line(points, { x, y: "perplexity", z: "name", strokeWidth: 1, strokeOpacity: 0.4 }),
    Plot.dot(points, { x, y: "perplexity", r: 1.6, fill: "currentColor", fillOpacity: 0.4, stroke: "none" }),
    Plot.line(mean, { x, y: "perplexity", strokeWidth: 3.5, strokeLinejoin: "round" }),
    Plot.dot(
      mean.filter(({ tau }) => tau === best || mean.length === 1),
      { x, y: "perplexity", r: 6, fill: "currentColor" },
    ),
  ];
}

/** Names at the right ends of the lines. */
function names(sheet: Sheet, size: Size, data: PerplexityByTau & { thick: string }, scale: LogScale, right: number) {
  const end = (points: readonly { perplexity: number }[]) => scale.at(points.at(-1)?.perplexity ?? NaN);
  const wanted = [
    { text: data.thick, y: end(data.overall), first: true },
    ...data.tasks
      .filter(({ points }) => points.length > 0)
      .map(({ name, points }) => ({ text: name, y: end(points), first: false })),
  ];
  const placed = endLabels(sheet, wanted, [size.top, size.height - size.bottom], size.right);
  return Plot.text(placed, {
    text: "text",
    x: () => right,
    y: ({ y }) => scale.valueAt(y),
    dx: 6,
    textAnchor: "start",
    fillOpacity: ({ opacity }) => opacity,
  });
}

/** The base model as a rule where it is near enough to leave the lines room, else as a number at the top. */
function baseMarks(base: number | null, scale: LogScale): Plot.Markish[] {
  if (base === null) return [];
  const above = base > scale.domain[1];
  const text = above ? `base model ${base.toPrecision(3)} (above)` : "base model";
  const place = above
    ? { frameAnchor: "top-right" as const, dy: 6 }
    : { y: () => base, frameAnchor: "right" as const, dy: -8 };
  return [
    ...(above ? [] : [Plot.ruleY([base], { strokeDasharray: "5 4", strokeOpacity: 0.7 })]),
    Plot.text([text], { ...place, textAnchor: "end", dx: -4 }),
  ];
}

/** Whether the base model's line would take more of the height than all others. */
function farAbove(base: number, shown: readonly number[]): boolean {
  const [least, most] = [Math.min(...shown), Math.max(...shown)];
  return Math.log(base / most) > Math.max(Math.log(most / least), 0.2);
}

/**
 * The poster's figure: test perplexity (logarithmic) against tau, 0 and infinity as named ends; every task thin, all
 * tasks together thick with the interval of their difference to the best tau, which is marked by a dot, the base model
 * dashed. `overall` must hold a point; `thick` names its line.
 */
export function perplexityAgainstTau(
  data: PerplexityByTau,
  { thick = overall, ...options }: FigureOptions & { thick?: string } = {},
): Element {
  const sheet = sheetOf(options);
  const texts = [thick, ...data.tasks.map(({ name }) => name)];
  const size: Size = {
    height: sheet.narrow ? 380 : 460,
    top: 34,
    bottom: 62,
    left: 46,
    right: labelRoom(sheet, texts),
  };
  const axis = axisOf(data.taus);
  const bands = data.overall.flatMap(({ band }: PerplexityPoint) => band ?? []);
  const shown = [...data.overall, ...data.tasks.flatMap(({ points }) => points)].map(({ perplexity }) => perplexity);
  const base = data.base === null || farAbove(data.base, shown) ? [] : [data.base];
  const scale = logScale([...shown, ...bands, ...base], [size.top, size.height - size.bottom]);
  return draw(sheet, size, {
    ariaLabel: "Test perplexity against tau",
    x: { domain: axis.domain, axis: null },
    y: { type: "log", domain: scale.domain, axis: null },
    marks: [
      ...scale.marks,
      ...axes(sheet, size, axis),
      ...baseMarks(data.base, scale),
      ...lines(sheet, data, axis),
      names(sheet, size, { ...data, thick }, scale, axis.domain[1]),
    ],
  });
}
