import { SweepEvent } from "@bora/sdk/controller";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { recordingTerminal } from "../terminal.fixture.js";
import { jsonReporter, lineReporter, liveReporter } from "./reporter.js";
import { eventsOf, filled, inspected as tiny, leased, midway, planned, started, steps } from "./sweep.fixture.js";

const begin = midway[0]?.at ?? 0;
const terminalAt = (ms: number, columns = 80) => recordingTerminal({ nowMs: () => ms, columns });
const withoutTime = (line: string) => line.replace(/^\d\d:\d\d:\d\d /, "");

describe("lines, for logs", () => {
  test("one an event, without what says nothing to a person", () => {
    const terminal = terminalAt(begin);
    const reporter = lineReporter(terminal);
    for (const event of midway) reporter.event(event);
    expect(terminal.outLines.map(withoutTime)).toMatchInlineSnapshot(`
      [
        "sweep tiny-0123abcd: 3 trials in 1 pack",
        "pack 1: attempt 1 starts on t1",
        "pack 1 trains 6 rows on cpu, bfloat16 (native), 2 threads",
        "base model validation on all documents 5.2500 nats/token, perplexity 190.6",
        "pack 1 step 25/400, 2.0k tok/s, ETA <= 0:30, train nats/token 0: 4.2500, 1e3: 4.3500, inf: 4.4500",
        "tau 0 step 25 validation 4.7500 nats/token, perplexity 115.6, best so far",
        "tau 1e3 step 25 validation 4.8500 nats/token, perplexity 127.7, best so far",
        "tau inf step 25 validation 4.9500 nats/token, perplexity 141.2, best so far",
        "checkpoint at step 25",
        "tau 0 step 50 validation 4.7000 nats/token, perplexity 109.9, best so far",
        "tau 0 done after 50 steps: its validation stopped improving; best step 50",
      ]
    `);
  });

  test("step windows at most every ten seconds", () => {
    const terminal = terminalAt(begin);
    const reporter = lineReporter(terminal, 10_000);
    const windows = Array.from({ length: 30 }, (_, index) => steps(index + 1)); // one a second
    for (const event of eventsOf([planned, leased, started, ...windows])) reporter.event(event);
    expect(terminal.outLines.filter((line) => line.includes(" step "))).toHaveLength(3);
  });

  test("hidden states that are kept, and how far they are", () => {
    const terminal = terminalAt(begin);
    const reporter = lineReporter(terminal);
    const kept = { ...started, prefixCache: "hidden states below layer 22 are kept: 80000 tokens, 1 bytes" };
    for (const event of eventsOf([planned, leased, kept as SweepEvent["event"], filled(40_000)])) reporter.event(event);
    expect(terminal.outLines.slice(2).map(withoutTime)).toEqual([
      "pack 1 trains 6 rows on cpu, bfloat16 (native), 2 threads; hidden states below layer 22 are kept: 80000 tokens, 1 bytes",
      "pack 1 hidden states: 40k of 80k tokens in 0:13",
    ]);
  });

  test("peak memory beside what was planned, where the plan knew it", () => {
    const done = { kind: "run_done", seconds: 75, peakMemoryBytes: 3 * 2 ** 30 } as const;
    const last = (events: SweepEvent["event"][]) => {
      const terminal = terminalAt(begin);
      const reporter = lineReporter(terminal);
      for (const event of eventsOf(events)) reporter.event(event);
      return withoutTime(terminal.outLines.at(-1) ?? "");
    };
    const experiment = {
      ...{ name: "tiny", model: { source: "path", path: "m" }, adapter: { targets: ["q_proj"] }, prior: { taus: [0] } },
      data: { source: "shakespeare", tasks: { all: true } },
    };
    const inspected = { ...tiny, processBytes: 2 ** 30, bytesPerRow: 2 ** 28 }; // six rows: 1.5 GiB
    const known = { ...planned, experiment, inspected } as SweepEvent["event"];
    expect(last([known, leased, done])).toBe("run done in 1:15, peak memory 3.00 GiB (planned 2.50 GiB)");
    expect(last([planned, leased, done])).toBe("run done in 1:15, peak memory 3.00 GiB");
  });

  test("history is known but not told again", () => {
    const terminal = terminalAt(begin + 8_500);
    const reporter = lineReporter(terminal);
    for (const event of midway) reporter.event(event);
    expect(withoutTime(terminal.outLines[0] ?? "")).toMatch(/^pack 1 step 50\/400/);
  });

  test("a test perplexity is not shown while trials train", () => {
    const terminal = terminalAt(begin);
    const reporter = lineReporter(terminal);
    const trial = { kind: "evaluated", trialId: "trial0", scored: "task", split: "test", step: 50 } as const;
    const events = eventsOf([
      planned,
      { ...trial, tasks: [], natsPerToken: 4.2, best: true, complete: true, seconds: 1 },
    ]);
    for (const event of events) reporter.event(event);
    expect(terminal.outLines).toHaveLength(1);
  });
});

test("--json: every line on standard output is an event, a stage or a notice, and nothing else", () => {
  const Line = z.union([
    SweepEvent,
    z.strictObject({ stage: z.string() }),
    z.strictObject({ notice: z.strictObject({ code: z.string(), message: z.string(), hint: z.string() }) }),
  ]);
  const terminal = terminalAt(begin);
  const reporter = jsonReporter(terminal);
  reporter.stage("reading the data");
  reporter.notice({ code: "disk_full", message: "0 bytes free", hint: "free some" });
  for (const event of midway) reporter.event(event);
  const lines = terminal.outLines.map((line) => Line.parse(JSON.parse(line)));
  expect(lines).toHaveLength(midway.length + 2);
  expect(lines.slice(2)).toEqual(midway);
  expect(terminal.errLines).toEqual([]);
});

test("the live view draws what it was told last, and keeps it when it ends", async () => {
  const drawn: string[][] = [];
  let done = 0;
  const canvas = { draw: (lines: readonly string[]) => drawn.push([...lines]), done: () => (done += 1) };
  const reporter = liveReporter(terminalAt(begin), canvas, 60_000);
  reporter.stage("reading the data");
  await reporter.end();
  expect(drawn).toEqual([["reading the data"]]);
  const next = liveReporter(terminalAt(begin), canvas, 60_000);
  next.stage("reading the data");
  for (const event of midway) next.event(event);
  await next.end();
  expect(drawn.at(-1)?.[0]).toMatch(/^tiny-0123abcd {2}1\/3 trials ended/);
  expect(drawn.at(-1)?.join("\n")).not.toContain("reading the data");
  expect(done).toBe(2);
});
