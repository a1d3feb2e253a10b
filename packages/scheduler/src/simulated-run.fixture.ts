import { wire } from "@bora/contracts";
import { createHash } from "node:crypto";

/** What the simulated trials do; by trial id. */
export interface TrialScript {
  doneAt: number; // step
  divergesAt?: number;
  mute?: boolean; // never says what it came to
}

export interface SimulationScript {
  trials: (trialId: string) => TrialScript;
  /** Steps; evaluateEvery when left out. */
  checkpointEvery?: number;
  /** Packs of more trials run out of memory. */
  mostTrials?: number;
  /** Fails each attempt before its first step while it returns something. */
  failure?: (runId: string, attempt: number) => wire.Failure | null;
}

export const evaluateEvery = 2;

/** The part of a run that outlives its trainer: the folder on disk. */
export class RunFolder {
  readonly events: wire.Event[] = [];
  readonly checkpoints = new Set<number>();
  readonly files = new Map<string, Buffer>();
  readonly starts: { attempt: number; firstSeq: number; resumeStep: number; spec: wire.RunSpec }[] = [];
  attempt = 0;

  constructor(readonly runId: string) {}

  write(path: string, content: string): wire.Artifact {
    const bytes = Buffer.from(content);
    this.files.set(path, bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { path, size: BigInt(bytes.length), sha256 };
  }

  append(trialId: string, body: NonNullable<wire.Event["body"]>, at: Date): wire.Event {
    const seq = (this.events.at(-1)?.seq ?? this.firstSeq - 1) + 1;
    const event: wire.Event = { runId: this.runId, seq, attempt: this.attempt, at, trialId, body };
    this.events.push(event);
    return event;
  }

  private firstSeq = 1;

  /** As the trainer's event file does: later numbers of older attempts are dropped, newer checkpoints too. */
  begin(attempt: number, firstSeq: number, resumeStep: number): void {
    this.attempt = attempt;
    this.firstSeq = firstSeq;
    while ((this.events.at(-1)?.seq ?? 0) >= firstSeq) this.events.pop();
    for (const step of this.checkpoints) if (step > resumeStep) this.checkpoints.delete(step);
  }
}

/** Validation nats per token of a trial at a step: some number that only they decide, best at the second evaluation. */
export function natsAt(trialId: string, step: number): number {
  const start = Number.parseInt(trialId.slice(0, 6), 16) / 0xffffff;
  return 3 + start + Math.abs(step - 2 * evaluateEvery) / 10;
}

const tasks = (nats: number): wire.TaskNats[] => [0, 1].map((task) => ({ task, nats: nats * 100, tokens: 100n }));

const scored = (trialId: string, step: number, of: wire.Scored, split: wire.Split, complete: boolean) => ({
  $case: "evaluated" as const,
  evaluated: { scored: of, split, step, tasks: tasks(natsAt(trialId, step)), best: true, complete, seconds: 0.5 },
});

export type Emit = (trialId: string, body: NonNullable<wire.Event["body"]>) => void;

/** One trial's last events and its files. */
export function finishTrial(folder: RunFolder, trialId: string, steps: number, emit: Emit): void {
  const bestStep = Math.min(steps, 2 * evaluateEvery);
  for (const split of [wire.Split.VALIDATION, wire.Split.TEST])
    for (const of of [wire.Scored.TASK, wire.Scored.PRIOR_MEAN])
      emit(trialId, scored(trialId, bestStep, of, split, true));
  const documents = folder.write(
    `trials/${trialId}/documents.jsonl`,
    `{"trial":"${trialId}","nats":${natsAt(trialId, bestStep)}}\n`,
  );
  const adapter = (slug: string) =>
    ["adapter_config.json", "adapter_model.safetensors"].map((name) =>
      artifactJson(folder.write(`trials/${trialId}/adapters/${slug}/${name}`, `${trialId} ${slug} ${name}`)),
    );
  const manifest = folder.write(
    `trials/${trialId}/manifest.json`,
    JSON.stringify({
      documents: artifactJson(documents),
      distances: artifactJson(folder.write(`trials/${trialId}/distances.json`, `{"trial":"${trialId}"}`)),
      adapters: { romeo: adapter("romeo"), juliet: adapter("juliet"), "prior-mean": adapter("prior-mean") },
    }),
  );
  const ended = wire.Ended.VALIDATION;
  const validationNatsPerToken = natsAt(trialId, bestStep);
  const float32Check = undefined;
  emit(trialId, {
    $case: "trialDone",
    trialDone: { steps, bestStep, ended, validationNatsPerToken, manifest, float32Check },
  });
}

export const validate = (trialId: string, step: number) =>
  scored(trialId, step, wire.Scored.TASK, wire.Split.VALIDATION, false);

export const artifactJson = ({ path, size, sha256 }: wire.Artifact) => ({ path, size: Number(size), sha256 });

export const failure = (code: string, domain: wire.Domain, message = `simulated ${code}`): wire.Failure => ({
  code,
  domain,
  message,
  hint: "",
});
