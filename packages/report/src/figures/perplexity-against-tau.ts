import type { SweepResults } from "@bora/contracts";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { meanPoints, overall, taskPoints, type Point } from "./perplexity-points.js";
import { perplexityTicks } from "./perplexity-ticks.js";
import { spreadLabels } from "./spread-labels.js";
import { readableTicks, tauAxis, type TauTick } from "./tau-axis.js";

const size = { width: 860, height: 460, marginLeft: 62, marginRight: 205, marginTop: 34, marginBottom: 62 };
const area = { top: size.marginTop, bottom: size.height - size.marginBottom };
const plotWidth = size.width - size.marginLeft - size.marginRight;
const lineHeight = 13; // pixels
const labelWidth = 52; // of a tau

/** What the marks share: the axis of taus with its two ends, and the perplexities shown. */
interface Frame {
  axis: readonly TauTick[];
  left: number;
  right: number;
  domain: [number, number];
}

function frameOf(taus: readonly number[], perplexities: readonly number[]): Frame {
  const axis = tauAxis(taus);
  const [first, last] = [axis[0]?.at ?? 0, axis.at(-1)?.at ?? 0];
  const margin = 0.03 * (last - first || 1);
  const domain: [number, number] = [Math.min(...perplexities) / 1.06, Math.max(...perplexities) * 1.06];
  return { axis, left: first - margin, right: last + margin, domain };
}

function axes({ axis, left, right, domain }: Frame): Plot.Markish[] {
  const ticks = readableTicks(axis, (labelWidth / plotWidth) * (right - left));
  const label = (at: number): string => axis.find((tick) => tick.at === at)?.label ?? "";
  return [
    Plot.gridY(perplexityTicks(...domain), { strokeOpacity: 0.12 }),
    Plot.axisY(perplexityTicks(...domain), { label: null, tickFormat: String, tickSize: 0 }),
    Plot.axisX(
      ticks.map(({ at }) => at),
      { label: null, tickFormat: label, lineHeight: 1.3 },
    ),
    Plot.text(["Test perplexity"], {
      frameAnchor: "top-left",
      textAnchor: "start",
      dx: 4 - size.marginLeft,
      dy: -24,
    }),
    Plot.text(["prior precision τ (nats)"], { frameAnchor: "bottom", dy: 52 }),
  ];
}

const baseLine = (perplexity: number): Plot.Markish[] => [
  Plot.ruleY([perplexity], { strokeDasharray: "5 4", strokeOpacity: 0.7 }),
  Plot.text([perplexity], {
    text: () => "base model",
    y: (value: number) => value,
    frameAnchor: "right",
    textAnchor: "end",
    dx: -4,
    dy: -8,
  }),
];

function lines({ axis }: Frame, tasks: readonly Point[], mean: readonly Point[], best: number | undefined) {
  const x = ({ tau }: Point) => axis.find((tick) => tick.tau === tau)?.at;
  return [
    Plot.line(tasks, { x, y: "perplexity", z: "name", strokeWidth: 1, strokeOpacity: 0.38 }),
    Plot.dot(tasks, { x, y: "perplexity", r: 1.6, fill: "currentColor", fillOpacity: 0.38, stroke: "none" }),
    Plot.line(mean, { x, y: "perplexity", strokeWidth: 3.5, strokeLinejoin: "round" }),
    Plot.dot(
      mean.filter(({ tau }) => tau === best),
      { x, y: "perplexity", r: 6, fill: "currentColor" },
    ),
  ];
}

/** Names at the right ends of the lines, moved apart; of the mean alone when there are too many to read. */
function names({ right, domain }: Frame, points: readonly Point[]): Plot.Markish {
  const decades = Math.log(domain[1] / domain[0]) / (area.bottom - area.top);
  const last = Math.max(...points.map(({ tau }) => tau));
  const ends = points.filter(({ tau }) => tau === last);
  const crowded = (ends.length - 1) * lineHeight > area.bottom - area.top;
  const wanted = ends
    .filter(({ name }) => !crowded || name === overall)
    .map(({ name, perplexity }) => ({ label: name, at: area.top + Math.log(domain[1] / perplexity) / decades }));
  return Plot.text(spreadLabels(wanted, lineHeight, [area.top, area.bottom]), {
    text: ({ label }) => (label.length > 30 ? `${label.slice(0, 29)}…` : label),
    x: () => right,
    y: ({ at }) => domain[1] * Math.exp((area.top - at) * decades),
    dx: 6,
    textAnchor: "start",
    fillOpacity: ({ label }) => (label === overall ? 1 : 0.65),
  });
}

/**
 * The poster's figure as SVG text: test perplexity (logarithmic) against tau, 0 and infinity as named ends; every task
 * thin, all tasks together thick, the base model dashed, the best tau (by validation) as a dot. Drawn in the colour of
 * the text around it. Empty text when nothing finished.
 */
export function perplexityAgainstTau(results: SweepResults): string {
  const [tasks, mean] = [taskPoints(results), meanPoints(results)];
  if (mean.length === 0) return "";
  const base = results.base === null ? [] : [results.base.test.macroPerplexity];
  const shown = [...tasks, ...mean];
  const frame = frameOf(
    results.trials.map(({ tau }) => tau),
    shown.map(({ perplexity }) => perplexity).concat(base),
  );
  const { document } = parseHTML("<html><body></body></html>");
  const figure = Plot.plot({
    document,
    className: "perplexity-figure",
    ariaLabel: "Test perplexity against tau",
    ...size,
    style: { fontSize: "12px", background: "none" },
    x: { domain: [frame.left, frame.right], axis: null },
    y: { type: "log", domain: frame.domain },
    marks: [
      ...axes(frame),
      ...base.flatMap(baseLine),
      ...lines(frame, tasks, mean, results.best?.tau),
      names(frame, shown),
    ],
  });
  figure.setAttribute("xmlns", "http://www.w3.org/2000/svg"); // so that it is a picture on its own, too
  return figure.outerHTML;
}
