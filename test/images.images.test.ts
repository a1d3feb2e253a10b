import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { makeTinyData, resultsOf, run, short, writeExperiment } from "./fixtures/command-line.js";
import {
  buildah,
  configOf,
  environment,
  hashesOf,
  makeImages,
  processesWith,
  whyNot,
  type ImageName,
} from "./fixtures/images.js";

const minutes = (n: number) => n * 60_000;
const read = (file: string): string => readFileSync(fileURLToPath(new URL(`../${file}`, import.meta.url)), "utf8");
const names = ["trainer", "orchestrator"] as const;
const inTheWay = await whyNot();

const Component = z.looseObject({ "bom-ref": z.string(), type: z.string(), name: z.string(), version: z.string() });
const Bill = z.looseObject({
  bomFormat: z.literal("CycloneDX"),
  specVersion: z.literal("1.5"),
  version: z.literal(1),
  metadata: z.object({ component: z.looseObject({ name: z.string(), type: z.literal("container") }) }),
  components: z.array(Component.extend({ purl: z.string().regex(/^pkg:(npm|pypi|generic|deb\/debian)\/\S+@\S+$/) })),
});
const Lock = z.object({
  packages: z.record(z.string(), z.looseObject({ version: z.string().optional(), dev: z.boolean().optional() })),
});

/** Pinned versions of a requirements file by name. */
const pinned = (file: string): [name: string, version: string][] =>
  [...read(file).matchAll(/^([\w.-]+)==([^\s;]+)/gm)].map(([, name = "", version = ""]) => [name, version]);

describe.skipIf(inTheWay !== "")(`the images${inTheWay === "" ? "" : ` (${inTheWay})`}`, () => {
  let folder = "";
  let entrypoint: string[] = []; // of the orchestrator
  const containers: string[] = [];
  const mounts = new Map<ImageName, { id: string; mount: string }>();
  const running: { exitCode: number | null; kill(signal: NodeJS.Signals): boolean }[] = [];
  const inits = new Set<number>(); // of containers with a trainer
  const at = (...path: string[]) => join(folder, ...path);
  const container = (name: ImageName) => mounts.get(name) ?? expect.unreachable(`no container of ${name}`);
  const inRoot = (name: ImageName, ...path: string[]) => join(container(name).mount, ...path);

  /** A folder of the container's user. */
  const volume = (name: string): string => {
    mkdirSync(at(name), { recursive: true });
    chownSync(at(name), 10_001, 10_001);
    return at(name);
  };
  const runIn = (name: ImageName, volumes: Record<string, string>, command: readonly string[]) => {
    const lent = Object.entries(volumes).flatMap(([inside, outside]) => ["-v", `${outside}:${inside}`]);
    const started = execa("buildah", ["run", ...lent, container(name).id, "--", ...command], {
      ...{ env: environment, reject: false, all: true },
    });
    running.push(started);
    return started;
  };
  const bora = (volumes: Record<string, string>, ...args: string[]) =>
    runIn("orchestrator", volumes, [...entrypoint, ...args]);
  const controlled = () => ({
    ...{ "/runs": volume("out"), "/data": at("data"), "/tmp": volume("controller-tmp") },
    "/run/secrets": at("certs", "cluster"),
  });

  /** The trainer as its image says, once it is ready. */
  const startTrainer = async () => {
    const { Entrypoint, Cmd, Healthcheck } = await configOf("trainer");
    const volumes = {
      ...{ "/runs": volume("runs"), "/data": at("data"), "/models": at("models"), "/cache": volume("cache") },
      ...{ "/tmp": volume("trainer-tmp"), "/run/secrets": at("certs", "cluster") },
    };
    const ready = at("trainer-tmp", "ready.json");
    rmSync(ready, { force: true });
    const ended = runIn("trainer", volumes, [...Entrypoint, ...Cmd]);
    while (!existsSync(ready)) {
      const early = await Promise.race([ended, delay(200, null)]);
      if (early !== null) expect.unreachable(`the trainer ended: ${String(early.all)}`);
    }
    const { pid } = z.object({ pid: z.number() }).parse(JSON.parse(readFileSync(ready, "utf8")));
    const init = Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    inits.add(init);
    void ended.then(() => inits.delete(init));
    return { ended, pid, init, health: () => runIn("trainer", volumes, Healthcheck?.Test.slice(1) ?? []) };
  };

  /** Until the sweep, which prints lines of JSON, has trained for a while. */
  const untilItTrains = async (sweep: ReturnType<typeof runIn>): Promise<void> => {
    let seen = "";
    sweep.stdout.on("data", (chunk: unknown) => (seen += String(chunk))); // to iterate over it would wait for its end
    while (seen.split('"evaluated"').length <= 3) {
      const early = await Promise.race([sweep, delay(200, null)]);
      if (early !== null) expect.unreachable(`the sweep ended: ${String(early.all)}`);
    }
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bora-images-"));
    chmodSync(folder, 0o755);
    if (process.env["BORA_IMAGES_BUILT"] === undefined) await makeImages(folder);
    for (const name of names) {
      const id = (await buildah("from", "--pull-never", `localhost/bora-${name}`)).stdout;
      containers.push(id);
      await buildah("config", "--volume", "-", id); // what an image declares goes over what is lent, or under it, by chance
      mounts.set(name, { id, mount: (await buildah("mount", id)).stdout });
    }
    cpSync(await makeTinyData(), volume("data"), { recursive: true });
    cpSync(at("data"), volume("models"), { recursive: true });
    await execa("chmod", ["-R", "a+rX", at("data"), at("models")]);
    entrypoint = (await configOf("orchestrator")).Entrypoint;
    const made = await bora({ "/certs": volume("certs") }, "certs", "--to", "/certs/cluster");
    expect(made.all).toContain("trainers.yaml");
  }, minutes(40));

  afterAll(async () => {
    for (const init of inits) process.kill(init, "SIGTERM");
    for (const one of running) if (one.exitCode === null) one.kill("SIGKILL");
    for (const id of containers) await buildah("rm", id);
    rmSync(folder, { recursive: true, force: true });
  }, minutes(5));

  it("run as nobody in particular, through an init, end on SIGTERM, and say how they are", async () => {
    for (const name of names) {
      const image = await configOf(name);
      expect([image.User, image.StopSignal, image.Entrypoint[0]]).toEqual(["10001:10001", "SIGTERM", "tini"]);
    }
    const { Healthcheck, Volumes } = await configOf("trainer");
    expect(Healthcheck?.Test).toContain("bora_trainer.healthcheck");
    expect(Object.keys(Volumes).sort()).toEqual(["/cache", "/data", "/models", "/runs"]);
    expect(Object.keys((await configOf("orchestrator")).Volumes).sort()).toEqual(["/data", "/runs"]);
  });

  it("hold what production needs alone", () => {
    const { packages } = Lock.parse(JSON.parse(read("package-lock.json")));
    const developers = Object.entries(packages).flatMap(([path, { dev }]) => (dev === true ? [path] : []));
    expect(developers).toEqual(expect.arrayContaining(["node_modules/vitest", "node_modules/typescript"]));
    expect(developers.filter((path) => existsSync(inRoot("orchestrator", "opt/bora", path)))).toEqual([]);
    const site = inRoot("trainer", "opt/bora/trainer-py/.venv/lib/python3.11/site-packages");
    expect(existsSync(join(site, "torch"))).toBe(true);
    expect(["pytest", "ruff", "pyright", "grpc_tools"].filter((name) => existsSync(join(site, name)))).toEqual([]);
  });

  it("list what is in them, in the versions of the locks", () => {
    const bills = Object.fromEntries(
      names.map((name) => [
        name,
        Bill.parse(JSON.parse(readFileSync(inRoot(name, "usr/share/bora/sbom.cdx.json"), "utf8"))),
      ]),
    );
    const listed = (name: ImageName, kind: string): [string, string][] =>
      (bills[name]?.components ?? [])
        .filter(({ purl }) => purl.startsWith(`pkg:${kind}/`))
        .map((one) => [one.name, one.version]);
    for (const name of names) {
      const refs = (bills[name]?.components ?? []).map((one) => one["bom-ref"]);
      expect(new Set(refs).size).toBe(refs.length);
      expect(listed(name, "deb/debian").map(([deb]) => deb)).toEqual(expect.arrayContaining(["libc6", "tini"]));
    }
    expect(listed("trainer", "pypi")).toEqual(expect.arrayContaining(pinned("trainer-py/requirements.lock")));
    const torch = listed("trainer", "pypi").find(([name]) => name === "torch")?.[1];
    expect(read("docker/trainer.Dockerfile")).toContain(`ARG TORCH_VERSION=${torch?.split("+")[0] ?? ""}\n`);
    const locked = Object.entries(Lock.parse(JSON.parse(read("package-lock.json"))).packages).map(
      ([path, { version }]) => `${path.split("node_modules/").at(-1) ?? ""}@${version ?? ""}`,
    );
    const npm = listed("orchestrator", "npm").filter(([name]) => !name.startsWith("@bora/"));
    expect(npm.map(([name]) => name)).toEqual(expect.arrayContaining(["fastify", "better-sqlite3", "zeromq"]));
    expect(npm.map(([name]) => name)).not.toEqual(expect.arrayContaining(["vitest"]));
    expect(npm.map(([name, version]) => `${name}@${version}`).filter((one) => !locked.includes(one))).toEqual([]);
  });

  it(
    "train a sweep between two containers over TLS, and leave their roots as they were",
    async () => {
      const before = names.map((name) => hashesOf(container(name).mount));
      const trainer = await startTrainer();
      expect((await trainer.health()).all).toBe("SERVING");
      expect(readFileSync(`/proc/${trainer.pid}/status`, "utf8")).toMatch(/^Uid:\t10001\t10001\t10001\t10001$/m);

      const train = { ...short, maxSteps: 12 };
      const model = { source: "path", path: "/models/model", dtype: "float32" };
      const spec = writeExperiment("/data", "tiny", { train, model }, at("data"));
      const sweep = await bora(controlled(), "sweep", "--spec", spec, "--out", "/runs");
      expect(sweep.all).toContain("exit 0");
      const here = writeExperiment(at("data"), "tiny", { train });
      expect((await run("sweep", "--spec", here, "--out", at("local"))).exitCode).toBe(0);
      const [ours, theirs] = [at("local"), at("out")].map((out) => {
        const id = readdirSync(out).find((name) => name.startsWith("tiny-")) ?? "";
        return resultsOf(out, id).trials;
      });
      expect(theirs).toEqual(ours);

      process.kill(trainer.init, "SIGTERM");
      expect((await trainer.ended).exitCode).toBe(0);
      expect(names.map((name) => hashesOf(container(name).mount))).toEqual(before);
    },
    minutes(10),
  );

  it(
    "end on SIGTERM in the middle of a sweep, at a checkpoint, within the time that compose gives them",
    async () => {
      const graceMs = (service: string): number => {
        const { services } = z
          .object({ services: z.record(z.string(), z.looseObject({ stop_grace_period: z.string().optional() })) })
          .parse(parse(read("docker/compose.yaml"), { merge: true }));
        return minutes(Number(/^(\d+)m$/.exec(services[service]?.stop_grace_period ?? "")?.[1]));
      };
      const trainer = await startTrainer();
      expect((await trainer.health()).all).toBe("SERVING");
      const train = { ...short, maxSteps: 100_000, patience: 100_000 };
      const model = { source: "path", path: "/models/model", dtype: "float32" };
      const spec = writeExperiment("/data", "long", { train, model }, at("data"));
      const sweep = bora(controlled(), "sweep", "--spec", spec, "--out", "/runs", "--json");
      await untilItTrains(sweep);
      const [init = 0, ...others] = processesWith("tini", "node", "sweep", spec);
      expect(others).toEqual([]);
      expect(readFileSync(`/proc/${init}/status`, "utf8")).toMatch(/^Uid:\t10001\t/m);

      const stop = async (pid: number, ended: ReturnType<typeof runIn>, within: number) => {
        const late = delay(within, null, { ref: false });
        process.kill(pid, "SIGTERM");
        return (await Promise.race([ended, late]))?.exitCode;
      };
      expect(await stop(trainer.init, trainer.ended, graceMs("trainer"))).toBe(0);
      const saved = readdirSync(at("runs"), { recursive: true, encoding: "utf8" }).filter((file) =>
        /checkpoints\/step-\d+\/files\.json$/.test(file),
      );
      expect(saved.length).toBeGreaterThan(0);
      expect(await stop(init, sweep, graceMs("bora"))).toBe(130);
    },
    minutes(10),
  );
});
