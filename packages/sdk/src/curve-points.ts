import { compareModels } from "@bora/analysis";
import type { CurvePoint, DocumentRow, FewShotCurves } from "@bora/contracts";

export type Size = number | "all";

/** Test documents of a task that was left out of Theta's sweep; a task with fewer documents counts with all it has. */
export interface LeftOut {
  name: string;
  base: DocumentRow[];
  theta: DocumentRow[];
  adapted: (size: Size) => DocumentRow[];
  scratch: (size: Size) => DocumentRow[];
}

const models = ["base", "prior-mean", "scratch", "adapted"] as const;
const pairs = [
  ["adapted", "prior-mean"],
  ["adapted", "scratch"],
  ["adapted", "base"],
] as const;

/** Without a document an adapter is its prior's mean: Theta, or from scratch the base. */
function documentsOf(model: (typeof models)[number], task: LeftOut, size: Size): DocumentRow[] {
  switch (model) {
    case "base":
      return task.base;
    case "prior-mean":
      return task.theta;
    case "scratch":
      return size === 0 ? task.base : task.scratch(size);
    case "adapted":
      return size === 0 ? task.theta : task.adapted(size);
    default:
      return model satisfies never;
  }
}

/** The curves' points at every size: of each task, and with intervals of the mean over tasks. Pure. */
export function curvePoints(
  tasks: readonly LeftOut[],
  sizes: readonly Size[],
): Pick<FewShotCurves, "points" | "differences"> {
  const atSizes = sizes.map((size) => {
    const named = models.map((name) => ({ name, documents: tasks.flatMap((task) => documentsOf(name, task, size)) }));
    return { size, found: compareModels(named, pairs) };
  });
  const points = atSizes.flatMap(({ size, found }) =>
    models.flatMap((model): CurvePoint[] => {
      const mean = found.models.find(({ name }) => name === model);
      const ofTasks = found.tasks.map(({ name, natsPerToken }) => ({
        ...{ model, size, task: name, natsPerToken: natsPerToken.get(model) ?? NaN, low: null, high: null },
      }));
      if (mean === undefined) return ofTasks;
      const { natsPerToken, low, high } = mean;
      return [...ofTasks, { model, size, task: null, natsPerToken, low, high }];
    }),
  );
  const differences = atSizes.flatMap(({ size, found }) => found.differences.map((one) => ({ size, ...one })));
  return { points, differences };
}
