import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve, sep } from "node:path";
import { documentRows as scoredDocuments } from "@bora/analysis";
import { readTrainersFile } from "@bora/placement";
import { documentsParquet } from "@bora/report/documents-parquet";
import { controllerApi } from "@bora/sdk/controller";
import { readPlace } from "@bora/sdk/report";
import { stringify } from "yaml";
import { readReady, trainerFolder } from "../../packages/placement/src/trainer-folder.js";
import { documentRows, gram, results } from "../../packages/report/src/results.fixture.js";
import { readResultFiles } from "../../packages/scheduler/src/result-files.js";
import type { Random } from "../faults/random.js";
import { hostileString, mutateBytes, mutateText, mutateValue, randomBytes } from "./hostile.js";
import { judge, Unsound } from "./judge.js";
import { add, emptyTally } from "./tally.js";
import type { Session } from "./worker.js";

const hangMs = 15_000; // Parquet's decoder is given ten seconds

interface FileTarget {
  path: string; // in the folder
  whole: Uint8Array;
  read(folder: string): Promise<unknown>;
}

const json = (value: unknown): Buffer => Buffer.from(controllerApi.toJson(value));
const sha256 = "0".repeat(64);
const rows = documentRows.filter((_, index) => index % 8 === 0);
const mapped = results.best?.trialId ?? "";
const tasks = results.data.tasks.map(({ name }) => name);

const trainersFile = {
  trainers: [{ address: "127.0.0.1:7000", tokenFile: "token" }, { address: "10.0.0.1:7000" }],
  ...{ tokenFile: "token", tls: { ca: "ca.pem", certificate: "c.pem", key: "k.pem" } },
};
const manifest = {
  documents: { path: "trials/t/documents.jsonl", size: 10, sha256 },
  distances: { path: "trials/t/distances.json", size: 10, sha256 },
  adapters: { romeo: [{ path: "a/b.safetensors", size: 1, sha256 }] },
};
const ready = { address: "127.0.0.1:1", pid: 99, instanceId: "i", startTime: 5, healthToken: "h", tls: null };
const controller = { pid: 1, host: "h", url: "http://127.0.0.1:1", token: "t", startedAt: "2026" };
const lines = rows
  .map(({ model, task, split, document, date, tokens, characters, nats }) =>
    JSON.stringify({ model, task, split, document, date, tokens, characters, nats }),
  )
  .join("\n");

async function readTrainers(folder: string): Promise<void> {
  for (const trainer of await readTrainersFile(join(folder, "trainers.yaml"))) {
    await trainer.token();
    await trainer.tls();
  }
}

/** Every file of a manifest has to land below the sweep's folder. */
async function readManifest(folder: string): Promise<void> {
  for (const { to } of await readResultFiles(folder, "t"))
    if (!resolve(to).startsWith(resolve(folder) + sep)) throw new Unsound(`a manifest leads to ${to}`);
}

const targets: readonly FileTarget[] = [
  { path: "results.json", whole: json(results), read: (folder) => readPlace({ folder }) },
  { path: "documents.parquet", whole: documentsParquet(rows), read: (folder) => readPlace({ folder }) },
  {
    path: `trials/${mapped}/distances.json`,
    whole: json({ tasks, factors: tasks.map(() => 1), changes: tasks.map(() => 1), priorMean: 1, gram }),
    read: (folder) => readPlace({ folder }),
  },
  {
    path: "trials/t/documents.jsonl",
    whole: Buffer.from(lines),
    read: (folder) =>
      Promise.resolve(scoredDocuments(readFileSync(join(folder, "trials/t/documents.jsonl"), "utf8"), null)),
  },
  { path: "trials/t/manifest.json", whole: json(manifest), read: readManifest },
  { path: "trainers.yaml", whole: Buffer.from(stringify(trainersFile)), read: readTrainers },
  { path: "token", whole: Buffer.from("a-token-of-enough-characters\n"), read: readTrainers },
  {
    path: "ca.pem",
    whole: Buffer.from("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
    read: readTrainers,
  },
  { path: "t/ready.json", whole: json(ready), read: (folder) => readReady(trainerFolder(folder, "t")) },
  {
    path: "controller.json",
    whole: json(controller),
    read: (folder) => controllerApi.readControllerFile(folder),
  },
];

function damaged(random: Random, { path, whole }: FileTarget): Uint8Array {
  const kind = random.next();
  const text = Buffer.from(whole).toString("utf8");
  if (kind < 0.05) return whole;
  if (kind < 0.45 && path.endsWith(".json")) return Buffer.from(JSON.stringify(mutateValue(random, JSON.parse(text))));
  if (kind < 0.6 && !text.includes("\ufffd")) return Buffer.from(mutateText(random, text));
  if (kind < 0.65) return Buffer.from(hostileString(random).repeat(random.pick([1, 100])));
  if (kind < 0.7) return randomBytes(random, random.whole(0, 400));
  return mutateBytes(random, whole);
}

/** What orchestrators and trainers leave on disks that others write too: damaged, then read as it is always read. */
export function open(): Promise<Session> {
  const folder = mkdtempSync(join(tmpdir(), "bora-fuzz-"));
  const others: Record<string, string> = { "c.pem": "-----BEGIN CERTIFICATE-----", "k.pem": "-----BEGIN KEY-----" };
  const write = (path: string, content: Uint8Array | string) => {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), content);
  };
  for (const { path, whole } of targets) write(path, whole);
  for (const [path, content] of Object.entries(others)) write(path, content);
  return Promise.resolve({
    async run(random, count) {
      let sum = emptyTally();
      for (const target of targets) {
        const { path, whole, read } = target;
        const each = Math.ceil(count / targets.length);
        const use = async (content: Uint8Array): Promise<void> => {
          write(path, content);
          await read(folder);
        };
        sum = add(
          sum,
          await judge(random, Math.min(each, count - sum.inputs), (one) => damaged(one, target), use, hangMs),
        );
        write(path, whole);
      }
      return sum;
    },
    [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true });
      return Promise.resolve();
    },
  });
}
