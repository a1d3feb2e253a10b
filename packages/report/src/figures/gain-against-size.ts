import type { SizeTrend } from "@bora/analysis";
import { formatTau } from "@bora/contracts/tau";
import * as Plot from "@observablehq/plot";
import { heading } from "./heading.js";
import { frameOf, labelMarks, placeLabels } from "./place-labels.js";
import { draw, sheetOf, type FigureOptions, type Size } from "./sheet.js";
import { sizeAxis } from "./size-axis.js";

const asPercent = (nats: number): number => 100 * Math.expm1(nats);
const minus = (text: string): string => text.replace("-", "−");

function words({ tau, other, line, slope, rank }: SizeTrend): string[] {
  const [found, low, high] = [line.slope, slope.low, slope.high].map((value) => minus(value.toFixed(3)));
  const rho = rank.rho === null ? "" : `; Spearman ρ ${minus(rank.rho.toFixed(2))}`;
  return [
    `τ = ${formatTau(tau)} against τ = ${formatTau(other)}: % of test perplexity, lower is better`,
    `slope ${found} (95 %: ${low} to ${high}) nats per token for e times the tokens${rho}`,
  ];
}

function domainOf(points: readonly { low: number; high: number }[]): [number, number] {
  const ends = [0, ...points.flatMap(({ low, high }) => [low, high])];
  const margin = 0.06 * (Math.max(...ends) - Math.min(...ends) || 1);
  return [Math.min(...ends) - margin, Math.max(...ends) + margin];
}

/**
 * Each task's gain against its training tokens, bars of one standard error either way, and the line whose weights are
 * 1 / standard error^2, with the interval of its slope.
 */
export function gainAgainstSize(data: SizeTrend, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const title = heading(sheet, words(data));
  const size: Size = {
    height: title.height + (sheet.narrow ? 290 : 340),
    top: title.height,
    bottom: 48,
    left: 48,
    right: 16,
  };
  const axis = sizeAxis(
    sheet,
    size,
    data.tasks.map(({ trainTokens }) => trainTokens),
  );
  const points = data.tasks.map(({ name, trainTokens, difference, standardError }) => ({
    ...{ name, trainTokens, y: asPercent(difference) },
    ...{ low: asPercent(difference - standardError), high: asPercent(difference + standardError) },
  }));
  const lineAt = (tokens: number) => asPercent(data.line.intercept + data.line.slope * Math.log(tokens));
  const domain = domainOf(points);
  const area = frameOf(sheet, size);
  const yAt = (value: number) => area.top + ((domain[1] - value) / (domain[1] - domain[0])) * (area.bottom - area.top);
  const whiskers = points.map(({ trainTokens, low, high }) => {
    const x = axis.at(trainTokens);
    return { left: x - 2, right: x + 2, top: yAt(high), bottom: yAt(low) };
  });
  // Cut at the frame by hand: a clip path would take its name from a counter.
  const line = Array.from(
    { length: 121 },
    (_, index) => axis.domain[0] ** (1 - index / 120) * axis.domain[1] ** (index / 120),
  )
    .map((tokens) => ({ tokens, y: lineAt(tokens) }))
    .filter(({ y }) => y >= domain[0] && y <= domain[1]);
  const along = line.map(({ tokens, y }) => {
    const [left, top] = [axis.at(tokens), yAt(y)];
    return { left: left - 1, right: left + 1, top: top - 2, bottom: top + 2 };
  });
  const dots = points.map(({ name, trainTokens, y }) => ({ text: name, x: axis.at(trainTokens), y: yAt(y), r: 5 }));
  return draw(sheet, size, {
    ariaLabel: `Gain of tau ${formatTau(data.tau)} over tau ${formatTau(data.other)} against training size`,
    x: { type: "log", domain: axis.domain, axis: null },
    y: { domain, axis: null },
    marks: [
      ...title.marks(size),
      Plot.gridY({ ticks: 6, strokeOpacity: 0.12 }),
      Plot.axisY({ label: null, ticks: 6, tickSize: 0 }),
      ...axis.marks,
      Plot.ruleY([0], { strokeOpacity: 0.6 }),
      Plot.line(line, { x: "tokens", y: "y", stroke: sheet.color("low"), strokeWidth: 2 }),
      Plot.ruleX(points, { x: "trainTokens", y1: "low", y2: "high", strokeOpacity: 0.6, strokeWidth: 1.5 }),
      Plot.dot(points, { x: "trainTokens", y: "y", r: 4, fill: "currentColor" }),
      ...labelMarks(placeLabels(sheet, dots, area, [...whiskers, ...along]), size),
    ],
  });
}
