import { chmod, copyFile, mkdir, open, readdir, readFile, stat, statfs, writeFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { BoraError, formatBytes, modelSource, tauToJson, wire, type SweepResults } from "@bora/contracts";
import type { SweepFacts } from "../sweep-facts.js";
import type { TextLab } from "../text-lab.js";
import { appearing, checkTarget, exportFile } from "./appearing-folder.js";
import { baseLicense } from "./base-license.js";
import { chooseAdapters, type ChosenAdapter } from "./choose-adapters.js";
import type { Exported, ExportRequest } from "./export-request.js";
import { modelCard, type CardFacts } from "./model-card.js";
import { serveCommand, serveScript } from "./vllm-layout.js";

interface Work {
  request: ExportRequest;
  facts: SweepFacts;
  chosen: ChosenAdapter[];
  card: CardFacts;
  texts: TextLab;
  signal: AbortSignal;
  onStage: (text: string) => void;
}

const besides = 1 << 20; // bytes of cards and lists
const wireDtypes = { auto: wire.Dtype.AUTO, float32: wire.Dtype.FLOAT32, bfloat16: wire.Dtype.BFLOAT16 } as const;

async function bytesOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(names.map(async (name) => stat(join(folder, name))));
  return sizes.reduce((sum, facts) => sum + (facts.isFile() ? facts.size : 0), 0);
}

/** The base that a vLLM layout holds itself: one from a package, whose folder is hidden in a cache. */
const heldBase = ({ facts, request }: Work): string | null =>
  request.format === "vllm" && facts.experiment.model.source === "package" ? facts.modelName : null;

/** At least so many bytes will be written; a merged model is as large as its base, where that is here. */
async function neededBytes(work: Work): Promise<number> {
  const { request, facts, chosen } = work;
  const here = isAbsolute(facts.modelName);
  if (request.format === "merged")
    return chosen.length * (here ? await bytesOf(facts.modelName).catch(() => 0) : 0) + besides;
  const base = heldBase(work);
  const sizes = await Promise.all(chosen.map(({ source }) => bytesOf(source)));
  return sizes.reduce((a, b) => a + b, besides) + (base === null ? 0 : await bytesOf(base));
}

/** Free bytes of the disk that will hold `folder`, which need not be there yet. */
async function freeBytes(folder: string): Promise<number> {
  for (let at = folder; ; at = dirname(at)) {
    const found = await statfs(at).catch(() => null);
    if (found !== null) return found.bavail * found.bsize;
    if (dirname(at) === at) return Infinity;
  }
}

async function checkRoom(work: Work, free: (folder: string) => Promise<number>): Promise<void> {
  const [needed, there] = [await neededBytes(work), await free(work.request.to)];
  if (needed <= there) return;
  throw new BoraError(
    "disk_full",
    `the export needs ${formatBytes(needed)}, ${formatBytes(there)} are free at ${work.request.to}`,
    { hint: "free some space, name a folder on another disk, or export fewer adapters" },
  );
}

async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  await writeFile(path, content, { flag: "wx", flush: true });
}

async function copySynced(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  const file = await open(to, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function copyFolder(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true }))
    if (entry.isFile()) await copySynced(join(from, entry.name), join(to, entry.name));
}

async function writeAdapter(work: Work, chosen: ChosenAdapter, beside: string): Promise<void> {
  const to = join(beside, chosen.entry.folder);
  if (work.request.format === "merged") {
    work.onStage(`merging ${chosen.entry.name} (${work.chosen.indexOf(chosen) + 1} of ${work.chosen.length})`);
    await mkdir(to, { recursive: true });
    const trainer = await work.texts.trainer(work.signal, work.onStage);
    const dtype = wireDtypes[work.request.dtype ?? "auto"];
    await trainer.merge(
      { model: modelSource(work.facts.experiment.model), folder: chosen.source, dtype },
      to,
      work.signal,
    );
  } else await copyFolder(chosen.source, to);
  const dtype = work.request.format === "merged" ? await storedDtype(to) : null;
  await writeSynced(join(to, "README.md"), modelCard({ ...work.card, dtype }, chosen));
}

async function storedDtype(folder: string): Promise<string | null> {
  const config: unknown = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  const said: unknown = typeof config === "object" && config !== null ? Reflect.get(config, "dtype") : null;
  return typeof said === "string" ? said : null;
}

/** Base and script of a vLLM layout; returns the command that serves it where it will be. */
async function writeServing(work: Work, beside: string): Promise<string> {
  const base = heldBase(work);
  if (base !== null) {
    work.onStage("copying the base model");
    await copyFolder(base, join(beside, "base"));
  }
  const { rank } = work.facts.experiment.adapter;
  const adapters = work.chosen.map(({ entry }) => entry);
  const script = join(beside, "vllm-serve.sh");
  await writeSynced(script, serveScript(base === null ? work.facts.modelName : "base", rank, adapters));
  await chmod(script, 0o755);
  const under = `${work.request.to}/`;
  return serveCommand(base === null ? work.facts.modelName : `${under}base`, rank, adapters, under);
}

/** What lies here, for programs, and the mark by which --force knows its own. */
function listing({ facts, request, chosen, card }: Work, serve: string | null): string {
  const { sweepId, model, data, versions } = card.results;
  const adapters = chosen.map(({ entry }) => ({ ...entry, tau: tauToJson(entry.tau) }));
  const { rank } = facts.experiment.adapter;
  const what = { schemaVersion: 1, format: request.format, sweepId, model, dataHash: data.hash, versions, rank };
  return `${JSON.stringify({ ...what, serve, adapters }, null, 2)}\n`;
}

async function fill(work: Work, beside: string): Promise<string | null> {
  for (const chosen of work.chosen) {
    work.signal.throwIfAborted();
    await writeAdapter(work, chosen, beside);
  }
  const serve = work.request.format === "vllm" ? await writeServing(work, beside) : null;
  await writeSynced(join(beside, exportFile), listing(work, serve));
  return serve;
}

/** The door of the lab's `export`; `results` are those of the sweep, `free` the free bytes at a folder. */
export async function exportAdapters(
  request: ExportRequest,
  results: SweepResults,
  texts: TextLab,
  { signal, onStage }: { signal: AbortSignal; onStage: (text: string) => void },
  free: (folder: string) => Promise<number> = freeBytes,
): Promise<Exported> {
  const asked = { ...request, to: resolve(request.to) };
  await checkTarget(asked.to, asked.force ?? false);
  const facts = await texts.facts(asked.sweepId);
  const chosen = await chooseAdapters(facts, asked);
  const license = { license: asked.license ?? null, baseLicense: await baseLicense(facts.modelName) };
  const card = { results, format: asked.format, ...license, dtype: null };
  const work = { request: asked, facts, chosen, card, texts, signal, onStage };
  if (asked.format === "vllm") serveCommand(basename(asked.to), facts.experiment.adapter.rank, [], ""); // refuses a rank
  await checkRoom(work, free);
  const serve = await appearing(asked.to, (beside) => fill(work, beside));
  const adapters = chosen.map(({ entry }) => entry);
  return { folder: asked.to, bytes: await bytesOf(asked.to), adapters, serve };
}
