import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { figureSvg } from "../draw-figure.js";
import * as figures from "../figures.js";
import { madeUp } from "./figure-data.fixture.js";
import { outside, overlapping, textBoxes } from "./text-boxes.fixture.js";

const decades = [0, 1, 10, 1e2, 1e3, 1e4, 1e5, 1e6, Infinity];
const twenty = [0, ...Array.from({ length: 18 }, (_, k) => 10 ** (k / 2)), Infinity];

type Data = ReturnType<typeof madeUp>;

/** Every figure on some data, drawn at a width. */
const drawings: Record<string, (data: Data, options: figures.FigureOptions) => string> = {
  perplexityAgainstTau: (data, o) =>
    data.perplexity ? figureSvg(figures.perplexityAgainstTau, data.perplexity, o) : "",
  learningCurves: (data, o) => (data.curves ? figureSvg(figures.learningCurves, data.curves, o) : ""),
  taskGains: (data, o) => (data.gains ? figureSvg(figures.taskGains, data.gains, o) : ""),
  gainAgainstSize: (data, o) => figureSvg(figures.gainAgainstSize, data.trends[0], o),
  distanceAgainstSize: (data, o) => (data.distances ? figureSvg(figures.distanceAgainstSize, data.distances, o) : ""),
  perplexityHeatMap: (data, o) => (data.heat ? figureSvg(figures.perplexityHeatMap, data.heat, o) : ""),
  bestStepAgainstSize: (data, o) => (data.bestSteps ? figureSvg(figures.bestStepAgainstSize, data.bestSteps, o) : ""),
  adapterMap: (data, o) => (data.map ? figureSvg(figures.adapterMap, data.map, o) : ""),
};
const names = Object.keys(drawings);

function parsed(svg: string): Element {
  const found = parseHTML(`<html><body>${svg}</body></html>`).document.querySelector("svg");
  if (found === null) throw new Error(`no figure: ${svg.slice(0, 80)}`);
  return found;
}

const draw = (name: string, data: Data, options: figures.FigureOptions = {}): Element =>
  parsed(drawings[name]?.(data, options) ?? "");
const group = (svg: Element, label: string, nth = 0): Element | undefined =>
  [...svg.querySelectorAll(`g[aria-label="${label}"]`)][nth];

describe.each(names)("%s", (name) => {
  describe.each([860, 560, 340, 280])("%i pixels wide", (width) => {
    it.each([
      ["1 task, 1 tau", 1, [1e3]],
      ["2 tasks, no ends", 2, [1e2, 1e4]],
      ["6 tasks", 6, decades],
      ["25 tasks, 8 taus", 25, decades.slice(1)],
      ["100 tasks, 20 taus", 100, twenty],
    ])("has no text over another or off the sheet: %s", (_, tasks, taus) => {
      const svg = draw(name, madeUp(tasks, taus), { width });
      const boxes = textBoxes(svg);
      expect(boxes.length).toBeGreaterThan(1);
      expect(overlapping(boxes)).toEqual([]);
      expect(outside(boxes, svg)).toEqual([]);
      expect(svg.outerHTML).not.toMatch(/NaN|undefined|Infinity/);
    });
  });

  it("is the same text each time, and has a name for those who do not see it", () => {
    const data = madeUp(6, decades);
    expect(drawings[name]?.(data, {})).toBe(drawings[name]?.(data, {}));
    const svg = draw(name, data);
    expect(svg.getAttribute("role")).toBe("img");
    expect(svg.getAttribute("aria-label")).toMatch(/\w+ \w+/);
  });

  it("takes its colours from the page, with no style of its own; on paper it says them all", () => {
    const [page, paper] = [draw(name, madeUp(6, decades)), draw(name, madeUp(6, decades), { theme: "paper" })];
    expect(page.querySelectorAll("style, [style]")).toHaveLength(0);
    expect(page.outerHTML).toContain("currentColor");
    expect(page.outerHTML).not.toMatch(/#1a1a1a|DejaVu/);
    expect(paper.outerHTML).not.toMatch(/currentColor|var\(/);
    expect(paper.outerHTML).toContain('font-family="DejaVu Sans"');
    expect(paper.firstElementChild?.getAttribute("fill")).toBe("#ffffff");
  });
});

describe.each([860, 560, 340, 280])("sweeps against each other, %i pixels wide", (width) => {
  const sweeps = ["shakespeare", "the same with rsLoRA and a long name", "another base"].map((label, place) => ({
    ...{ label, sweepId: label, tau: 1e3, seeds: 1, tasks: 6, documents: 100, value: 2 - place, low: 1, high: 3 },
    ...{ perplexity: 70, base: null, byTau: decades.map((tau, at) => ({ tau, value: 2 + 0.1 * place + 0.01 * at })) },
  }));
  const own = {
    difference: -0.013,
    low: -0.041,
    high: 0.018,
    p: 0.2,
    pHolm: 0.2,
    seeds: 1,
    documents: 100,
    tasks: 6,
    leftOut: 0,
  };
  const differences = sweeps.slice(1).map(({ label }) => ({ ...own, label, method: "percentile" as const }));
  const comparison = {
    unit: "bits per character" as const,
    sweeps,
    differences,
    unpaired: [],
    tasks: [],
    settings: [],
  };

  it.each([
    ["by tau", figures.sweepsByTau, 'g[aria-label="line"] path', 3],
    ["differences", figures.sweepDifferences, 'g[aria-label="dot"] circle', 2],
  ])("%s: a mark each, no text over another or off the sheet", (_, definition, marks, count) => {
    const svg = parsed(figureSvg(definition, comparison, { width }));
    expect(svg.querySelectorAll(marks).length).toBeGreaterThanOrEqual(count);
    expect(overlapping(textBoxes(svg))).toEqual([]);
    expect(outside(textBoxes(svg), svg)).toEqual([]);
  });
});

describe("what is drawn", () => {
  const data = madeUp(6, decades);

  it("against tau: a thin line a task, a thick one for all, its band, a dot at the best, names at the ends", () => {
    const svg = draw("perplexityAgainstTau", data);
    expect(group(svg, "line", 0)?.querySelectorAll("path")).toHaveLength(6);
    expect(group(svg, "line", 1)?.querySelectorAll("path")).toHaveLength(1);
    expect(Number(group(svg, "line", 1)?.getAttribute("stroke-width"))).toBeGreaterThan(3);
    expect(group(svg, "area")?.querySelectorAll("path")).toHaveLength(1);
    expect(group(svg, "dot", 1)?.querySelectorAll("circle")).toHaveLength(1);
    const texts = textBoxes(svg).map(({ text }) => text);
    for (const text of ["0", "independent", "inf", "shared", "1e3", "all tasks (macro)", "Task 2"])
      expect(texts).toContain(text);
  });

  it("against tau: a base model far above is a number, not a line that presses all others flat", () => {
    const found = data.perplexity;
    if (found === null) throw new Error("made up without");
    const far = figureSvg(figures.perplexityAgainstTau, { ...found, base: 4000 });
    expect(far).toContain("base model 4.00e+3 (above)".replace("4.00e+3", (4000).toPrecision(3)));
    expect(far).not.toContain("stroke-dasharray");
    expect(figureSvg(figures.perplexityAgainstTau, { ...found, base: 120 })).toContain("stroke-dasharray");
  });

  it("curves: a line a trial in its tau's colour, both seeds of a tau alike, a dot at each best step", () => {
    const found = data.curves;
    if (found === null) throw new Error("made up without");
    const twice = found.curves.map((curve) => ({ ...curve, trial: `${curve.trial}b`, seed: 1 }));
    const svg = parsed(figureSvg(figures.learningCurves, { ...found, curves: [...found.curves, ...twice] }));
    const paths = [...(group(svg, "line")?.querySelectorAll("path") ?? [])];
    expect(paths).toHaveLength(18);
    expect(new Set(paths.map((path) => path.getAttribute("stroke")))).toHaveProperty("size", 9);
    expect(group(svg, "dot")?.querySelectorAll("circle")).toHaveLength(18);
    expect(textBoxes(svg).filter(({ text }) => text.startsWith("τ = "))).toHaveLength(9);
  });

  it("curves: of a thousand trials with hundreds of points each, no more points than there are pixels for", () => {
    const points = Array.from({ length: 300 }, (_, place) => ({ step: place + 1, perplexity: 100 - place / 10 }));
    const curves = Array.from({ length: 1_000 }, (_, seed) => ({
      ...{ trial: `t${seed}`, tau: 1, seed, bestStep: 300, points },
    }));
    const svg = parsed(figureSvg(figures.learningCurves, { curves, base: null }));
    const paths = [...(group(svg, "line")?.querySelectorAll("path") ?? [])];
    expect(paths).toHaveLength(1_000);
    expect(paths[0]?.getAttribute("d")?.split("L")).toHaveLength(39); // every eighth, and the last one
  });

  it("gains: an interval and a dot for each task and end, largest task on top", () => {
    const svg = draw("taskGains", data);
    expect(group(svg, "rule", 1)?.querySelectorAll("line")).toHaveLength(12);
    const tasks = textBoxes(svg).filter(({ text }) => text.startsWith("Task"));
    expect(tasks.map(({ text }) => text.slice(0, 6))).toEqual(data.gains?.tasks.map(({ name }) => name.slice(0, 6)));
    expect(tasks.map(({ top }) => top)).toEqual(tasks.map(({ top }) => top).toSorted((a, b) => a - b));
  });

  it("gain against size: a point and a bar a task, the line, its slope with the interval in words", () => {
    const svg = draw("gainAgainstSize", data);
    expect(group(svg, "dot")?.querySelectorAll("circle")).toHaveLength(6);
    expect(group(svg, "line")?.querySelectorAll("path")).toHaveLength(1);
    expect(svg.textContent).toContain("slope −0.020 (95 %: −0.050 to 0.010) nats per token");
  });

  it("distances: every task twice where tau = 0 is known, once where it is not", () => {
    expect(
      draw("distanceAgainstSize", data).querySelectorAll('g[aria-label="dot"] circle, g[aria-label="dot"] path').length,
    ).toBe(12 + 2);
    const found = data.distances;
    if (found === null) throw new Error("made up without");
    const tasks = found.tasks.map((task) => ({ ...task, independent: null, ratio: null }));
    const alone = parsed(figureSvg(figures.distanceAgainstSize, { ...found, control: false, tasks }));
    expect(alone.textContent).not.toContain("τ = 0");
  });

  it("heat map: a cell for each fit there is, blue below and vermillion above, the chosen tau framed", () => {
    const svg = draw("perplexityHeatMap", data, { theme: "paper" });
    const cells = [...(group(svg, "rect")?.querySelectorAll("rect") ?? [])];
    const all = data.heat?.tasks.flatMap(({ cells: own }) => own) ?? [];
    expect(cells).toHaveLength(all.length);
    expect(cells.map((cell) => cell.getAttribute("fill"))).toEqual(
      all.map(({ percent }) => (percent < 0 ? "#0072b2" : "#d55e00")),
    );
    expect(group(svg, "rect", 1)?.querySelectorAll("rect")).toHaveLength(1);
    expect(svg.textContent).toContain("best on validation");
  });

  it("map: a dot a task, both axes to one scale", () => {
    const found = data.map;
    if (found === null) throw new Error("made up without");
    const corners = [
      [0, 0],
      [2, 0],
      [0, 1],
    ].map(([x = 0, y = 0], task) => ({ name: `t${task}`, trainTokens: 10, x, y }));
    const circles = [
      ...(group(parsed(figureSvg(figures.adapterMap, { ...found, points: corners })), "dot")?.querySelectorAll(
        "circle",
      ) ?? []),
    ];
    const [a, b, c] = circles.map(
      (circle) => [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))] as const,
    );
    expect(Math.abs((b?.[0] ?? 0) - (a?.[0] ?? 0))).toBeCloseTo(2 * Math.abs((c?.[1] ?? 0) - (a?.[1] ?? 0)), 3);
    expect(c?.[1]).toBeLessThan(a?.[1] ?? 0); // up is up
  });

  it("taus of figure data survive JSON", () => {
    const text = JSON.stringify(data, (_, value: unknown) => (value === Infinity ? "inf" : value));
    expect(JSON.parse(text, figures.reviveTaus)).toEqual(
      JSON.parse(
        JSON.stringify(data, (_, v: unknown) => (v === Infinity ? "inf" : v)),
        figures.reviveTaus,
      ),
    );
    expect((JSON.parse(text, figures.reviveTaus) as Data).perplexity).toEqual(data.perplexity);
  });
});
