import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BoraError, toBoraError, type TransportTls } from "@bora/contracts";
import { z } from "zod";
import type { Placement, PlaceRequest, Placer } from "./placer.js";
import { parsedJson, trainerFolder } from "./trainer-folder.js";
import type { RunningTrainer } from "./trainers-file.js";

/** Which trainer was taken under a name. */
const Taken = z.object({ address: z.string(), instanceId: z.string() });
type Taken = z.infer<typeof Taken>;

/** Asks a trainer which instance it is. Rejects with trainer_lost, unauthenticated, api_mismatch. */
export type Probe = (
  at: { address: string; token: string; tls: TransportTls | null },
  signal: AbortSignal,
) => Promise<{ instanceId: string }>;

export interface StaticPlacerOptions {
  root: string; // <out>/trainer: a file for each trainer taken
  trainers: readonly RunningTrainer[];
  probe: Probe;
}

/**
 * Hands out trainers that run already. Nothing is started or ended here: a run that nobody renews ends by its lease, and
 * fencing by attempts keeps what it still writes out.
 */
export class StaticPlacer implements Placer {
  private turn: Promise<unknown> = Promise.resolve(); // one placing at a time, so that no trainer is taken twice

  constructor(private readonly options: StaticPlacerOptions) {}

  place(request: PlaceRequest, signal: AbortSignal): Promise<Placement & { at: "ready" }> {
    const placing = this.turn.then(() => this.find(request, signal));
    this.turn = placing.catch(() => undefined);
    return placing;
  }

  async list(signal: AbortSignal): Promise<Placement[]> {
    const taken = await this.taken();
    return Promise.all([...taken].map(([trainerId, { ...at }]) => this.look(trainerId, at, signal)));
  }

  async release(trainerId: string): Promise<void> {
    await rm(this.file(trainerId), { force: true });
  }

  private async find(
    { trainerId, avoid = [] }: PlaceRequest,
    signal: AbortSignal,
  ): Promise<Placement & { at: "ready" }> {
    signal.throwIfAborted();
    const taken = await this.taken();
    const mine = taken.get(trainerId);
    if (mine !== undefined) {
      const placed = await this.look(trainerId, mine, signal);
      if (placed.at === "ready") return placed;
      await this.release(trainerId);
    }
    const used = new Set([...taken].flatMap(([id, { address }]) => (id === trainerId ? [] : [address])));
    const free = this.options.trainers.filter(({ address }) => !used.has(address) && !avoid.includes(address));
    return this.takeFirst(trainerId, free, signal);
  }

  /** The first of the free trainers that answers. */
  private async takeFirst(trainerId: string, free: readonly RunningTrainer[], signal: AbortSignal) {
    const all = this.options.trainers.length;
    if (free.length === 0)
      throw new BoraError("busy", `all ${all} trainers of the trainers file are taken`, {
        hint: "wait for a run to end, or list more trainers",
      });
    const silent: BoraError[] = [];
    for (const trainer of free) {
      try {
        const at = await dialled(trainer);
        const { instanceId } = await this.options.probe(at, signal);
        await this.record(trainerId, { address: trainer.address, instanceId });
        return placement(trainerId, instanceId, at);
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toBoraError(thrown);
        if (error.code !== "trainer_lost") throw error; // a wrong token or file is wrong for a reason
        silent.push(error);
      }
    }
    throw new BoraError("trainer_lost", `none of ${free.length} free trainers answers: ${messages(silent)}`, {
      hint: "start them, or check addresses, certificates and firewall; see docs/trainers.md",
    });
  }

  /** "ready" also for one that is silent: it may be at work. "gone" when another process answers at its address. */
  private async look(trainerId: string, { address, instanceId }: Taken, signal: AbortSignal): Promise<Placement> {
    const trainer = this.options.trainers.find((one) => one.address === address);
    if (trainer === undefined) return { at: "gone", trainerId, reason: `${address} is in the trainers file no more` };
    const at = await dialled(trainer);
    const now = await this.options.probe(at, signal).catch((thrown: unknown) => {
      signal.throwIfAborted();
      const error = toBoraError(thrown);
      if (error.code !== "trainer_lost") throw error;
      return null;
    });
    if (now !== null && now.instanceId !== instanceId)
      return { at: "gone", trainerId, reason: `another process answers at ${address}` };
    return placement(trainerId, instanceId, at);
  }

  private async taken(): Promise<Map<string, Taken>> {
    await mkdir(this.options.root, { recursive: true });
    const names = (await readdir(this.options.root)).filter((name) => name.endsWith(suffix)).sort();
    const found = new Map<string, Taken>();
    for (const name of names) {
      const content = await readFile(join(this.options.root, name), "utf8").catch(() => "");
      const taken = Taken.safeParse(parsedJson(content)); // torn by a full disk: as if it was never taken
      if (taken.success) found.set(name.slice(0, -suffix.length), taken.data);
    }
    return found;
  }

  private async record(trainerId: string, taken: Taken): Promise<void> {
    const path = this.file(trainerId);
    await writeFile(`${path}.next`, `${JSON.stringify(taken)}\n`, { mode: 0o600 });
    await rename(`${path}.next`, path);
  }

  private file(trainerId: string): string {
    return `${trainerFolder(this.options.root, trainerId).path}${suffix}`;
  }
}

const suffix = ".taken.json";

const dialled = async (trainer: RunningTrainer) => ({
  address: trainer.address,
  token: await trainer.token(),
  tls: await trainer.tls(),
});

const placement = (
  trainerId: string,
  instanceId: string,
  at: Awaited<ReturnType<typeof dialled>>,
): Placement & { at: "ready" } => ({
  at: "ready",
  trainerId,
  instanceId,
  ...at,
  node: at.address.slice(0, at.address.lastIndexOf(":")),
  devices: [],
});

const messages = (errors: readonly BoraError[]): string => errors.map(({ message }) => message).join("; ");
