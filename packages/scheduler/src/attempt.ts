import { BoraError, wire } from "@bora/contracts";
import type { Trainer } from "@bora/trainer-client";
import { setMaxListeners } from "node:events";
import { asFailure, type Loop } from "./loop.js";
import type { Failure } from "./sweep-state.js";

export const renewEveryMs = 10_000;
const renewalsALease = 3; // where it is shorter: one may be late or lost
const suspectAfterMs = 30_000;
const lapseMarginMs = 15_000; // beyond the lease, before another attempt may begin
const followAgainMs = 1_000;

export interface HeldLease {
  runId: string;
  attempt: number;
  trainerId: string;
  leaseMs: number;
}

/**
 * Follows one attempt to its end: hands its events in, renews its lease every 10 s, passes on a request to stop. Ends
 * with null when the run's last event was handed in, or with what became of the attempt otherwise.
 */
export class Attempt {
  /** The code of the run's last event when that was a failure. */
  endedBy: string | null = null;
  private readonly over = new AbortController();
  private readonly signal: AbortSignal;
  private delivered: number;
  private heardMs: number;
  private stopMode: "drain" | "kill" | null = null;
  private stopSent: "drain" | "kill" | null = null;
  private poke: () => void = () => undefined;
  private suspected = false;

  constructor(
    private readonly loop: Loop,
    private readonly trainer: Trainer,
    readonly lease: HeldLease,
  ) {
    this.signal = AbortSignal.any([loop.signal, this.over.signal]);
    setMaxListeners(0, this.signal);
    this.delivered = loop.state().runs[lease.runId]?.lastSeq ?? 0;
    this.heardMs = loop.deps.clock.monotonicMs();
  }

  async untilOver(): Promise<Failure | null> {
    try {
      return await Promise.race([this.follow(), this.keepAlive()]);
    } finally {
      this.over.abort();
    }
  }

  stop(mode: "drain" | "kill"): void {
    if (this.stopMode === "kill" || this.stopMode === mode) return;
    this.stopMode = mode;
    this.poke();
  }

  private async follow(): Promise<Failure | null> {
    for (;;) {
      try {
        for await (const event of this.trainer.events(this.lease.runId, this.delivered, this.signal)) {
          await this.loop.deliver(event);
          this.delivered = event.seq;
          if (event.body?.$case === "runFailed") this.endedBy = event.body.runFailed.failure?.code ?? null;
          if (event.body?.$case === "runDone" || event.body?.$case === "runFailed") return null;
        }
      } catch (thrown) {
        if (this.signal.aborted || !(thrown instanceof BoraError)) throw thrown;
        if (thrown.code === "event_conflict") return asFailure(thrown);
      }
      this.poke(); // whether the trainer is still there is the lease's to find out
      await this.loop.deps.clock.sleep(followAgainMs, this.signal);
    }
  }

  private async keepAlive(): Promise<Failure | null> {
    for (;;) {
      const failure = await this.beat();
      if (failure !== null) return failure;
      await this.sleepUnlessPoked();
    }
  }

  private async sleepUnlessPoked(): Promise<void> {
    const woken = new AbortController();
    const poked = new Promise<void>((resolve) => (this.poke = resolve));
    const signal = AbortSignal.any([this.signal, woken.signal]);
    const everyMs = Math.min(renewEveryMs, this.lease.leaseMs / renewalsALease);
    const slept = this.loop.deps.clock.sleep(everyMs, signal).catch((error: unknown) => {
      if (!woken.signal.aborted) throw error;
    });
    await Promise.race([slept, poked]);
    woken.abort();
  }

  /** One heartbeat; a failure when the attempt is over. */
  private async beat(): Promise<Failure | null> {
    if (this.loop.blockedMs() > 0) return null;
    const { runId, attempt, leaseMs } = this.lease;
    const stored = this.loop.state().runs[runId]?.lastSeq ?? 0;
    try {
      const answer = await this.trainer.renew({ runId, attempt }, leaseMs, stored, this.signal);
      this.heardMs = this.loop.deps.clock.monotonicMs();
      this.suspected = false;
      await this.sendStop();
      return answer.state === wire.RunState.ENDED && this.delivered >= answer.lastSeq ? this.endedMutely() : null;
    } catch (thrown) {
      if (this.signal.aborted || !(thrown instanceof BoraError)) throw thrown;
      return thrown.code === "trainer_lost" ? this.unreachable(thrown) : this.refused(thrown);
    }
  }

  private async sendStop(): Promise<void> {
    const mode = this.stopMode;
    if (mode === null || mode === this.stopSent) return;
    const { runId, attempt } = this.lease;
    await this.trainer.cancel({ runId, attempt }, mode, this.signal);
    this.stopSent = mode;
  }

  private endedMutely(): Failure {
    const { runId, attempt } = this.lease;
    return asFailure(
      new BoraError(
        "trainer_lost",
        `run ${runId}, attempt ${attempt}, ended after event ${this.delivered} without saying how`,
        {
          hint: "the trainer's log says more",
        },
      ),
    );
  }

  /** The trainer does not hold this attempt (any more). Not its fault when we were silent for longer than the lease. */
  private refused(error: BoraError): Failure {
    const silent = this.loop.deps.clock.monotonicMs() - this.heardMs >= this.lease.leaseMs;
    const failure = asFailure(error);
    if (silent && this.loop.lastBlockedMs() > this.heardMs) return { ...failure, domain: "controller" };
    return error.code === "run_unknown" ? { ...failure, code: "trainer_lost", domain: "infra" } : failure;
  }

  private async unreachable(error: BoraError): Promise<Failure | null> {
    const { clock, placer } = this.loop.deps;
    const { trainerId, leaseMs } = this.lease;
    const placement = (await placer.list(this.signal)).find((one) => one.trainerId === trainerId);
    if (placement?.at !== "ready") return this.refused(error);
    const silentMs = clock.monotonicMs() - this.heardMs;
    if (silentMs > leaseMs + lapseMarginMs)
      return asFailure(
        new BoraError("lease_expired", `trainer ${trainerId} has not answered for ${Math.round(silentMs / 1000)} s`, {
          hint: "the run goes on from its last checkpoint on another trainer",
        }),
      );
    if (silentMs >= suspectAfterMs && !this.suspected) {
      this.suspected = true;
      this.loop.notice(error);
    }
    return null;
  }
}
