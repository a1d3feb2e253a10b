import { formatTau, type SweepResults } from "@bora/contracts";
import type { Findings } from "./findings.js";
import { describeWinner } from "./winner-words.js";

const listed = (taus: readonly number[]): string => taus.map((tau) => `tau = ${formatTau(tau)}`).join(", ");

/** Which taus the test documents do not tell from the best, by the interval; which they do, by Holm. */
function noise({ contrasts }: Findings): string[] {
  if (contrasts.length === 0) return [];
  const within = contrasts.filter(({ low, high }) => low <= 0 && high >= 0).map(({ other }) => other);
  const apart = contrasts.filter(({ pHolm }) => pHolm < 0.05).map(({ other }) => other);
  return [
    within.length === 0
      ? "No other tau is within noise of it on test."
      : `On test, ${listed(within)} ${within.length === 1 ? "is" : "are"} within noise of it: the 95 % interval of the difference holds 0, so these results do not say which is better.`,
    ...(apart.length === 0
      ? ["After Holm's adjustment for the number of taus no difference to it is significant at 5 %."]
      : [`After Holm's adjustment its difference to ${listed(apart)} is significant at 5 %.`]),
  ];
}

function oneStandardError({ choice }: Findings): string[] {
  if (choice === null) return [];
  const { best, oneStandardError: simple } = choice;
  const test = Math.exp(simple.test).toFixed(2);
  if (simple.tau === best.tau) return ["The one-standard-error rule chooses the same tau."];
  return [
    `The one-standard-error rule, which takes the most sharing that validation does not tell from the best, chooses tau = ${formatTau(simple.tau)} (test macro perplexity ${test}).`,
  ];
}

function tasks({ gains }: Findings): string[] {
  if (gains === null) return [];
  return gains.others.map((other) => {
    const all = gains.tasks.flatMap(({ against }) => against.filter((own) => own.other === other));
    const [better, worse] = [
      all.filter(({ percent, pHolm }) => pHolm < 0.05 && percent < 0).length,
      all.filter(({ percent, pHolm }) => pHolm < 0.05 && percent > 0).length,
    ];
    return (
      `Task by task against tau = ${formatTau(other)}, after Holm's adjustment over the tasks: ${better} of ${all.length} better, ` +
      `${worse} worse, ${all.length - better - worse} within noise.`
    );
  });
}

function sizes({ trends }: Findings): string[] {
  return trends.map(({ other, slope }) => {
    const against = `The gain over tau = ${formatTau(other)}`;
    if (slope.low <= 0 && slope.high >= 0) return `${against} has no trend with training size beyond noise.`;
    const smaller =
      slope.low > 0 ? "larger for tasks with less training text" : "larger for tasks with more training text";
    return `${against} is ${smaller} (95 % interval of the slope without 0).`;
  });
}

/** Which tau won, by how much, and what is no more than noise, in sentences; docs/method.md, section 9. */
export const describeFindings = (results: SweepResults, found: Findings): string[] => [
  ...describeWinner(results),
  ...noise(found),
  ...oneStandardError(found),
  ...tasks(found),
  ...sizes(found),
];
