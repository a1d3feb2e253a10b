import { runBase, type ExperimentSpec, type Inspected } from "@bora/contracts";
import type { Trainer } from "@bora/trainer-client";
import type { LabParts } from "./lab-parts.js";

type Parts = Pick<LabParts, "placer" | "connectTrainer" | "leaseMs" | "newId">;

/** A trainer for one question; its processes are gone afterwards, whatever happened. */
export async function withTrainer<T>(
  parts: Parts,
  signal: AbortSignal,
  question: (trainer: Trainer) => Promise<T>,
): Promise<T> {
  const placer = await parts.placer();
  const trainerId = `inspect-${parts.newId().slice(0, 8)}`;
  try {
    const placed = await placer.place({ trainerId, leaseMs: parts.leaseMs }, signal);
    await using trainer = await parts.connectTrainer(placed, signal);
    return await question(trainer);
  } finally {
    await placer.release(trainerId, 2_000, new AbortController().signal);
  }
}

/** Asks a trainer for what the experiment's data and model hold. */
export function inspectWithTrainer(
  parts: Parts,
  spec: ExperimentSpec,
  signal: AbortSignal,
  onStage: (text: string) => void,
): Promise<Inspected> {
  onStage("reading the model and the data with a trainer (a model's first use takes a minute)");
  return withTrainer(parts, signal, (trainer) => trainer.inspect(runBase(spec), signal));
}
