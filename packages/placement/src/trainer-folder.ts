import { randomBytes } from "node:crypto";
import { open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, isMissing } from "@bora/contracts";
import { z } from "zod";
import type { ProcessIdentity } from "./processes.js";

const TOKEN_BYTES = 32;
const TAIL_BYTES = 8 * 1024;
/** Longer than any id of a sweep (an experiment's name of 63, a hyphen, 8 of a hash) with a number behind it. */
const TRAINER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** What a trainer writes, whole or not at all, once it answers calls. */
const Ready = z.object({
  address: z.string(),
  pid: z.number().int().positive(),
  instanceId: z.string(),
  startTime: z.number(),
});
export type Ready = z.infer<typeof Ready> & ProcessIdentity;

/** The files of one trainer. */
export interface TrainerFolder {
  trainerId: string;
  path: string;
  readyFile: string;
  tokenFile: string;
  logFile: string;
}

/** Throws usage for a name that is not one folder's. */
export function trainerFolder(root: string, trainerId: string): TrainerFolder {
  if (!isTrainerId(trainerId)) {
    throw new BoraError("usage", `the trainer id ${JSON.stringify(trainerId)} is no file name`, {
      hint: "use at most 128 letters, digits, '-', '_' and '.'",
    });
  }
  const path = join(root, trainerId);
  const [readyFile, tokenFile, logFile] = [join(path, "ready.json"), join(path, "token"), join(path, "trainer.log")];
  return { trainerId, path, readyFile, tokenFile, logFile };
}

/** "runs" is the folder beside the trainers' where they keep runs. */
export const isTrainerId = (name: string): boolean => name !== "runs" && TRAINER_ID.test(name);

/** Null until the trainer is ready, after it was released, and where the file says nothing that a trainer would write. */
export async function readReady({ readyFile }: TrainerFolder): Promise<Ready | null> {
  const text = await textOf(readyFile);
  return text === null ? null : (Ready.safeParse(parsedJson(text)).data ?? null);
}

export async function readToken({ tokenFile }: TrainerFolder): Promise<string> {
  return (await readFile(tokenFile, "utf8")).trim();
}

/** A new secret for a new process, readable by its owner only. */
export async function writeToken({ tokenFile }: TrainerFolder): Promise<void> {
  await rm(tokenFile, { force: true });
  await writeFile(tokenFile, `${randomBytes(TOKEN_BYTES).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
}

/** What marks a trainer as placed. Its log stays. */
export async function forget({ readyFile, tokenFile }: TrainerFolder): Promise<void> {
  await Promise.all([rm(readyFile, { force: true }), rm(tokenFile, { force: true })]);
}

export async function logSize({ logFile }: TrainerFolder): Promise<number> {
  return (await stat(logFile).catch(() => null))?.size ?? 0;
}

/** The log from an offset on, at most its last 8 KiB. */
export async function logTail({ logFile }: TrainerFolder, from: number): Promise<string> {
  await using file = await open(logFile);
  const { size } = await file.stat();
  const start = Math.max(from, size - TAIL_BYTES);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.max(0, size - start)), 0, size - start, start);
  return buffer.toString("utf8", 0, bytesRead).trim();
}

/** Null for text that is no JSON. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw thrown;
  }
}
