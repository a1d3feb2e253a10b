import type { Findings } from "@bora/analysis";

const wave = (seed: number): number => Math.sin(seed * 12.9898) * 0.5 + Math.sin(seed * 4.1414) * 0.5;

/** What is drawn of the adapters themselves. */
function ofAdapters(
  names: readonly string[],
  tokens: readonly number[],
  taus: readonly number[],
  best: number,
): Pick<Findings, "distances" | "bestSteps" | "map"> {
  return {
    distances: {
      ...{ tau: best, control: true, priorMean: 1, rank: { distance: 0.9, ratio: null } },
      tasks: names.map((name, task) => {
        const independent = 1 + 0.2 * Math.sqrt(tokens[task] ?? 0);
        const distance = independent * (0.3 + 0.1 * wave(task));
        return {
          name,
          trainTokens: tokens[task] ?? 0,
          distance,
          independent,
          ratio: distance / independent,
          change: 1,
        };
      }),
    },
    bestSteps: {
      ...{ taus: [...new Set([taus[0] ?? 0, best, taus.at(-1) ?? 0])], lastStep: 400 },
      points: names.map((name, task) => ({
        name,
        trainTokens: tokens[task] ?? 0,
        tau: best,
        step: 25 * (1 + (task % 16)),
      })),
    },
    map: {
      ...{ tau: best, seed: 0, explained: [0.5, 0.2] as [number, number] },
      points: names.map((name, task) => ({
        name,
        trainTokens: tokens[task] ?? 0,
        x: wave(task + 0.3),
        y: wave(task + 9.1),
      })),
    },
  };
}

/** What figures show of a sweep with so many tasks, at these taus; made up, the same every time. */
export function madeUp(tasks: number, taus: readonly number[]): Findings & { trends: [Findings["trends"][number]] } {
  const names = Array.from(
    { length: tasks },
    (_, task) => `Task ${task + 1}${task % 3 === 0 ? " with a name that is rather long" : ""}`,
  );
  const tokens = names.map((_, task) => Math.round(300 * 60 ** (((task * 7) % tasks) / Math.max(1, tasks - 1))));
  const at = (task: number, place: number) =>
    70 + 30 * wave(task) + 12 * wave(task + 3.7 * place) + (taus[place] === 0 ? 15 : 0);
  const overall = taus.map((tau, place) => {
    const perplexity = names.reduce((sum, _, task) => sum + at(task, place), 0) / tasks;
    return { tau, perplexity, band: [perplexity * 0.97, perplexity * 1.02] as [number, number] };
  });
  const best = taus[Math.floor(taus.length / 2)] ?? 0;
  const others = taus.filter((tau) => tau !== best && (tau === 0 || tau === Infinity));
  const percents = names.map((_, task) => -10 * wave(task));
  return {
    perplexity: {
      taus: [...taus],
      overall,
      tasks: names.map((name, task) => ({
        name,
        points: taus.map((tau, place) => ({ tau, perplexity: at(task, place) })),
      })),
      ...{ base: 210, best },
    },
    curves: {
      base: 210,
      curves: taus.map((tau, place) => ({
        ...{ trial: String(place), tau, seed: 0, bestStep: 100 },
        points: Array.from({ length: 9 }, (_, k) => ({
          step: 25 * k,
          perplexity: 70 + place / 3 + 140 * Math.exp(-k / 2),
        })),
      })),
    },
    gains: {
      ...{ tau: best, others: others.length > 0 ? others : [taus[0] ?? 0] },
      tasks: names.map((name, task) => ({
        ...{ name, trainTokens: tokens[task] ?? 0, testDocuments: 12 },
        against: (others.length > 0 ? others : [taus[0] ?? 0]).map((other, place) => {
          const percent = (percents[task] ?? 0) + place;
          return { other, percent, low: percent - 4 - (task % 5), high: percent + 5 + (task % 3) * 30, pHolm: 0.2 };
        }),
      })),
    },
    trends: [
      {
        ...{ tau: best, other: 0, line: { slope: -0.02, intercept: 0.1 }, slope: { low: -0.05, high: 0.01, p: 0.2 } },
        rank: { rho: -0.31, p: 0.2 },
        tasks: names.map((name, task) => ({
          name,
          trainTokens: tokens[task] ?? 0,
          difference: (percents[task] ?? 0) / 100,
          standardError: 0.02,
        })),
      },
    ],
    heat: {
      ...{ taus: [...taus], best },
      tasks: names.map((name, task) => ({
        ...{ name, trainTokens: tokens[task] ?? 0 },
        cells: taus
          .map((tau, place) => ({ tau, perplexity: at(task, place), percent: 8 * wave(task + 2.3 * place) }))
          .filter((_, place) => (task + place) % 11 !== 10), // missing trials
      })),
    },
    ...ofAdapters(names, tokens, taus, best),
    ...{ choice: null, contrasts: [], bits: [] },
  };
}
