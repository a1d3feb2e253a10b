// One target of the control plane's side, in a process of its own: a line `{seed, count}` in, a tally out.
import { createInterface } from "node:readline";
import { z } from "zod";
import { Random } from "../faults/random.js";
import { emptyTally, type Tally } from "./tally.js";

/** What a target is to its worker. `residentMiB` where another process reads the inputs. */
export interface Session extends AsyncDisposable {
  run(random: Random, count: number): Promise<Tally>;
  residentMiB?(): number;
}

const Batch = z.object({ seed: z.number(), count: z.number() });
const sessions: Record<string, () => Promise<{ open(): Promise<Session> }>> = {
  experiments: () => import("./experiments.js"),
  events: () => import("./stored-events.js"),
  files: () => import("./control-files.js"),
  frames: () => import("./frames.js"),
  sockets: () => import("./subscriber-sockets.js"),
  http: () => import("./http-requests.js"),
  schemathesis: () => import("./schemathesis.js"),
};

/** A rejection that nobody handles is a crash of the batch in which it came. */
const unhandled: unknown[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
process.removeAllListeners("warning"); // the YAML reader warns of tags that it does not know
process.on("warning", () => undefined);

async function answer(session: Session, { seed, count }: z.infer<typeof Batch>): Promise<Tally> {
  const tally = await session.run(new Random(seed), count).catch((thrown: unknown) => ({
    ...{ ...emptyTally(), inputs: count, crashes: 1 },
    samples: [thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)],
  }));
  await new Promise((resolve) => setImmediate(resolve));
  for (const reason of unhandled.splice(0)) {
    tally.crashes += 1;
    tally.samples.push(`unhandled: ${reason instanceof Error ? (reason.stack ?? "") : String(reason)}`);
  }
  globalThis.gc?.();
  const residentMiB = session.residentMiB?.() ?? process.memoryUsage.rss() / 2 ** 20;
  return { ...tally, residentMiB };
}

const load = sessions[process.argv[2] ?? ""];
if (load === undefined)
  throw new Error(`no target ${process.argv[2] ?? ""}; there are ${Object.keys(sessions).join()}`);
const session = await (await load()).open();
for await (const line of createInterface({ input: process.stdin })) {
  const tally = await answer(session, Batch.parse(JSON.parse(line)));
  process.stdout.write(`${JSON.stringify(tally)}\n`);
}
await session[Symbol.asyncDispose]();
