import type { Trial } from "./trial.js";
import { corruptCheckpoint, truncateArtifact, truncateEventLog } from "./damage-files.js";
import { databaseRestarts } from "./database.js";
import { fullDisk, readOnlyDisk } from "./disks.js";
import type { Weather } from "./weather.js";

/** One kind of fault: what it is called in the table, and how it is done to a sweep that is then brought to its end. */
export interface Fault {
  name: string;
  /** Why it cannot be done here, in words; null when it can. */
  missing?: () => string | null;
  /** Disturbs the sweep; resolves with how many times it was done once the sweep has ended. */
  inflict(trial: Trial): Promise<number>;
  short: number; // sweeps in the short form
  long: number; // and at least in the long one
  where?: (out: string) => Promise<Stage>; // where its store and folder are, when not in a folder of the usual disk
}

/** A place to run in; `end` takes it away. */
export interface Stage {
  store: Trial["store"];
  end(): Promise<void>;
}

/** Kills at moments spread over what is left of the sweep, until `most` have hit or the sweep is done. */
async function kills(trial: Trial, most: number, among: ("orchestrator" | "trainer" | "child")[]): Promise<number> {
  let hit = 0;
  let orchestrator = trial.sweep();
  while (hit < most) {
    await Promise.race([trial.wait(trial.random.between(0, (2 * trial.bench.lifeMs) / most)), orchestrator.ended]);
    if (orchestrator.hasEnded) {
      if ((await trial.endOf(orchestrator)) === 0) return hit;
      orchestrator = trial.sweep();
    }
    if (trial.strike(...among) !== null) hit += 1;
  }
  await trial.endOf(orchestrator);
  await trial.finish();
  return hit;
}

async function powerCuts(trial: Trial): Promise<number> {
  let hit = 0;
  for (let cuts = 0; cuts < 3; cuts += 1) {
    const orchestrator = trial.sweep();
    await Promise.race([trial.wait(trial.moment()), orchestrator.ended]);
    if (orchestrator.hasEnded) break;
    hit += trial.powerCut();
    await orchestrator.ended;
  }
  await trial.finish();
  return hit;
}

/** A request to stop: the sweep ends with 130 at a checkpoint and leaves no process. */
async function stopBy(trial: Trial, name: NodeJS.Signals): Promise<number> {
  const orchestrator = trial.sweep();
  await Promise.race([trial.wait(trial.moment()), orchestrator.ended]);
  const asked = orchestrator.kill(name);
  const code = await trial.endOf(orchestrator);
  const { events } = orchestrator;
  const atAnEdge = events.length === 0 || events.at(-1)?.["kind"] === "sweep_ended"; // nobody listens yet, or any more
  if (asked && code !== 130 && code !== 0 && !(code === null && atAnEdge))
    throw new Error(`${name} ended it with ${String(code)}, not with 130`);
  await trial.finish();
  return asked ? 1 : 0;
}

async function badWeather(trial: Trial, weather: Weather, kind: string): Promise<number> {
  const seed = trial.random.whole(1, 1e9);
  const orchestrator = trial.controller({ weather, seed });
  const code = await trial.endOf(orchestrator);
  if (code !== 0) await trial.finish();
  const told = orchestrator.events.filter((event) => event["kind"] === kind);
  return kind === "weather_dropped" ? Number(told.at(-1)?.["frames"] ?? 0) / 2 : told.length;
}

const leaseMs = 3_000;

/** Stops server and child as a hung machine would, past their lease; when they go on, the attempt is over. */
async function stopped(trial: Trial): Promise<number> {
  const orchestrator = trial.controller({ leaseMs });
  if (!(await orchestrator.until("checkpoint_saved", trial.random.whole(1, 3)))) throw new Error("it never trained");
  const hit = trial.signalAll("SIGSTOP", "trainer", "child");
  await trial.wait(leaseMs + trial.random.between(500, 20_000));
  trial.signalAll("SIGCONT", "trainer", "child");
  if ((await trial.endOf(orchestrator)) !== 0) await trial.finish();
  return hit > 0 ? 1 : 0;
}

/** While one works, one with another experiment is refused, and one with the same follows it to its end. */
async function twoOrchestrators(trial: Trial): Promise<number> {
  const first = trial.sweep();
  await first.until("lease_granted");
  const same = trial.sweep();
  const other = trial.bora("sweep", "--spec", trial.bench.otherSpec, "--taus", "9", "--out", trial.out, "--json");
  const refused = await trial.endOf(other);
  const holder = `pid ${String(first.child.pid)}`;
  if (!first.hasEnded && (refused !== 3 || !other.stderr.includes("store_busy") || !other.stderr.includes(holder)))
    throw new Error(`the second orchestrator ended with ${String(refused)}: ${other.stderr}`);
  const killed = trial.random.next() < 0.5 && first.kill("SIGKILL");
  await trial.endOf(first);
  const followed = await trial.endOf(same);
  if (!killed && followed !== 0) throw new Error(`the follower ended with ${String(followed)}: ${same.stderr}`);
  await trial.finish();
  return 1;
}

export const faults: readonly Fault[] = [
  {
    ...{ name: "kill -9 of orchestrator, trainer or training child", short: 2, long: 20 },
    inflict: (trial) => kills(trial, 4, ["orchestrator", "trainer", "child"]),
  },
  {
    ...{ name: "kill -9 of the orchestrator", short: 1, long: 12 },
    inflict: (trial) => kills(trial, 5, ["orchestrator"]),
  },
  { ...{ name: "kill -9 of everything at once", short: 1, long: 10 }, inflict: powerCuts },
  { ...{ name: "SIGTERM to the orchestrator", short: 1, long: 10 }, inflict: (trial) => stopBy(trial, "SIGTERM") },
  { ...{ name: "Ctrl-C (SIGINT)", short: 1, long: 10 }, inflict: (trial) => stopBy(trial, "SIGINT") },
  {
    ...{ name: "30 % of the ZeroMQ messages lost (messages)", short: 1, long: 10 },
    inflict: (trial) => badWeather(trial, { loss: 0.3 }, "weather_dropped"),
  },
  {
    ...{ name: "5 s in which no byte moves", short: 1, long: 10 },
    inflict: (trial) =>
      badWeather(trial, { stalls: { times: 2, every: 4_000, last: 5_000 }, loss: 0.1 }, "weather_stalls"),
  },
  {
    ...{ name: "every connection reset", short: 1, long: 10 },
    inflict: (trial) => badWeather(trial, { resets: { times: 10, every: 1_500 } }, "weather_resets"),
  },
  {
    ...{ name: "connections that die without a word (half-open)", short: 0, long: 10 },
    inflict: (trial) => badWeather(trial, { halfOpen: { times: 1, every: 8_000, last: 3_000 } }, "weather_halfOpen"),
  },
  { ...{ name: "trainer stopped past its lease, then continued", short: 1, long: 10 }, inflict: stopped },
  { ...{ name: "newest checkpoint corrupt or cut short", short: 1, long: 10 }, inflict: corruptCheckpoint },
  { ...{ name: "trainer's event log cut short", short: 1, long: 10 }, inflict: truncateEventLog },
  { ...{ name: "result file cut short", short: 1, long: 10 }, inflict: truncateArtifact },
  { ...{ name: "two orchestrators on one store", short: 1, long: 10 }, inflict: twoOrchestrators },
  fullDisk,
  readOnlyDisk,
  databaseRestarts,
];
