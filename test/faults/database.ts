import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import type { Fault, Stage } from "./faults.js";
import type { Trial } from "./trial.js";

/** The newest PostgreSQL's own programs, where the distribution keeps them. */
function programs(): string | null {
  const all = "/usr/lib/postgresql";
  const versions = existsSync(all) ? readdirSync(all).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions.map((version) => join(all, version, "bin")).find((bin) => existsSync(join(bin, "initdb")));
  return found ?? null;
}

const asRoot = process.getuid?.() === 0;

/** PostgreSQL refuses to run as root. */
function asOwner(program: string, args: string[]): void {
  const command = [join(programs() ?? "", program), ...args];
  const [file = "", ...rest] = asRoot
    ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", ...command]
    : command;
  execFileSync(file, rest, { stdio: "ignore", cwd: "/", timeout: 60_000 });
}

function missing(): string | null {
  if (programs() === null) return "no PostgreSQL server is installed";
  try {
    if (asRoot) execFileSync("id", ["postgres"], { stdio: "ignore" });
    return null;
  } catch {
    return "there is no user postgres to run a server as";
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => {
        resolve(port);
      });
    });
  });

const folders = new Map<string, string>(); // of a server, by its output folder

/** A server of its own, which can be taken down without anybody else's notice. */
async function ownServer(out: string): Promise<Stage> {
  const folder = mkdtempSync("/tmp/bora-faults-pg-");
  chmodSync(folder, 0o777);
  const data = join(folder, "data");
  asOwner("initdb", ["-D", data, "-U", "bora", "-A", "trust", "--no-sync"]);
  const port = await freePort();
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''`;
  asOwner("pg_ctl", ["-D", data, "-w", "-l", join(folder, "log"), "-o", options, "start"]);
  folders.set(out, folder);
  const url = `postgres://bora@127.0.0.1:${port}/postgres`;
  return {
    store: { url, variable: url },
    end: () => {
      asOwner("pg_ctl", ["-D", data, "-m", "immediate", "stop"]);
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    },
  };
}

async function restarts(trial: Trial): Promise<number> {
  const data = join(folders.get(trial.out) ?? "", "data");
  const orchestrator = trial.sweep();
  await orchestrator.until("sweep_planned");
  let done = 0;
  while (done < 3) {
    await Promise.race([trial.wait(trial.random.between(500, trial.bench.lifeMs / 2)), orchestrator.ended]);
    if (orchestrator.hasEnded) break;
    const mode = trial.random.pick(["immediate", "fast"]); // as after a crash, or in good order
    trial.note(`restart of PostgreSQL (${mode})`);
    asOwner("pg_ctl", ["-D", data, "-m", mode, "-w", "-l", join(data, "../log"), "restart"]);
    done += 1;
  }
  if ((await trial.endOf(orchestrator)) !== 0) await trial.finish();
  return done;
}

export const databaseRestarts: Fault = {
  ...{ name: "PostgreSQL restarted", short: 1, long: 10, missing },
  where: ownServer,
  inflict: restarts,
};
