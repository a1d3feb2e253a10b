import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

const read = (file: string): string => readFileSync(fileURLToPath(new URL(`../${file}`, import.meta.url)), "utf8");

// Strict: a key that compose does not know, or that nobody checks here, is a mistake.
const Service = z.strictObject({
  profiles: z.array(z.string()).min(1),
  image: z
    .string()
    .regex(/:[\w.-]*\d[\w.-]*$/)
    .optional(),
  build: z
    .strictObject({
      context: z.literal(".."),
      dockerfile: z.enum(["docker/trainer.Dockerfile", "docker/orchestrator.Dockerfile"]),
      args: z.strictObject({ TORCH_VARIANT: z.string() }).optional(),
    })
    .optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  secrets: z.array(z.string()),
  volumes: z.array(z.string().regex(/^[\w-]+:\/[\w/]+(:ro)?$/)),
  tmpfs: z.array(z.string().regex(/^\/tmp:mode=1777,size=\d+[mg]$/)).optional(),
  shm_size: z.string().optional(),
  networks: z.strictObject({ default: z.strictObject({ aliases: z.array(z.string()) }) }).optional(),
  deploy: z
    .strictObject({
      resources: z.strictObject({
        reservations: z.strictObject({
          devices: z.array(
            z.strictObject({ driver: z.string(), count: z.number(), capabilities: z.array(z.string()) }),
          ),
        }),
      }),
    })
    .optional(),
  read_only: z.boolean().optional(),
  cap_drop: z.array(z.string()).optional(),
  security_opt: z.array(z.string()).optional(),
  stop_grace_period: z.string().optional(),
  restart: z.enum(["unless-stopped"]).optional(),
  healthcheck: z.strictObject({ test: z.array(z.string()), interval: z.string(), retries: z.number() }).optional(),
  ports: z.array(z.string()).optional(),
  depends_on: z
    .record(z.string(), z.strictObject({ condition: z.literal("service_healthy"), required: z.boolean() }))
    .optional(),
});
const Compose = z.looseObject({
  services: z.record(z.string(), Service),
  secrets: z.record(z.string(), z.strictObject({ file: z.string().regex(/^secrets\//) })),
  volumes: z.record(z.string(), z.null()),
});
const compose = Compose.parse(parse(read("docker/compose.yaml"), { merge: true }));
const services = Object.entries(compose.services);
const ours = services.filter(([name]) => name !== "postgres");

describe("compose.yaml", () => {
  it("gives every service of ours a root that cannot be written, no capability, and time to end", () => {
    expect(ours.map(([name]) => name)).toEqual(["trainer", "trainer-gpu", "bora", "page"]);
    for (const [name, service] of ours) {
      expect(service.read_only, name).toBe(true);
      expect(service.cap_drop, name).toEqual(["ALL"]);
      expect(service.security_opt, name).toEqual(["no-new-privileges:true"]);
      expect(service.stop_grace_period, name).toMatch(/^[25]m$/);
    }
  });

  it("opens no port on the machine but the page's, on loopback unless it is told, and with TLS", () => {
    const withPort = services.filter(([, { ports }]) => ports !== undefined);
    expect(withPort.map(([name, { ports }]) => [name, ports])).toEqual([
      ["page", ["${BORA_PAGE_ADDRESS:-127.0.0.1}:8443:8443"]],
    ]);
    const files = (compose.services["page"]?.command ?? []).flatMap(
      (word) => /=\/run\/secrets\/(.+)/.exec(word)?.[1] ?? [],
    );
    expect(files).toEqual(["page.pem", "page-key.pem", "page-token.sha256"]);
    for (const file of files) expect(compose.services["page"]?.secrets).toContain(file);
  });

  it("names secrets and volumes that it declares, and waits for what is healthy", () => {
    for (const [name, service] of services) {
      for (const secret of service.secrets) expect(Object.keys(compose.secrets), name).toContain(secret);
      for (const volume of service.volumes) expect(Object.keys(compose.volumes), name).toContain(volume.split(":")[0]);
      for (const other of Object.keys(service.depends_on ?? {})) expect(Object.keys(compose.services)).toContain(other);
    }
  });

  it("reserves a card in the profile gpu alone", () => {
    const withDevice = services.filter(([, service]) => JSON.stringify(service).includes('"driver":"nvidia"'));
    expect(withDevice.map(([name, { profiles }]) => [name, profiles])).toEqual([["trainer-gpu", ["gpu"]]]);
  });
});

describe.each(["trainer", "orchestrator"])("%s.Dockerfile", (name) => {
  const text = read(`docker/${name}.Dockerfile`);
  const instructions = text
    .replace(/\\\n/g, " ")
    .split("\n")
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => line.trim().split(/\s+/));

  it("takes its base as an argument with a pinned default, and runs as a user without rights", () => {
    expect(instructions[0]).toEqual(["ARG", expect.stringMatching(/^BASE=[\w./-]+:[\w.-]*\d[\w.-]*$/)]);
    const stages: string[] = [];
    for (const [word, base = "", , stage = ""] of instructions)
      if (word === "FROM") {
        expect(["${BASE}", ...stages]).toContain(base);
        stages.push(stage);
      }
    for (const from of text.matchAll(/--from=(\S+)/g)) expect(stages).toContain(from[1]);
    expect(instructions.filter(([word]) => word === "USER")).toEqual([["USER", "10001:10001"]]);
  });

  it("starts by words, not through a shell, and copies no secret", () => {
    for (const [word = "", first = ""] of instructions)
      if (["ENTRYPOINT", "CMD"].includes(word)) expect(first, word).toMatch(/^\[/);
    expect(text).not.toMatch(/COPY[^\n]*(secret|\.pem|token)/i);
  });

  it("installs without recommendations and leaves no package lists, fetches nothing by hand, and has no heredoc", () => {
    const runs = instructions.filter(([word]) => word === "RUN").map((words) => words.join(" "));
    const installs = runs.filter((run) => run.includes("apt-get install"));
    expect(installs.length).toBeGreaterThan(0);
    for (const run of installs) {
      expect(run).toMatch(/^RUN apt-get update && apt-get install -y --no-install-recommends /);
      expect(run).toContain("rm -rf /var/lib/apt/lists/*");
    }
    expect(instructions.map(([word]) => word)).not.toContain("ADD");
    expect(runs.join("\n")).not.toMatch(/\b(curl|wget|sudo)\b|<<|apt-get upgrade/);
    for (const [word, path] of instructions) if (word === "WORKDIR") expect(path).toMatch(/^\//);
  });

  it("holds its bill of materials in the stage that is kept", () => {
    const kept = instructions.slice(instructions.findLastIndex(([word]) => word === "FROM"));
    expect(kept.map((words) => words.join(" "))).toContain("COPY --from=sbom /tmp/sbom.cdx.json /usr/share/bora/");
  });
});

it("the image's torch is the environment's", () => {
  const version = /TORCH = "torch==([\d.]+)"/.exec(read("trainer-py/tools/ensure_venv.py"))?.[1];
  expect(version).toBeDefined();
  expect(read("docker/trainer.Dockerfile")).toContain(`ARG TORCH_VERSION=${String(version)}\n`);
});
