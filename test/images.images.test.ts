import { createHash } from "node:crypto";
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
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { execa, type ResultPromise } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTinyData, resultsOf, run, short, writeExperiment } from "./fixtures/command-line.js";

// Images are built and run without an engine: buildah, a base by debootstrap, chroot instead of namespaces. What an engine
// would add, a root that cannot be written, is shown by hashes of the root before and after, and asked for in compose.yaml.

const root = fileURLToPath(new URL("..", import.meta.url));
const minutes = (n: number) => n * 60_000;
const environment = { BUILDAH_ISOLATION: "chroot", STORAGE_DRIVER: "vfs" };
const buildah = (...args: string[]) => execa("buildah", args, { env: environment, cwd: root });
const missing = ["buildah", "debootstrap"].filter((tool) => !pathHas(tool));
const certificates = "/etc/ssl/certs/ca-certificates.crt"; // this machine's, also where a proxy has one of its own

function pathHas(tool: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, tool)));
}

/** Debian 12 and on it this machine's Node: the two bases that the Dockerfiles name as arguments. */
async function makeBases(folder: string): Promise<void> {
  await execa("debootstrap", ["--variant=minbase", "bookworm", join(folder, "rootfs")]);
  const plain = (await buildah("from", "scratch")).stdout;
  await buildah("add", "-q", plain, join(folder, "rootfs"), "/");
  await buildah("commit", "-q", plain, "localhost/bora-base");
  const node = process.execPath;
  const npm = dirname(dirname((await execa("readlink", ["-f", (await execa("which", ["npm"])).stdout])).stdout));
  await buildah("copy", "-q", plain, node, "/usr/local/bin/node");
  await buildah("copy", "-q", plain, join(dirname(dirname(node)), "include/node"), "/usr/local/include/node");
  await buildah("copy", "-q", plain, npm, "/usr/local/lib/node_modules/npm");
  const link = (name: string) => `ln -s ../lib/node_modules/npm/bin/${name}-cli.js /usr/local/bin/${name}`;
  await buildah("run", plain, "--", "sh", "-c", `${link("npm")} && ${link("npx")}`);
  await buildah("commit", "-q", plain, "localhost/bora-base-node");
  await buildah("rm", plain);
}

/** Builds with pip's and Node's own settings of this machine. */
async function build(name: "trainer" | "orchestrator"): Promise<void> {
  const wheels = process.env["PIP_FIND_LINKS"];
  const local = wheels !== undefined && existsSync(wheels);
  const args = {
    trainer: [
      ...["BASE=localhost/bora-base", "TORCH_VARIANT=cpu", "PIP_CERT=/host-ca.crt"],
      ...(local ? ["PIP_FIND_LINKS=/wheels"] : []),
    ],
    orchestrator: ["BASE=localhost/bora-base-node", "NODE_EXTRA_CA_CERTS=/host-ca.crt"],
  }[name].flatMap((arg) => ["--build-arg", arg]);
  const mounts = [`${certificates}:/host-ca.crt:ro`, ...(local ? [`${wheels}:/wheels:ro`] : [])];
  const at = ["-f", `docker/${name}.Dockerfile`, "-t", `localhost/bora-${name}`];
  await buildah("bud", "-q", "--format", "docker", ...args, ...mounts.flatMap((one) => ["-v", one]), ...at, ".");
}

interface Image {
  Entrypoint: string[];
  Cmd: string[];
  User: string;
  StopSignal: string;
  Healthcheck?: { Test: string[] };
}

async function imageOf(name: string): Promise<Image> {
  const { stdout } = await buildah("inspect", "--type", "image", `localhost/bora-${name}`);
  return (JSON.parse(stdout) as { Docker: { config: Image } }).Docker.config;
}

/** Hashes of every file of a container's root, without what is mounted into it. */
function hashesOf(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  const mounted = new Set(["proc", "sys", "dev", "tmp", "runs", "data", "models", "cache", "run"]);
  const visit = (path: string): void => {
    for (const entry of readdirSync(join(folder, path), { withFileTypes: true })) {
      const at = join(path, entry.name);
      if (path === "" && mounted.has(entry.name)) continue;
      if (entry.isDirectory()) visit(at);
      else if (entry.isFile())
        found.set(
          at,
          createHash("sha1")
            .update(readFileSync(join(folder, at)))
            .digest("hex"),
        );
    }
  };
  visit("");
  return found;
}

describe.skipIf(missing.length > 0)(
  `the images (needs buildah and debootstrap; missing: ${missing.join(", ")})`,
  () => {
    let folder = "";
    const containers: string[] = [];
    let trainer: ResultPromise | null = null;
    let worker = 0; // pid
    const at = (...path: string[]) => join(folder, ...path);

    /** A folder of the container's user. */
    const volume = (name: string): string => {
      mkdirSync(at(name), { recursive: true });
      chownSync(at(name), 10_001, 10_001);
      return at(name);
    };
    const from = async (name: string): Promise<{ id: string; mount: string }> => {
      const id = (await buildah("from", "--pull-never", `localhost/bora-${name}`)).stdout;
      containers.push(id);
      return { id, mount: (await buildah("mount", id)).stdout };
    };
    const runIn = (id: string, volumes: Record<string, string>, command: readonly string[]) =>
      execa(
        "buildah",
        [
          "run",
          ...Object.entries(volumes).flatMap(([inside, outside]) => ["-v", `${outside}:${inside}`]),
          ...[id, "--", ...command],
        ],
        { env: environment, reject: false, all: true },
      );

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "bora-images-"));
      chmodSync(folder, 0o755);
      if (process.env["BORA_IMAGES_BUILT"] === undefined) {
        await makeBases(folder);
        await build("trainer");
        await build("orchestrator");
      }
      const tiny = await makeTinyData();
      cpSync(tiny, volume("data"), { recursive: true });
      await execa("chmod", ["-R", "a+rX", at("data")]);
      const { stdout } = await buildah("images", "--format", "{{.Name}} {{.Size}}");
      console.log(stdout);
    }, minutes(40));

    afterAll(async () => {
      if (worker > 0 && trainer?.exitCode === null) process.kill(worker, "SIGKILL");
      for (const id of containers) await buildah("rm", id);
      rmSync(folder, { recursive: true, force: true });
    }, minutes(5));

    it("run as nobody in particular, end on SIGTERM, and say how they are", async () => {
      for (const name of ["trainer", "orchestrator"] as const) {
        const image = await imageOf(name);
        expect([image.User, image.StopSignal, image.Entrypoint[0]]).toEqual(["10001:10001", "SIGTERM", "tini"]);
      }
      expect((await imageOf("trainer")).Healthcheck?.Test).toContain("bora_trainer.healthcheck");
    });

    it(
      "train a sweep between two containers over TLS, and leave their roots as they were",
      async () => {
        const [controller, machine] = [await from("orchestrator"), await from("trainer")];
        const before = [hashesOf(controller.mount), hashesOf(machine.mount)];
        const bora = (await imageOf("orchestrator")).Entrypoint;
        const outside = { "/runs": volume("out"), "/data": at("data"), "/tmp": volume("controller-tmp") };
        const making = { ...outside, "/certs": volume("certs") };
        const made = await runIn(controller.id, making, [...bora, "certs", "--to", "/certs/cluster"]);
        expect(made.all).toContain("trainers.yaml");

        const secrets = at("certs", "cluster");
        const { Entrypoint, Cmd, Healthcheck } = await imageOf("trainer");
        const inside = {
          "/runs": volume("runs"),
          "/data": at("data"),
          "/models": at("data"),
          "/cache": volume("cache"),
        };
        const mounts = { ...inside, "/tmp": volume("trainer-tmp"), "/run/secrets": secrets };
        trainer = runIn(machine.id, mounts, [...Entrypoint, ...Cmd]);
        const ready = at("trainer-tmp", "ready.json");
        while (!existsSync(ready)) {
          const ended = await Promise.race([trainer, delay(200, null)]);
          if (ended !== null) expect.unreachable(`the trainer ended: ${String(ended.all)}`);
        }
        const health = await runIn(machine.id, mounts, Healthcheck?.Test.slice(1) ?? []);
        expect(health.all).toBe("SERVING");
        worker = (JSON.parse(readFileSync(ready, "utf8")) as { pid: number }).pid;
        expect(readFileSync(`/proc/${worker}/status`, "utf8")).toMatch(/^Uid:\t10001\t10001\t10001\t10001$/m);

        const train = { ...short, maxSteps: 12 };
        const model = { source: "path", path: "/models/model", dtype: "float32" };
        const spec = writeExperiment("/data", "tiny", { train, model }, at("data"));
        const controlled = { ...outside, "/run/secrets": secrets };
        const sweep = await runIn(controller.id, controlled, [...bora, "sweep", "--spec", spec, "--out", "/runs"]);
        expect(sweep.all).toContain("exit 0");
        const local = await run(
          "sweep",
          "--spec",
          writeExperiment(at("data"), "tiny", { train }),
          "--out",
          at("local"),
        );
        expect(local.exitCode).toBe(0);
        const ids = [at("out"), at("local")].map(
          (out) => readdirSync(out).find((name) => name.startsWith("tiny-")) ?? "",
        );
        expect(resultsOf(at("out"), ids[0] ?? "").trials).toEqual(resultsOf(at("local"), ids[1] ?? "").trials);

        process.kill(worker, "SIGTERM");
        expect((await trainer).exitCode).toBe(0);
        expect([hashesOf(controller.mount), hashesOf(machine.mount)]).toEqual(before);
      },
      minutes(10),
    );
  },
);
