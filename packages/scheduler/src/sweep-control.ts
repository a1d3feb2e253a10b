import type { ControlEvent } from "@bora/contracts";
import { requeue } from "./open-sweep.js";
import { selectTrials, type RequeueSelection } from "./retry-selection.js";
import type { SweepState } from "./sweep-state.js";

/** What a person asks of a running sweep. */
export type SweepVerb =
  | { verb: "drain" } // checkpoint, stop, outcome "interrupted": the first Ctrl-C
  | { verb: "abandon" } // return now and leave the trainers to their leases: the second Ctrl-C
  | { verb: "cancel" } // kill, trials become cancelled
  | { verb: "pause" } // no new leases
  | { verb: "resume" }
  | { verb: "retry"; selection: RequeueSelection };

/** The way into a running sweep; verbs given before the loop listens are kept. */
export class SweepControl {
  private readonly waiting: SweepVerb[] = [];
  private listener: ((verb: SweepVerb) => void) | null = null;

  send(verb: SweepVerb): void {
    if (this.listener === null) this.waiting.push(verb);
    else this.listener(verb);
  }

  /** The loop's end of it. */
  listen(listener: (verb: SweepVerb) => void): void {
    this.listener = listener;
    for (const verb of this.waiting.splice(0)) listener(verb);
  }
}

/** What a verb adds to the log; nothing where it changes nothing. */
export function applyVerb(state: SweepState, verb: SweepVerb): ControlEvent[] {
  const { at } = state.phase;
  switch (verb.verb) {
    case "drain":
      return at === "running" || at === "paused" ? [{ kind: "drain_requested" }] : [];
    case "cancel":
      return at === "cancelling" || at === "ended" ? [] : [{ kind: "cancel_requested" }];
    case "pause":
      return at === "running" ? [{ kind: "paused", code: "user", reason: "paused on request" }] : [];
    case "resume":
      return at === "paused" ? [{ kind: "resumed" }] : [];
    case "retry":
      return requeue(selectTrials(state, verb.selection), verb.selection.by === "resume" ? "resume" : "retry");
    case "abandon":
      return [];
    default:
      return verb satisfies never;
  }
}
