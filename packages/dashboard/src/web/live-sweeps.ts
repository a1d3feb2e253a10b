import { hostname } from "node:os";
import { openLab } from "@bora/sdk";
import { controllerApi, type SweepLog } from "@bora/sdk/controller";
import type { LiveSweeps } from "./sweep-library.js";

const answerWithinMs = 1_000;
const freshMs = 1_000;

/** Whether a process of this machine lives; true where nobody here can tell. */
function mayLive({ pid, host }: { pid: number; host: string }): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** A program that trains by the SDK holds the store like any controller, but nobody can speak to it. */
async function ask(dir: string, log: Pick<SweepLog, "atWork">): Promise<ReadonlySet<string> | null> {
  const file = await controllerApi.readControllerFile(dir);
  if (file === null || !mayLive(file)) {
    const sweepId = await log.atWork().catch(() => null);
    return new Set(sweepId === null ? [] : [sweepId]);
  }
  await using lab = await openLab({ url: file.url, token: file.token });
  const late = new Promise<null>((resolve) => setTimeout(resolve, answerWithinMs, null).unref());
  const answer = await Promise.race([lab.status().catch(() => null), late]);
  return answer && new Set(answer.filter(({ live }) => live).map(({ sweepId }) => sweepId));
}

/**
 * Asks the folder's controller, at most once a second. Who has asked before hears the answer of then, at once: a controller
 * that is busy keeps no page waiting.
 */
export function liveSweepsOf(dir: string, log: Pick<SweepLog, "atWork">, now: () => number): LiveSweeps {
  let asked = -Infinity;
  let known: Awaited<ReturnType<LiveSweeps>> | undefined;
  let asking: ReturnType<LiveSweeps> = Promise.resolve(null);
  return () => {
    if (now() - asked >= freshMs) {
      asked = now();
      asking = ask(dir, log).then((answer) => (known = answer));
    }
    return known == null ? asking : Promise.resolve(known);
  };
}
