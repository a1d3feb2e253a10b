import { BoraError } from "@bora/contracts";
import { textTrainerPrefix, type Placement } from "@bora/placement";
import type { Trainer } from "@bora/trainer-client";
import { supervise, type Attempts } from "./launch.js";
import type { Loop } from "./loop.js";
import type { RunRecord } from "./sweep-state.js";

type Ready = Placement & { at: "ready" };

const strangerGraceMs = 30_000; // longer than a checkpoint

/**
 * What an earlier controller left: trainers that still hold a run of ours are adopted, what other trainers hold is put
 * down at a checkpoint. A run whose trainer is gone, or does not hold it, goes back to waiting without a charge: the
 * fault was the controller's. Resolves with the adopted attempts, which are then followed in the background.
 */
export async function takeOver(loop: Loop, attempts: Attempts): Promise<Promise<void>[]> {
  const { placer } = loop.deps;
  const live = Object.values(loop.state().runs).filter(({ phase }) => phase.at === "leased" || phase.at === "training");
  const ready = (await placer.list(loop.signal)).filter((placement) => placement.at === "ready");
  const following: Promise<void>[] = [];
  for (const run of live) {
    const placement = ready.find(({ trainerId }) => trainerId === run.trainerId);
    const trainer = placement === undefined ? null : await reconnect(loop, placement, run);
    if (trainer !== null) following.push(supervise(loop, attempts, trainer, run));
    else await loop.record(() => [{ kind: "lease_expired", runId: run.runId, attempt: run.attempt }]);
  }
  const serving = new Set(live.map(({ trainerId }) => trainerId));
  await releaseAll(
    loop,
    ready.filter(({ trainerId }) => !serving.has(trainerId)),
  );
  return following;
}

/** Of a sweep that has ended: its controller may have died before its trainers were gone. */
export async function endLeftTrainers(loop: Loop): Promise<void> {
  const ready = (await loop.deps.placer.list(loop.signal)).filter(({ at }) => at === "ready");
  await releaseAll(loop, ready);
}

async function releaseAll({ deps: { placer }, signal }: Loop, left: readonly Placement[]): Promise<void> {
  const ours = left.filter(({ trainerId }) => !trainerId.startsWith(textTrainerPrefix)); // not in use by another lab
  await Promise.all(ours.map(({ trainerId }) => placer.release(trainerId, strangerGraceMs, signal)));
}

/** The trainer when it holds the run; null when it does not, or when it has been silent until its lease was over. */
async function reconnect(loop: Loop, placement: Ready, run: RunRecord): Promise<Trainer | null> {
  const { clock, placer } = loop.deps;
  const sinceMs = clock.monotonicMs();
  for (;;) {
    try {
      const trainer = await loop.pool.adopt(placement, true);
      const { held } = await trainer.describe(loop.signal);
      if (held?.runId === run.runId && held.attempt === run.attempt) return trainer;
      loop.pool.free(placement.trainerId); // it never got the run, or it is another one under this name
      return null;
    } catch (thrown) {
      if (loop.signal.aborted || !(thrown instanceof BoraError)) throw thrown;
      const now = (await placer.list(loop.signal)).find(({ trainerId }) => trainerId === placement.trainerId);
      const over = clock.monotonicMs() - sinceMs > run.leaseMs + 15_000;
      if (thrown.code !== "trainer_lost" || now?.at !== "ready" || over) {
        await loop.pool.discard(placement.trainerId);
        return null;
      }
      loop.notice(thrown);
      await clock.sleep(5_000, loop.signal);
    }
  }
}
