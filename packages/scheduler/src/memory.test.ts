import { describe, expect, it } from "vitest";
import { experiment, inspected } from "./experiment.fixture.js";
import { deviceMemory, packMemory } from "./memory.js";

// By hand: rows of 1,000 bytes and 8 weights, Theta 200, model 10,000, process 3,000; a micro-batch of at most 200 tokens
// has two rows of 96, 10 bytes a token in the backward, 8 a token and 500 in the cross-entropy.
describe("a pack's memory", () => {
  it("is process, model, trials, rows, what a checkpoint copies and one micro-batch", () => {
    const copied = 2 * 2 * 8 * 4; // two rows and their gradients
    const saving = 16 * 2 * 3 * 8; // of two trials: two tasks and Theta each
    expect(packMemory(experiment(), inspected, 2)).toEqual({
      ...{ process: 3_000, base: 10_000, fits: 400, rows: 4_000 },
      ...{ saving, passing: 192 * 8 + 500 + copied },
      peak: 3_000 + 10_000 + 400 + 4_000 + saving + 2_164,
      ...{ microBatchRows: 2, microBatchTokens: 192 },
    });
  });

  it("has the backward's peak where that is more than the cross-entropy's", () => {
    expect(packMemory(experiment(), { ...inspected, workingBytes: 300 }, 1).passing).toBe(192 * 10 + 128);
  });

  it("grows by a trial and its rows alone once micro-batches are full", () => {
    const peaks = [1, 2, 3, 4].map((trials) => packMemory(experiment(), inspected, trials).peak);
    expect(peaks.slice(1).map((peak, index) => peak - (peaks[index] ?? 0))).toEqual([2_584, 2_584, 2_584]);
  });

  it("has one row a micro-batch at least, and no more than there are", () => {
    const rows = (microBatchTokens: number) =>
      packMemory(experiment(), { ...inspected, microBatchTokens }, 1).microBatchRows;
    expect([0, 95, 96, 191, 192, 10_000].map(rows)).toEqual([1, 1, 1, 1, 2, 2]);
  });

  it("counts the places of the documents that the sampler documents draws", () => {
    const { train } = experiment();
    const spec = { ...experiment(), train: { ...train, sampler: "documents" as const, documentsPerTask: 3 } };
    expect(packMemory(spec, inspected, 1).microBatchTokens).toBe(3 * 64);
  });

  it("leaves what a card's checkpoints copy to the host", () => {
    expect(packMemory(experiment(), { ...inspected, device: "cuda:0" }, 2).saving).toBe(0);
  });

  it("has the float32 base of a check beside the one that trains", () => {
    const spec = { ...experiment(), evaluate: { float32Check: true } };
    const half = { ...inspected, baseParameters: 5_000, baseBytes: 10_000 };
    expect(packMemory(spec, half, 1).base).toBe(10_000 + 20_000 + 128 * 2 ** 20);
    expect(packMemory(spec, { ...half, baseBytes: 20_000 }, 1).base).toBe(20_000);
    expect(packMemory(experiment(), half, 1).base).toBe(10_000);
  });

  it("holds one buffer twice while a trial of many leaves", () => {
    const light = { ...inspected, parametersPerRow: 200 }; // 800 bytes a buffer and row
    expect(packMemory(experiment(), light, 40).passing).toBe(39 * 2 * 800);
  });
});

describe("the memory that a plan must fit into", () => {
  it("is the host's now for a processor, and the card's as it was seen", () => {
    expect(deviceMemory(inspected, 7_000)).toEqual({ device: "cpu", freeBytes: 7_000, totalBytes: 100_000 });
    const card = { ...inspected, device: "cuda:0" };
    expect(deviceMemory(card, 7_000)).toEqual({ device: "cuda:0", freeBytes: 50_000, totalBytes: 100_000 });
  });
});
