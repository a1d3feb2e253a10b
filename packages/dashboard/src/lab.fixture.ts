import { BoraError } from "@bora/contracts";
import type {
  GeneratedPiece,
  GenerateRequest,
  Lab,
  SweepCommand,
  SweepEvent,
  SweepHandle,
  SweepOutcome,
} from "@bora/sdk";

export const sweepId = "tiny-0123abcd";

export const eventAt = (position: number): SweepEvent => ({
  ...{ position, at: 1_767_268_800_000 + position, sweepId, runId: "r", seq: position, attempt: 1 },
  event: { kind: "steps_done", step: position, steps: 1, tokens: 10, seconds: 0.1, real: 11, padded: 1, fits: [] },
});

const outcome: SweepOutcome = {
  ...{ sweepId, outcome: "done", alreadyDone: false, reason: null, folder: "runs/tiny", results: null },
};

/** A sweep whose events and end a test hands in. */
export class ScriptedSweep implements SweepHandle {
  readonly sweepId = sweepId;
  readonly at = "here";
  readonly commands: SweepCommand[] = [];
  private readonly stored: SweepEvent[] = [];
  private readonly waiters: (() => void)[] = [];
  private ended = false;

  add(...events: SweepEvent[]): void {
    this.stored.push(...events);
    this.ring();
  }

  finish(): void {
    this.ended = true;
    this.ring();
  }

  async *events(afterPosition = 0): AsyncIterable<SweepEvent> {
    for (let position = afterPosition; ;) {
      const changed = this.next();
      for (const event of this.stored.filter((one) => one.position > position)) {
        position = event.position;
        yield event;
      }
      if (this.ended) return;
      await changed;
    }
  }

  async outcome(): Promise<SweepOutcome> {
    while (!this.ended) await this.next();
    return outcome;
  }

  result(): Promise<never> {
    return Promise.reject(unknown("with results"));
  }

  cancel(): Promise<void> {
    return this.send({ verb: "cancel" });
  }

  send(command: SweepCommand): Promise<void> {
    this.commands.push(command);
    return Promise.resolve();
  }

  abandon(): void {
    // nothing runs
  }

  private next(): Promise<void> {
    return new Promise((wake) => this.waiters.push(wake));
  }

  private ring(): void {
    for (const wake of this.waiters.splice(0)) wake();
  }
}

const unknown = (what: string) =>
  new BoraError("sweep_unknown", `no sweep ${what}`, { hint: "bora status lists the sweeps" });

/** How many texts were begun, and how many came to an end of any kind. */
export const texts = { begun: 0, ended: 0 };

/** Says the prompt once a token; "broken" breaks after two, "refused" at once. */
async function* scriptedTexts({ prompt, maxTokens }: GenerateRequest): AsyncGenerator<GeneratedPiece> {
  texts.begun += 1;
  try {
    for (let token = 1; token <= maxTokens; token += 1) {
      if (prompt === "refused" || (prompt === "broken" && token > 2))
        throw new BoraError("prompt_too_long", "the prompt has 9 tokens, the context 8", { hint: "shorten it" });
      await new Promise((resolve) => setImmediate(resolve));
      yield { source: 0, text: prompt, done: token === maxTokens ? "length" : null };
    }
  } finally {
    texts.ended += 1;
  }
}

/** A lab with one sweep; `busy` refuses every experiment, `planning` never comes to an end. */
export function scriptedLab(sweep: ScriptedSweep, joins: "joins" | "busy" | "planning" = "joins"): Lab {
  const follow = (id: string) => (id === sweepId ? Promise.resolve(sweep) : Promise.reject(unknown(id)));
  return {
    plan: () => Promise.reject(unknown("to plan")),
    sweep: () => {
      if (joins === "planning") return new Promise(() => undefined);
      if (joins === "joins") return Promise.resolve(sweep);
      return Promise.reject(new BoraError("store_busy", "pid 7 on there since noon", { hint: "wait for it" }));
    },
    continue: follow,
    follow,
    status: () => Promise.resolve([]),
    results: (id) => Promise.reject(unknown(id)),
    documents: (id) => Promise.reject(unknown(id)),
    generate: (request) => scriptedTexts(request),
    export: () => Promise.reject(unknown("to export")),
    adapt: ({ sweepId: id }) => Promise.reject(unknown(id)),
    fewShotCurves: ({ sweepId: id }) => Promise.reject(unknown(id)),
    evaluate: () => Promise.reject(unknown("to evaluate")),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
