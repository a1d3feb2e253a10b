import { realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Trainer } from "@bora/trainer-client";

const answerWithinMs = 1_500;

export interface TrainerDevice {
  name: string; // cpu, cuda:0
  description: string;
  memoryBytes: number;
  freeBytes: number;
}

/** A trainer that lives on this machine, as it is now. */
export interface TrainerLook {
  trainerId: string;
  address: string;
  answers: boolean; // its Describe, in a second and a half
  devices: TrainerDevice[];
  processes: number;
  residentBytes: number;
  cpuSeconds: number; // of all its processes since they started
}

/** Looks at the trainers of a folder of sweeps, whoever placed them; ends and starts none. */
export async function lookAtTrainers({ dir }: { dir: string }, signal?: AbortSignal): Promise<TrainerLook[]> {
  const [{ livingTrainers }, { connectTrainer }] = await Promise.all([
    import("@bora/placement"),
    import("@bora/trainer-client"),
  ]);
  const root = await realpath(join(dir, "trainer")).catch(() => null);
  const living = root === null ? [] : await livingTrainers(root);
  return Promise.all(
    living.map(async ({ placement, processes, residentBytes, cpuSeconds }) => {
      const deadline = AbortSignal.any([
        AbortSignal.timeout(answerWithinMs),
        ...(signal === undefined ? [] : [signal]),
      ]);
      const described = await describe(() => connectTrainer(placement, deadline), deadline);
      const { trainerId, address } = placement;
      const usage = { processes, residentBytes, cpuSeconds };
      return { trainerId, address, answers: described !== null, devices: described ?? [], ...usage };
    }),
  );
}

async function describe(connect: () => Promise<Trainer>, signal: AbortSignal): Promise<TrainerDevice[] | null> {
  try {
    await using trainer = await connect();
    const { devices } = await trainer.describe(signal);
    return devices.map(({ name, description, memoryBytes, freeMemoryBytes }) => ({
      ...{ name, description, memoryBytes: Number(memoryBytes), freeBytes: Number(freeMemoryBytes) },
    }));
  } catch {
    return null; // it is starting or ending: what /proc says of it still holds
  }
}
