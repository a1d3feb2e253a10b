import { access } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, modelSource, wire, type ExperimentSpec } from "@bora/contracts";
import { textTrainerPrefix } from "@bora/placement";
import type { StoreReader } from "@bora/store";
import type { TextTrainer } from "@bora/trainer-client";
import { GenerateRequest, type GeneratedPiece, type GenerateOptions, type TextSource } from "./generate-request.js";
import type { LabParts } from "./lab-parts.js";
import { findTask, findTrial, sweepFacts, type SweepFacts } from "./sweep-facts.js";

/** Between requests the trainer stays so long, so that the next one need not wait for it; it leaves by itself. */
const textLeaseMs = 300_000;

type Model = ExperimentSpec["model"];
type Parts = Pick<LabParts, "dir" | "placer" | "connectTextTrainer" | "newId">;

const finishes: Partial<Record<wire.Finish, GeneratedPiece["done"]>> = {
  [wire.Finish.LENGTH]: "length",
  [wire.Finish.END]: "end",
};

/** What a lab does with models that are trained, by a trainer of its own that is placed when it is first needed. */
export class TextLab implements AsyncDisposable {
  private readonly trainerId: string;
  private connected: { instanceId: string; trainer: TextTrainer } | null = null;
  private placed = false;

  constructor(
    private readonly parts: Parts,
    private readonly reader: () => Promise<StoreReader>,
  ) {
    this.trainerId = `${textTrainerPrefix}${parts.newId().slice(0, 8)}`;
  }

  async *generate(asked: GenerateRequest, options: GenerateOptions = {}): AsyncGenerator<GeneratedPiece> {
    const { prompt, seed, maxTokens, temperature, topP, topK = 0, sources, ...rest } = checked(asked);
    const { model, adapters } = await this.resolve(sources, rest.model);
    const { signal = new AbortController().signal, onStage = () => undefined } = options;
    const trainer = await this.trainer(signal, onStage);
    onStage("loading the model");
    const request = { model: modelSource(model), adapters, prompt, seed, maxTokens, temperature, topP, topK };
    for await (const { adapter, text, finish } of trainer.generate(request, signal))
      yield { source: adapter, text, done: finishes[finish] ?? null };
  }

  /** The trainer of this lab; the one of an earlier request where it still lives. */
  async trainer(signal: AbortSignal, onStage: (text: string) => void): Promise<TextTrainer> {
    const placer = await this.parts.placer();
    if (this.connected === null) onStage("starting a trainer");
    this.placed = true;
    const placed = await placer.place({ trainerId: this.trainerId, leaseMs: textLeaseMs }, signal);
    if (this.connected?.instanceId === placed.instanceId) return this.connected.trainer;
    await this.connected?.trainer[Symbol.asyncDispose]();
    this.connected = null;
    const trainer = await this.parts.connectTextTrainer(placed, signal);
    this.connected = { instanceId: placed.instanceId, trainer };
    return trainer;
  }

  facts(sweepId: string): Promise<SweepFacts> {
    return sweepFacts(this.parts.dir, sweepId, this.reader);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connected?.trainer[Symbol.asyncDispose]();
    this.connected = null;
    if (!this.placed) return;
    this.placed = false;
    await (await this.parts.placer()).release(this.trainerId, 2_000, new AbortController().signal);
  }

  /** Sources as folders, and the one base that all of them need. */
  private async resolve(sources: readonly TextSource[], given: Model | undefined) {
    const sweepIds = new Set(sources.flatMap((source) => ("sweepId" in source ? [source.sweepId] : [])));
    const sweeps = new Map(await Promise.all([...sweepIds].map(async (id) => [id, await this.facts(id)] as const)));
    const model = oneModel([...sweeps.values()], given);
    const adapters: wire.AdapterSource[] = [];
    for (const source of sources) {
      const facts = "sweepId" in source ? sweeps.get(source.sweepId) : undefined;
      adapters.push({ source: await adapterOf(source, facts) });
    }
    return { model, adapters };
  }
}

/** Throws usage for a request that makes no sense. */
function checked(asked: GenerateRequest): GenerateRequest {
  const parsed = GenerateRequest.safeParse(asked);
  if (parsed.success) return parsed.data;
  const what = parsed.error.issues.map(({ path, message }) => `${path.map(String).join(".")}: ${message}`);
  throw new BoraError("usage", what.join("; "), { hint: "bora generate --help lists what can be asked" });
}

function oneModel(sweeps: readonly SweepFacts[], given: Model | undefined): Model {
  const [first, ...others] = sweeps;
  const other = others.find(({ modelName }) => modelName !== first?.modelName);
  if (first !== undefined && other !== undefined)
    throw new BoraError(
      "usage",
      `the sources have two base models: ${first.modelName} (${first.sweepId}) and ${other.modelName} (${other.sweepId})`,
      { hint: "ask for the texts of each base by itself" },
    );
  const model = given ?? first?.experiment.model;
  if (model !== undefined) return model;
  throw new BoraError("usage", "no source names a sweep, and there is no model", { hint: "name a model" });
}

/** Throws task_unknown, trial_unknown, and adapter_unreadable when the adapter's folder is not there. */
async function adapterOf(
  source: TextSource,
  facts: SweepFacts | undefined,
): Promise<NonNullable<wire.AdapterSource["source"]>> {
  if (source.at === "base") return { $case: "base", base: true };
  if (source.at === "folder") return { $case: "folder", folder: source.path };
  if (facts === undefined)
    throw new BoraError("internal", `${source.sweepId} was not looked up`, { hint: "please report it" });
  const slug = source.at === "task" ? findTask(facts, source.task).slug : "prior-mean";
  return { $case: "folder", folder: await adapterFolder(facts, findTrial(facts, source.trialId).id, slug) };
}

/** Where a trial's adapter lies. Throws adapter_unreadable when it is not there. */
export async function adapterFolder({ folder, sweepId }: SweepFacts, trialId: string, slug: string): Promise<string> {
  const path = join(folder, "adapters", trialId, slug);
  await access(path).catch((cause: unknown) => {
    throw new BoraError("adapter_unreadable", `${path} is not there`, {
      hint: `the same bora sweep, or bora resume ${sweepId}, fetches what is missing`,
      cause,
    });
  });
  return path;
}
