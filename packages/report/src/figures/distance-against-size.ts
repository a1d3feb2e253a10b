import type { DistanceBySize } from "@bora/analysis";
import { formatTau } from "@bora/contracts/tau";
import * as Plot from "@observablehq/plot";
import { heading } from "./heading.js";
import { legend } from "./legend.js";
import { logScale } from "./log-scale.js";
import { frameOf, labelMarks, placeLabels } from "./place-labels.js";
import { draw, ground, sheetOf, type FigureOptions, type Size } from "./sheet.js";
import { sizeAxis } from "./size-axis.js";

function words({ control, rank }: DistanceBySize): string[] {
  const rho = (value: number | null) => (value === null ? "not known" : value.toFixed(2).replace("-", "−"));
  const raw = `distance ‖θ − Θ‖ of each task; Spearman ρ with training tokens ${rho(rank.distance)}`;
  return [control ? `${raw}, of the ratio to τ = 0 ${rho(rank.ratio)}` : raw];
}

/**
 * How far each task's adapter went from Theta, against its training tokens, and how far it went at tau = 0, where there
 * is no prior: distances grow with data by themselves, only the gap between the two is shrinkage. Both logarithmic.
 */
export function distanceAgainstSize(data: DistanceBySize, options: FigureOptions = {}): Element {
  const sheet = sheetOf(options);
  const title = heading(sheet, words(data));
  const [own, free] = [sheet.color("low"), sheet.color("high")];
  const key = legend(sheet, [
    { text: `τ = ${formatTau(data.tau)}`, color: own },
    ...(data.control ? [{ text: "τ = 0, no prior", color: free, hollow: true }] : []),
  ]);
  const top = title.height + key.height;
  const size: Size = { height: top + (sheet.narrow ? 280 : 330), top, bottom: 48, left: 52, right: 16 };
  const area = frameOf(sheet, size);
  const axis = sizeAxis(
    sheet,
    size,
    data.tasks.map(({ trainTokens }) => trainTokens),
  );
  const alone = data.tasks.flatMap(({ independent, ...task }) =>
    independent === null ? [] : [{ ...task, independent }],
  );
  const scale = logScale(
    [...data.tasks.map(({ distance }) => distance), ...alone.map(({ independent }) => independent)],
    [area.top, area.bottom],
  );
  const place = (trainTokens: number, distance: number, text: string) => ({
    text,
    x: axis.at(trainTokens),
    y: scale.at(distance),
    r: 5,
  });
  const labels = placeLabels(
    sheet,
    data.tasks.map(({ name, trainTokens, distance }) => place(trainTokens, distance, name)),
    area,
    [
      ...alone.map(({ trainTokens, independent, distance }) => {
        const [x, y, to] = [axis.at(trainTokens), scale.at(independent), scale.at(distance)];
        return { left: x - 5, right: x + 5, top: Math.min(y, to) - 5, bottom: Math.max(y, to) };
      }),
    ],
  );
  return draw(sheet, size, {
    ariaLabel: "Distance of each task's adapter to Theta against training size, with tau = 0 as its control",
    x: { type: "log", domain: axis.domain, axis: null },
    y: { type: "log", domain: scale.domain, axis: null },
    marks: [
      ...title.marks(size),
      ...key.marks(size, title.height),
      ...scale.marks,
      ...axis.marks,
      Plot.ruleX(alone, { x: "trainTokens", y1: "distance", y2: "independent", strokeOpacity: 0.4 }),
      Plot.dot(alone, {
        x: "trainTokens",
        y: "independent",
        r: 4,
        stroke: free,
        fill: ground(sheet),
        strokeWidth: 1.5,
      }),
      Plot.dot(data.tasks, { x: "trainTokens", y: "distance", r: 4, fill: own }),
      ...labelMarks(labels, size),
    ],
  });
}
