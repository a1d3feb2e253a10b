import type { ExperimentSpec, Inspected } from "@bora/contracts";

/** Bytes that a pack's training process takes of its device; the parts add up to the peak. docs/performance.md, Memory. */
export interface PackMemory {
  process: number; // interpreter, libraries, data; 0 on a card
  base: number; // the frozen model, and the float32 one of evaluate.float32Check
  fits: number; // Theta of each trial, with its moments
  rows: number; // adapters, their gradients and moments, the best step's
  saving: number; // the copy that a checkpoint is written from; on a card it lies in the host's memory
  passing: number; // comes and goes: a micro-batch, or one buffer twice while a trial leaves
  peak: number;
  microBatchRows: number;
  microBatchTokens: number; // at most, pads included
}

export interface DeviceMemory {
  device: string; // "cpu", "cuda:0"; "" when unknown
  freeBytes: number; // Infinity when unknown
  totalBytes: number; // 0 when unknown
}

/** Of what is free a plan fills as much: a prediction is right to a tenth. */
export const shareToFill = 0.9;

const bytesOfWeight = 4; // float32

/** What a second base keeps for its logits on a CPU, at most: `_PRODUCT_BYTES` of the trainer. */
const keptLogitsBytes = 128 * 2 ** 20;

/** Offset, both moments and the best step's weight of a row; the same of Theta. */
const savedBytesOfWeight = 16;

/** Whether what trains shares this machine's memory; an unknown device is taken for that. */
const isHost = (device: string): boolean => device === "cpu" || device === "";

/** Pure; but for what is saved the same numbers as `Footprint.peak` of the trainer, which measured what is multiplied here. */
export function packMemory(spec: ExperimentSpec, inspected: Inspected, trials: number): PackMemory {
  const { processBytes: process, bytesPerRow, bytesPerFit, parametersPerRow } = inspected;
  const rowCount = trials * inspected.tasks.length;
  const tokensOfRow = mostTokensOfRow(spec);
  const fitting = Math.floor(inspected.microBatchTokens / tokensOfRow);
  const microBatchRows = Math.max(1, Math.min(rowCount, fitting));
  const microBatchTokens = microBatchRows * tokensOfRow;
  // Where rows are padded, those of like width go together; no neighbours, they and their gradients are copied.
  const copied = 2 * microBatchRows * parametersPerRow * bytesOfWeight;
  const leaving = (trials - 1) * inspected.tasks.length * parametersPerRow * bytesOfWeight;
  const [fits, rows, base] = [trials * bytesPerFit, rowCount * bytesPerRow, bases(spec, inspected)];
  const saving = isHost(inspected.device)
    ? savedBytesOfWeight * trials * (inspected.tasks.length + 1) * parametersPerRow
    : 0;
  const passing = Math.max(copied + microBatchBytes(inspected, microBatchTokens), leaving);
  return {
    ...{ process, base, fits, rows, saving, passing, peak: process + base + fits + rows + saving + passing },
    ...{ microBatchRows, microBatchTokens },
  };
}

/** The frozen model, and beside it the one in float32 that a check asks for. */
function bases(spec: ExperimentSpec, { baseBytes, baseParameters }: Inspected): number {
  const exact = baseParameters * bytesOfWeight;
  return spec.evaluate.float32Check && baseBytes < exact ? baseBytes + exact + keptLogitsBytes : baseBytes;
}

/** The most that a micro-batch of so many tokens holds: in its backward, or while its cross-entropy is computed. */
const microBatchBytes = (
  { activationBytesPerToken, keptBytesPerToken, workingBytes }: Inspected,
  tokens: number,
): number => Math.max(activationBytesPerToken * tokens, keptBytesPerToken * tokens + workingBytes);

/** A step's places for the documents of one row. */
const mostTokensOfRow = ({ train, data }: ExperimentSpec): number =>
  train.sampler === "documents" ? (train.documentsPerTask ?? 1) * data.maxTokens : train.tokensPerTask;

/** A card's memory, and another machine's, is as it was when a trainer looked; this machine's is as it is now. */
export function deviceMemory(inspected: Inspected, hostFreeBytes: number | null): DeviceMemory {
  const { device, freeMemoryBytes, memoryBytes: totalBytes } = inspected;
  return { device, freeBytes: isHost(device) && hostFreeBytes !== null ? hostFreeBytes : freeMemoryBytes, totalBytes };
}
