import type { CurvePoint, FewShotCurves } from "@bora/contracts";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { logTicks } from "./figures/log-ticks.js";
import { spreadLabels } from "./figures/spread-labels.js";

const size = { width: 860, height: 480, marginLeft: 62, marginRight: 190, marginTop: 34, marginBottom: 62 };
const area = { top: size.marginTop, bottom: size.height - size.marginBottom };
const lineHeight = 14; // pixels

type Size = CurvePoint["size"];
type Model = CurvePoint["model"];

/** A point where it is drawn. */
interface Drawn {
  model: Model;
  task: string | null;
  at: number;
  perplexity: number;
  low: number | null;
  high: number | null;
}

const names: Record<Model, string> = {
  adapted: "adapted, Theta as prior",
  "prior-mean": "Theta alone",
  scratch: "from scratch",
  base: "base model",
};

/** Numbers of documents at their power of two; 0 and all one step beyond the outermost. */
function places(sizes: readonly Size[]): { size: Size; at: number; label: string }[] {
  const powers = sizes.filter((one): one is number => one !== "all" && one > 0).map(Math.log2);
  const [low, high] = powers.length === 0 ? [0, 0] : [Math.min(...powers), Math.max(...powers)];
  return sizes.map((one) => {
    if (one === "all") return { size: one, at: high + 1, label: "all" };
    return { size: one, at: one === 0 ? low - 1 : Math.log2(one), label: String(one) };
  });
}

const perplexity = (nats: number | null): number | null => (nats === null ? null : Math.exp(nats));

function drawn(curves: FewShotCurves): Drawn[] {
  const at = new Map(places(curves.sizes).map((place) => [place.size, place.at]));
  return curves.points.map(({ model, task, size: own, natsPerToken, low, high }) => ({
    ...{ model, task, at: at.get(own) ?? 0, perplexity: Math.exp(natsPerToken) },
    ...{ low: perplexity(low), high: perplexity(high) },
  }));
}

function axes(ticks: ReturnType<typeof places>, domain: [number, number]): Plot.Markish[] {
  const labels = new Map(ticks.map(({ at, label }) => [at, label]));
  return [
    Plot.gridY(logTicks(...domain), { strokeOpacity: 0.12 }),
    Plot.axisY(logTicks(...domain), { label: null, tickFormat: String, tickSize: 0 }),
    Plot.axisX(
      ticks.map(({ at }) => at),
      { label: null, tickFormat: (at: number) => labels.get(at) ?? "" },
    ),
    Plot.text(["Test perplexity of tasks left out of Theta"], {
      ...{ frameAnchor: "top-left", textAnchor: "start", dx: 4 - size.marginLeft, dy: -24 },
    }),
    Plot.text(["training documents of the new task"], { frameAnchor: "bottom", dy: 46 }),
  ];
}

const dashes: Partial<Record<Model, string>> = { scratch: "7 4", base: "2 4" };
const widths: Record<Model, number> = { adapted: 3.5, scratch: 2.5, "prior-mean": 1.5, base: 1.5 };

/** The mean over tasks: its band where there is one, and its line. */
function meanLine(model: Model, points: readonly Drawn[]): Plot.Markish[] {
  const own = points.filter((point) => point.model === model && point.task === null);
  const banded = own.filter(({ low, high }) => low !== null && high !== null);
  const band = model === "adapted" || model === "scratch";
  return [
    ...(band ? [Plot.areaY(banded, { x: "at", y1: "low", y2: "high", fill: "currentColor", fillOpacity: 0.1 })] : []),
    Plot.line(own, { x: "at", y: "perplexity", strokeWidth: widths[model], strokeDasharray: dashes[model] ?? "none" }),
  ];
}

const taskLines = (points: readonly Drawn[]): Plot.Markish =>
  Plot.line(
    points.filter(({ model, task }) => model === "adapted" && task !== null),
    { x: "at", y: "perplexity", z: "task", strokeWidth: 1, strokeOpacity: 0.38 },
  );

/** Names at the right ends of the lines, moved apart. */
function endLabels(points: readonly Drawn[], domain: [number, number], right: number): Plot.Markish {
  const decades = Math.log(domain[1] / domain[0]) / (area.bottom - area.top);
  const ends = points.filter((point) => point.at === right);
  const tasks = ends.filter(({ model, task }) => model === "adapted" && task !== null);
  const means = ends.filter(({ task }) => task === null);
  const crowded = (means.length + tasks.length - 1) * lineHeight > area.bottom - area.top;
  const wanted = [...means, ...(crowded ? [] : tasks)].map(({ model, task, perplexity: value }) => ({
    label: { text: task ?? names[model], mean: task === null },
    at: area.top + Math.log(domain[1] / value) / decades,
  }));
  return Plot.text(spreadLabels(wanted, lineHeight, [area.top, area.bottom]), {
    text: ({ label }) => (label.text.length > 28 ? `${label.text.slice(0, 27)}…` : label.text),
    x: () => right,
    y: ({ at }) => domain[1] * Math.exp((area.top - at) * decades),
    dx: 8,
    textAnchor: "start",
    fillOpacity: ({ label }) => (label.mean ? 1 : 0.65),
  });
}

/**
 * Few-shot curves as SVG text: test perplexity (logarithmic) against training documents (powers of two, 0 and all as
 * ends), mean over tasks: adapted under Theta thick and from scratch dashed, both with their 95 % band, Theta alone and
 * the base model; each task's adapted line thin. Drawn in the colour of the text around it. Empty text without points.
 */
export function fewShot(curves: FewShotCurves): string {
  const points = drawn(curves);
  if (points.length === 0) return "";
  const ticks = places(curves.sizes);
  const shown = points.filter(({ model, task }) => task === null || model === "adapted");
  const values = shown.flatMap(({ perplexity: value, low, high, model }) =>
    model === "base" || model === "prior-mean" ? [value] : [value, low ?? value, high ?? value],
  );
  const domain: [number, number] = [Math.min(...values) / 1.05, Math.max(...values) * 1.05];
  const [left, right] = [Math.min(...ticks.map(({ at }) => at)), Math.max(...ticks.map(({ at }) => at))];
  const margin = 0.03 * (right - left || 1);
  const { document } = parseHTML("<html><body></body></html>");
  const figure = Plot.plot({
    ...size,
    document,
    className: "few-shot-figure",
    ariaLabel: `test perplexity against training documents of a new task, tau = ${curves.tau}`,
    style: { fontSize: "12px", background: "none" },
    x: { domain: [left - margin, right + margin], axis: null },
    y: { type: "log", domain },
    marks: [
      ...axes(ticks, domain),
      taskLines(points),
      ...(["base", "prior-mean", "scratch", "adapted"] as const).flatMap((model) => meanLine(model, points)),
      endLabels(points, domain, right),
    ],
  });
  figure.setAttribute("xmlns", "http://www.w3.org/2000/svg"); // so that it is a picture on its own, too
  return figure.outerHTML;
}
