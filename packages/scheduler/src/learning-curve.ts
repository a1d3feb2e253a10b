/** A trial's macro validation while it trains, one value a kept step. */
export interface LearningCurve {
  readonly steps: readonly number[]; // ascending
  readonly natsPerToken: readonly number[];
  readonly every: number; // only multiples of it are kept, beside the newest and the lowest; 1 while the curve is whole
}

export const mostPoints = 400; // more than a figure is wide; memory does not grow with the length of training

export const noCurve: LearningCurve = { steps: [], natsPerToken: [], every: 1 };

/** Of equals the earliest; -1 of none. */
const lowestAt = (values: readonly number[]): number =>
  values.reduce((lowest, value, index) => (value < (values[lowest] ?? Infinity) ? index : lowest), -1);

export const lowest = ({ natsPerToken }: LearningCurve): number => natsPerToken[lowestAt(natsPerToken)] ?? Infinity;

/**
 * A curve with one more point; null where that adds nothing: a resumed run repeats the steps after its checkpoint, and the
 * last evaluation scores the best step once more. Which points are kept follows from all that were seen, so that a run
 * that was resumed has the curve of one that was not.
 */
export function withPoint(curve: LearningCurve, step: number, natsPerToken: number): LearningCurve | null {
  const behind = curve.steps.filter((one) => one <= step).length;
  const isNewest = behind === curve.steps.length;
  if (curve.steps[behind - 1] === step) return null;
  if (!isNewest && step % curve.every !== 0 && natsPerToken >= lowest(curve)) return null;
  return thinned({
    steps: curve.steps.toSpliced(behind, 0, step),
    natsPerToken: curve.natsPerToken.toSpliced(behind, 0, natsPerToken),
    every: curve.every,
  });
}

function thinned(curve: LearningCurve): LearningCurve {
  let { steps, natsPerToken, every } = curve;
  if (every === 1 && steps.length <= mostPoints) return curve;
  for (;;) {
    const [last, best] = [steps.length - 1, lowestAt(natsPerToken)];
    const kept = steps.map((step, index) => step % every === 0 || index === last || index === best);
    steps = steps.filter((_, index) => kept[index]);
    natsPerToken = natsPerToken.filter((_, index) => kept[index]);
    if (steps.length <= mostPoints) return { steps, natsPerToken, every };
    every *= 2;
  }
}
