import type { SweepResults } from "@bora/contracts";

/** A base model's name without the folders of the machine that it lay on: a path's last part, or the name on the hub. */
export function modelName({ model }: Pick<SweepResults, "model">): string {
  return /^(\/|[A-Za-z]:\\)/.test(model.name)
    ? (model.name.split(/[\\/]/).findLast((part) => part !== "") ?? model.name)
    : model.name;
}
