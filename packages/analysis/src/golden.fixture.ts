import { readFileSync } from "node:fs";

type Numbers = number[];

/** What tools/write-golden.py wrote; golden.json names the versions of the libraries. */
export interface Golden {
  distributions: {
    normal: { p: number; z: number }[];
    student: { p: number; degreesOfFreedom: number; t: number }[];
  };
  bootstrap: {
    tasks: { tokens: Numbers; nats: Numbers }[];
    estimate: number;
    replicates: Numbers;
    percentile: Numbers;
    bca: Numbers;
    fractions: [number, number];
    acceleration: number;
    ownResamples: number;
    percentileBands: [Numbers, Numbers];
    bcaBands: [Numbers, Numbers];
    standardErrorOfReplicates: number;
  };
  welch: { tasks: Numbers[]; difference: number; standardError: number; degreesOfFreedom: number };
  twoWay: { y: Numbers[]; standardError: number; degreesOfFreedom: number };
  holm: { p: Numbers; adjusted: Numbers }[];
  spearman: { x: Numbers; y: Numbers; rho: number; p: number; method: "exact" | "t" }[];
  weightedLine: {
    x: Numbers;
    y: Numbers;
    weights: Numbers;
    intercept: number;
    slope: number;
    standardError: number;
    p: number;
    degreesOfFreedom: number;
  };
  adapterMap: { gram: Numbers[]; points: Numbers[]; explained: Numbers };
}

export const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url), "utf8")) as Golden;

/** Tasks as they lie in `HeldOut`, and one run's nats. */
export function laidOut(tasks: readonly { tokens: readonly number[]; nats: readonly number[] }[]) {
  let begin = 0;
  const spans = tasks.map(({ tokens }, task) => {
    const span = { name: `task ${task}`, begin, end: begin + tokens.length };
    begin = span.end;
    return span;
  });
  return {
    tasks: spans,
    tokens: Float64Array.from(tasks.flatMap(({ tokens }) => tokens)),
    nats: Float64Array.from(tasks.flatMap(({ nats }) => nats)),
  };
}
