import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { access, constants, mkdir } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { BoraError, isErrorCode } from "@bora/contracts";
import { execa } from "execa";
import { trainerEnvironment } from "./environment.js";
import { isAlive, processesOf } from "./processes.js";
import { forget, logSize, logTail, readReady, writeToken, type Ready, type TrainerFolder } from "./trainer-folder.js";

const POLL_MS = 25;
const CONNECT_MS = 1_000;
const TAIL_LINES = 20;

/** How trainers are started; the placer adds the options that name their files. */
export interface TrainerProgram {
  file: string;
  args: string[];
}

/** The trainer of trainer-py, by the interpreter of its environment. */
export const pythonTrainer = (python: string): TrainerProgram => ({ file: python, args: ["-m", "bora_trainer"] });

/** A started process, as long as this one lives to be told how it ends. */
export interface StartedTrainer {
  /** How it ended, null while it lives. */
  ended(): Promise<string | null>;
  logFrom: number; // bytes of the log that earlier processes wrote
}

/**
 * Starts a trainer in a process group of its own that outlives this process. Throws environment_missing when the
 * program is not there.
 */
export async function startTrainer(
  program: TrainerProgram,
  folder: TrainerFolder,
  { runRoot, leaseMs, environment }: { runRoot: string; leaseMs: number; environment: NodeJS.ProcessEnv },
): Promise<StartedTrainer> {
  await requireProgram(program.file);
  await mkdir(folder.path, { recursive: true });
  await forget(folder);
  await writeToken(folder);
  const logFrom = await logSize(folder);
  const log = createWriteStream(folder.logFile, { flags: "a", mode: 0o600 });
  await once(log, "open");
  const files = ["--run-root", runRoot, "--token-file", folder.tokenFile, "--ready-file", folder.readyFile];
  const life = ["--port", "0", "--exit-when-orphaned", "--lease-ms", String(leaseMs)];
  const child = execa(program.file, [...program.args, ...files, ...life], {
    detached: true,
    cleanup: false,
    stdin: "ignore",
    stdout: log, // handed over as a file: a pipe would end with this process
    stderr: log,
    env: trainerEnvironment(environment, folder.path),
    extendEnv: false,
    reject: false,
  });
  child.unref();
  log.destroy(); // the child has its own copy
  let ending: string | null = null;
  void child.then(({ exitCode, signal, shortMessage }) => {
    const status = exitCode === undefined ? `at its start: ${shortMessage}` : `with status ${exitCode}`;
    ending = signal === undefined ? status : `by ${signal}`;
  });
  return { ended: async () => ending, logFrom };
}

/** Resolves when the trainer is ready and takes connections. Throws when it ends before, or after `readyMs`. */
export async function whenReady(
  folder: TrainerFolder,
  started: StartedTrainer,
  readyMs: number,
  signal: AbortSignal,
): Promise<Ready> {
  const end = performance.now() + readyMs;
  for (;;) {
    const ready = await readReady(folder);
    if (ready !== null && (await isAlive(ready)) && (await takesConnections(ready.address))) return ready;
    const ended = await started.ended();
    if (ended !== null) throw await startFailure(folder, `ended ${ended} before it was ready`, started.logFrom);
    if (performance.now() >= end) {
      throw await startFailure(folder, `was not ready after ${Math.round(readyMs / 1000)} s`, started.logFrom);
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** A trainer that another process started: it has ended when no process of it is left. */
export const startedElsewhere = (folder: TrainerFolder): StartedTrainer => ({
  ended: async () => ((await processesOf(folder.path)).length > 0 ? null : "unseen"),
  logFrom: 0,
});

async function requireProgram(file: string): Promise<void> {
  if (process.platform !== "linux") {
    throw new BoraError(
      "environment_missing",
      `trainers are placed through Linux's /proc, this is ${process.platform}`,
      {
        hint: "run BoRA on Linux, or in a Linux container",
      },
    );
  }
  try {
    await access(file, constants.X_OK);
  } catch (cause) {
    throw new BoraError("environment_missing", `the trainer's program ${file} is not there`, {
      hint: "run `npx nx run trainer-py:venv`",
      cause,
    });
  }
}

async function takesConnections(address: string): Promise<boolean> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port), timeout: CONNECT_MS });
  try {
    return await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("timeout", () => resolve(false));
      socket.once("error", () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

/** The error that the trainer itself named in its log, or what its last lines let one guess. */
async function startFailure(folder: TrainerFolder, what: string, logFrom: number): Promise<BoraError> {
  const lines = (await logTail(folder, logFrom)).split("\n").slice(-TAIL_LINES);
  const own = lines.map((line) => /^error ([a-z_]+): (.*)$/.exec(line)).findLast((match) => match !== null);
  const hint = lines.map((line) => /^hint: (.*)$/.exec(line)?.[1]).findLast((text) => text !== undefined);
  const [, code = "", message = ""] = own ?? [];
  if (isErrorCode(code)) return new BoraError(code, message, { hint: hint ?? `see ${folder.logFile}` });
  const text = `trainer ${folder.trainerId} ${what}; its log ends with\n${lines.join("\n")}`;
  const incomplete = /No module named '?(bora|grpc|torch|zmq)/.test(text);
  return incomplete
    ? new BoraError("environment_missing", text, { hint: "run `npx nx run trainer-py:venv`" })
    : new BoraError("trainer_lost", text, { hint: `the whole log is ${folder.logFile}` });
}
