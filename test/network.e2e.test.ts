import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTinyData, resultsOf, run, short, writeExperiment } from "./fixtures/command-line.js";

const minutes = (n: number) => n * 60_000;
const python = fileURLToPath(new URL("../trainer-py/.venv/bin/python", import.meta.url));
const namespace = `bora-${process.pid}`;
const gateway = "10.231.77.1"; // this machine, as the other one sees it

/** Whether this machine lets us make a network namespace: root, and Debian's iproute2. */
async function canMakeNamespaces(): Promise<boolean> {
  const made = await execa("ip", ["netns", "add", `${namespace}-probe`], { reject: false });
  if (made.exitCode !== 0) return false;
  await execa("ip", ["netns", "delete", `${namespace}-probe`]);
  return true;
}

/** Another machine: a namespace with one cable to this one. */
async function plugIn(): Promise<void> {
  const [here, there] = ["bora-here", "bora-there"];
  const ip = (...args: string[]) => execa("ip", args);
  await ip("netns", "add", namespace);
  await ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace);
  await ip("address", "add", `${gateway}/24`, "dev", here);
  await ip("link", "set", here, "up");
  await ip("-n", namespace, "address", "add", "10.231.77.2/24", "dev", there);
  await ip("-n", namespace, "link", "set", there, "up");
}

let cable: Promise<boolean> | null = null;

/** Whether there is another machine to look from. */
const hasElsewhere = (): Promise<boolean> =>
  (cable ??= canMakeNamespaces().then(async (can) => {
    if (can) await plugIn();
    return can;
  }));

/** Tries a program of Python's standard library on the other machine; resolves with what it printed. */
async function elsewhere(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await execa("ip", ["netns", "exec", namespace, python, "-c", program, ...args]);
  return stdout.trim();
}

/** Ports of this machine, of all that listen, that a stranger can connect to. */
const openPorts = `
import socket, sys
host = sys.argv[1]
def answers(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((host, port)) == 0
print(*[port for port in map(int, sys.argv[2:]) if answers(port)])
`;

/** What a stranger hears who says a few things to a port: a TLS alert at most. */
const sayThings = `
import socket, ssl, sys
host, port = sys.argv[1], int(sys.argv[2])
heard = []
for said in (b"GET / HTTP/1.1\\r\\n\\r\\n", b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n"):
    with socket.create_connection((host, port), 3) as s:
        s.settimeout(3)
        try:
            s.sendall(said)
            heard.append(len(s.recv(1000)))
        except OSError:
            heard.append(0)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
try:
    with socket.create_connection((host, port), 3) as s, context.wrap_socket(s) as tls:
        tls.settimeout(3)
        tls.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + b"\\0\\0\\0\\4\\0\\0\\0\\0\\0")
        heard.append(len(tls.recv(1000)))
except OSError:
    heard.append(0)
print(max(heard))
`;

/** What a ZeroMQ subscriber without an admitted key hears within two seconds. */
const listenIn = `
import sys, zmq
context = zmq.Context()
plain, stranger = context.socket(zmq.SUB), context.socket(zmq.SUB)
stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
stranger.curve_serverkey = zmq.curve_keypair()[0]
for s in (plain, stranger):
    s.linger = 0
    s.connect("tcp://%s:%s" % (sys.argv[1], sys.argv[2]))
    s.subscribe(b"")
print(sum(s.poll(1000) for s in (plain, stranger)))
`;

/** What the page answers another machine: in clear, to who knows no CA, then to who knows it, by path; 0 is nothing. */
const visitPage = `
import http.client, ssl, sys
host, port, ca, token = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
def status(connection, path, headers={}):
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
def over_tls(context):
    return http.client.HTTPSConnection(host, port, timeout=5, context=context)
trusting = ssl.create_default_context(cafile=ca)
bearer = {"authorization": "Bearer " + token}
print(
    status(http.client.HTTPConnection(host, port, timeout=5), "/"),
    status(over_tls(ssl.create_default_context()), "/"),
    *(status(over_tls(trusting), path) for path in ("/", "/api/sweeps", "/v1/state")),
    status(over_tls(trusting), "/v1/state", bearer),
    status(over_tls(trusting), "/api/sweeps", bearer),
    status(over_tls(trusting), "/v1/state", {**bearer, "host": "evil.example"}),
)
`;

const listening = async (): Promise<number[]> => {
  const { stdout } = await execa("ss", ["-Htln"]);
  return [...new Set(stdout.split("\n").map((line) => Number(/:(\d+)\s/.exec(line)?.[1] ?? 0)))].filter((p) => p > 0);
};

let folder = "";
const sweepIn = (out: string): string => readdirSync(out).find((name) => name.startsWith("net-")) ?? "";
const packs = { pack: { maxTrials: 1 } }; // so that two trainers have work at once

beforeAll(async () => {
  folder = await makeTinyData();
}, minutes(2));

describe("trainers over TLS", () => {
  const trainers: ChildProcess[] = [];
  const certs = () => join(folder, "certs");

  /** A trainer as on a machine of its own, on every interface. */
  async function start(name: string): Promise<{ port: number; events: number }> {
    const at = (file: string) => join(certs(), file);
    const tls = [
      "--tls-certificate",
      at("trainer.pem"),
      "--tls-key",
      at("trainer-key.pem"),
      "--tls-client-ca",
      at("ca.pem"),
    ];
    const files = ["--run-root", join(folder, name), "--ready-file", join(folder, `${name}.json`)];
    const roots = ["--data-root", folder, "--model-root", folder, "--token-file", at("token.sha256")];
    const child = spawn(python, ["-m", "bora_trainer", "--host", "0.0.0.0", ...tls, ...files, ...roots], {
      stdio: "ignore",
    });
    trainers.push(child);
    const before = new Set(await listening());
    while (!existsSync(join(folder, `${name}.json`))) {
      expect(child.exitCode).toBeNull();
      await delay(50);
    }
    const { address } = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as { address: string };
    const port = Number(address.split(":").at(-1));
    const own = await execa("ss", ["-Htlnp"]);
    const ports = own.stdout.split("\n").filter((line) => line.includes(`pid=${child.pid},`));
    const events = ports.map((line) => Number(/:(\d+)\s/.exec(line)?.[1])).find((other) => other !== port) ?? 0;
    expect(before.has(events) && events === port).toBe(false);
    return { port, events };
  }

  const at: { port: number; events: number }[] = [];
  beforeAll(async () => {
    expect((await run("certs", "--to", certs(), "--host", gateway, "--page-host", gateway)).exitCode).toBe(0);
    at.push(await start("one"), await start("two"));
    const listed = at.map(({ port }) => `  - { address: "localhost:${port}" }`).join("\n");
    const rest = readFileSync(join(certs(), "trainers.yaml"), "utf8").replace(
      /^trainers:\n(.*\n)/m,
      `trainers:\n${listed}\n`,
    );
    writeFileSync(join(certs(), "trainers.yaml"), rest);
  }, minutes(2));

  afterAll(async () => {
    for (const trainer of trainers) {
      trainer.kill("SIGTERM");
      if (trainer.exitCode === null) await once(trainer, "exit");
    }
    await execa("ip", ["netns", "delete", namespace], { reject: false });
  });

  it(
    "give the numbers of trainers started here, two at work at once",
    async () => {
      const spec = writeExperiment(folder, "net", { ...packs, train: { ...short, maxSteps: 12 } });
      const [here, there] = [join(folder, "here"), join(folder, "there")];
      const remote = await run("sweep", "--spec", spec, "--out", there, "--trainers", join(certs(), "trainers.yaml"));
      expect(remote.stderr + remote.stdout).toContain("exit 0");
      const local = await run("sweep", "--spec", spec, "--out", here);
      expect(local.exitCode).toBe(0);
      const sweep = sweepIn(there);
      const [ours, theirs] = [resultsOf(here, sweepIn(here)), resultsOf(there, sweep)];
      expect(theirs.trials).toEqual(ours.trials);
      expect(theirs.base).toEqual(ours.base);
      expect(readdirSync(join(folder, "one")).length).toBeGreaterThan(0);
      expect(readdirSync(join(folder, "two")).length).toBeGreaterThan(0);
    },
    minutes(5),
  );

  it(
    "are refused with the certificates of another cluster, and with another token",
    async () => {
      const other = join(folder, "other");
      await run("certs", "--to", other);
      const yaml = readFileSync(join(certs(), "trainers.yaml"), "utf8");
      writeFileSync(join(other, "trainers.yaml"), yaml);
      const spec = writeExperiment(folder, "net");
      const doctor = await run(
        "doctor",
        "--spec",
        spec,
        "--out",
        join(folder, "x"),
        "--trainers",
        join(other, "trainers.yaml"),
      );
      expect(doctor.exitCode).toBe(2);
      expect(doctor.stdout).toContain("trainer_lost");
      writeFileSync(join(certs(), "wrong.yaml"), yaml.replace("tokenFile: token", "tokenFile: wrong"));
      writeFileSync(join(certs(), "wrong"), "another-token-of-enough-characters\n");
      const wrong = await run(
        "doctor",
        "--spec",
        spec,
        "--out",
        join(folder, "x"),
        "--trainers",
        join(certs(), "wrong.yaml"),
      );
      expect(wrong.stdout).toContain("unauthenticated");
      expect(wrong.exitCode).toBe(2);
    },
    minutes(2),
  );

  it(
    "leave the page to who comes over TLS with a token",
    async (context) => {
      if (!(await hasElsewhere())) return context.skip("network namespaces need root and iproute2");
      const at = (name: string) => join(certs(), name);
      const tls = ["--tls-certificate", at("page.pem"), "--tls-key", at("page-key.pem")];
      const asked = ["serve", "--out", join(folder, "there"), "--host", "0.0.0.0", "--json"];
      const page = execa("node", [bora, ...asked, ...tls, "--token-file", at("page-token.sha256")], { reject: false });
      const [line] = (await once(page.stdout, "data")) as [Buffer];
      const link = new URL((JSON.parse(line.toString()) as { link: string }).link);
      expect(link.hostname).toBe(gateway);
      const token = readFileSync(at("page-token"), "utf8").trim();
      const answers = await elsewhere(visitPage, gateway, link.port, at("ca.pem"), token);
      page.kill("SIGINT");
      expect((await page).exitCode).toBe(0);
      expect(answers).toBe("0 0 200 401 401 200 401 403");
    },
    minutes(2),
  );

  it(
    "show another machine nothing, ZeroMQ included, and a default start has no port for it",
    async (context) => {
      if (!(await hasElsewhere())) return context.skip("network namespaces need root and iproute2");
      const own = at.flatMap(({ port, events }) => [port, events]);
      const ports = (await elsewhere(openPorts, gateway, ...own.map(String))).split(" ").map(Number);
      expect(ports.sort()).toEqual([...own].sort()); // they can be reached, so that what follows means something
      for (const { port, events } of at) {
        expect(Number(await elsewhere(sayThings, gateway, String(port)))).toBeLessThan(64);
        expect(await elsewhere(listenIn, gateway, String(events))).toBe("0");
      }
      const before = new Set(await listening());
      const spec = writeExperiment(folder, "net", { train: { ...short, maxSteps: 400 } });
      const sweep = execa("node", [bora, "sweep", "--spec", spec, "--out", join(folder, "default"), "--json"], {
        reject: false,
      });
      const fresh = async () => (await listening()).filter((port) => !before.has(port));
      while (sweep.exitCode === null && (await fresh()).length < 3) await delay(50); // page, gRPC, ZeroMQ
      const found = await fresh();
      expect(found.length).toBeGreaterThanOrEqual(3);
      expect(await elsewhere(openPorts, gateway, ...found.map(String))).toBe("");
      sweep.kill("SIGINT");
      await sweep;
    },
    minutes(3),
  );
});

const bora = fileURLToPath(new URL("../packages/orchestrator/bin/bora.js", import.meta.url));
