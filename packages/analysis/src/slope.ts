/**
 * The interval of the slope of a weighted line over tasks. Its weights, 1 / standard error^2, are estimated from the
 * same documents: a task that looks precise by chance gets too much of them. With weights taken as given, 95 %
 * intervals held the truth in 85 to 87 % of simulated studies; so leaving a document out changes its task's weight as
 * well as its difference.
 */
import { conclude, type Comparison, type ContrastOptions } from "./contrast.js";
import { dot, taskRates, total, type HeldOut } from "./held-out.js";
import { centre } from "./jackknife.js";
import { resampleDocuments, taskMultiplicities } from "./resampling.js";
import { slopeCoefficients } from "./weighted-line.js";

/** Tasks with their documents' differences, [seed][document], their places on the x axis and weights, [task]. */
export interface WeighedTasks extends Pick<HeldOut, "tasks" | "tokens"> {
  differences: readonly Float64Array[];
  x: Float64Array;
  weights: Float64Array;
}

/** Nats per token of documents and the linearised standard error of that ratio. */
function ratio(tokens: Float64Array, nats: Float64Array): { rate: number; error: number } {
  const rate = total(nats) / total(tokens);
  const squares = nats.reduce((sum, value, index) => sum + (value - rate * (tokens[index] ?? NaN)) ** 2, 0);
  const documents = tokens.length;
  return { rate, error: Math.sqrt((documents / (documents - 1)) * squares) / total(tokens) };
}

const without = (values: Float64Array, out: number): Float64Array => values.filter((_, index) => index !== out);

/** A seed's slope without each document, [document]. */
function slopesWithout({ tasks, tokens, x, weights }: WeighedTasks, nats: Float64Array): Float64Array {
  const [y, current] = [taskRates({ tasks, tokens }, nats), weights.slice()];
  const slopes = new Float64Array(nats.length);
  for (const [task, { begin, end }] of tasks.entries()) {
    const [ownTokens, ownNats] = [tokens.subarray(begin, end), nats.subarray(begin, end)];
    const whole = ratio(ownTokens, ownNats);
    for (let out = 0; out < ownNats.length; out += 1) {
      const rest = ratio(without(ownTokens, out), without(ownNats, out));
      const change = rest.error > 0 ? (whole.error / rest.error) ** 2 : 1; // of two documents one is left
      y[task] = rest.rate;
      current[task] = change * (weights[task] ?? NaN);
      slopes[begin + out] = dot(slopeCoefficients(x, current), y);
    }
    y[task] = whole.rate;
    current[task] = weights[task] ?? NaN;
  }
  return slopes;
}

/** For the tasks at hand: documents are drawn within tasks, and seeds where there are several. */
export function slopeOfTheseTasks(tasks: WeighedTasks, options: ContrastOptions): Comparison {
  const coefficients = slopeCoefficients(tasks.x, tasks.weights);
  const sums = tasks.differences.map((nats) => ({ nats, weights: coefficients }));
  const estimates = Float64Array.from(tasks.differences, (nats) => dot(coefficients, taskRates(tasks, nats)));
  const left = tasks.differences.map((nats) => centre(slopesWithout(tasks, nats), tasks.tasks));
  return conclude(resampleDocuments(tasks, sums, options), estimates, { strata: tasks.tasks, bySeed: left }, options);
}

/** For new tasks: whole tasks are drawn, each with its size, difference and weight. */
export function slopeOfNewTasks(tasks: WeighedTasks, options: ContrastOptions): Comparison {
  const { x, weights } = tasks;
  const counts = taskMultiplicities(x.length, options);
  const rates = tasks.differences.map((nats) => taskRates(tasks, nats));
  const slope = (y: Float64Array, times: (task: number) => number): number =>
    dot(
      slopeCoefficients(
        x,
        weights.map((weight, task) => weight * times(task)),
      ),
      y,
    );
  const estimates = Float64Array.from(rates, (y) => slope(y, () => 1));
  const bySeed = rates.map((y, seed) =>
    Float64Array.from({ length: options.resamples }, (_, resample) => {
      const drawn = slope(y, (task) => counts[resample * x.length + task] ?? NaN);
      return Number.isFinite(drawn) ? drawn : (estimates[seed] ?? NaN); // tasks of one size have no slope
    }),
  );
  const strata = [{ begin: 0, end: x.length }];
  const left = rates.map((y) =>
    centre(
      y.map((_, out) => slope(y, (task) => (task === out ? 0 : 1))),
      strata,
    ),
  );
  return conclude(bySeed, estimates, { strata, bySeed: left, parameters: 2 }, options);
}
