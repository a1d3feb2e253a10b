import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { localPlacer, type LocalPlacerOptions, type Placer } from "./index.js";
import { processesOf } from "./processes.js";

const fixture = fileURLToPath(new URL("../test/trainer.mjs", import.meta.url));
const signal = new AbortController().signal;
const request = { trainerId: "t1", leaseMs: 60_000 };

describe.skipIf(process.platform !== "linux")("local placer (Linux)", () => {
  let root: string;
  let placer: Placer;

  const program = (mode = "well") => ({ file: process.execPath, args: [fixture, "--mode", mode] });
  const placerOf = (options: Partial<LocalPlacerOptions> = {}) => localPlacer({ root, program: program(), ...options });
  const living = async (trainerId = "t1") => (await processesOf(join(root, trainerId))).map(({ pid }) => pid);
  const pidOf = async (trainerId = "t1"): Promise<number> => {
    const { pid }: { pid: number } = JSON.parse(await readFile(join(root, trainerId, "ready.json"), "utf8"));
    return pid;
  };

  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), "bora-placer-")));
    placer = await placerOf();
  });

  afterEach(async () => {
    for (const { trainerId } of await placer.list(signal)) await placer.release(trainerId, 0, signal);
    await rm(root, { recursive: true });
  });

  test("starts a trainer with a token of its own in a private file, in its own process group", async () => {
    const placed = await placer.place(request, signal);
    expect(placed).toMatchObject({
      at: "ready",
      trainerId: "t1",
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    });
    expect(placed.token).toMatch(/^[\w-]{43}$/);
    expect((await stat(join(root, "t1", "token"))).mode & 0o777).toBe(0o600);
    expect(await groupOf(await pidOf())).toBe(await pidOf());
    expect(await readFile(join(root, "t1", "trainer.log"), "utf8")).toContain("token 43 characters, lease 60000 ms");
  });

  test("placing a living trainer again, at once or by a later controller, finds it", async () => {
    const [first, same] = await Promise.all([placer.place(request, signal), placer.place(request, signal)]);
    expect(same).toEqual(first);
    expect(await (await placerOf()).place(request, signal)).toEqual(first);
    expect(await (await placerOf()).list(signal)).toEqual([first]);
    expect(await living()).toHaveLength(2); // the trainer and its child
  });

  test("a trainer outlives the controller that placed it, and the next one finds it", async () => {
    const controller = spawn(process.execPath, ["--import", "tsx", placeOnce, root, fixture], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(controller.stdout, "data");
    controller.kill("SIGKILL");
    await once(controller, "exit");
    const pid = await pidOf();
    expect(await placer.place(request, signal)).toMatchObject({ at: "ready" });
    expect(await pidOf()).toBe(pid);
  });

  test("finds a trainer that a controller which died was still starting", async () => {
    const slow = await placerOf({ program: program("never") });
    const abort = new AbortController();
    void slow.place(request, abort.signal).catch(() => undefined);
    await vi.waitFor(async () => expect(await living()).toHaveLength(2), { interval: 20, timeout: 30_000 });
    const listed = (await placerOf()).list(signal);
    const found = (await placerOf()).place(request, signal);
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const [pid = 0] = (await living()).sort((a, b) => a - b);
    await writeFile(join(root, "t1", "ready.json"), await readyOf(pid, server.address()));
    expect(await listed).toEqual([await found]);
    server.close();
    abort.abort();
  });

  test("release ends the trainer and its child, and another trainer stays", async () => {
    await placer.place(request, signal);
    await placer.place({ ...request, trainerId: "t2" }, signal);
    await placer.release("t1", 5_000, signal);
    expect(await living()).toEqual([]);
    expect(await living("t2")).toHaveLength(2);
    expect((await placer.list(signal)).map(({ trainerId }) => trainerId)).toEqual(["t2"]);
    await placer.release("t1", 5_000, signal);
  });

  test("release kills a trainer that ignores SIGTERM after its grace", async () => {
    const deaf = await placerOf({ program: program("deaf") });
    await deaf.place(request, signal);
    await deaf.release("t1", 1_000, signal); // a busy machine delivers the signal late
    expect(await living()).toEqual([]);
    expect(await readFile(join(root, "t1", "trainer.log"), "utf8")).toContain("SIGTERM ignored");
  });

  test("a killed trainer is gone, with its training child, and is started anew with another token", async () => {
    const first = await placer.place(request, signal);
    process.kill(await pidOf(), "SIGKILL");
    await vi.waitFor(
      async () =>
        expect(await placer.list(signal)).toEqual([
          { at: "gone", trainerId: "t1", reason: expect.stringMatching(/^process \d+ ended by SIGKILL$/) },
        ]),
      { interval: 20, timeout: 30_000 },
    );
    expect(await living()).toEqual([]);
    const second = await placer.place(request, signal);
    expect(second.instanceId).not.toBe(first.instanceId);
    expect(second.token).not.toBe(first.token);
  });

  test("a process that got the pid of a dead trainer is not taken for it, and not signalled", async () => {
    await placer.place(request, signal);
    const pid = await pidOf();
    await placer.release("t1", 5_000, signal);
    const stranger = spawn(process.execPath, ["-e", "setInterval(() => {}, 1 << 30)"], { stdio: "ignore" });
    const ready = JSON.parse(await readyOf(stranger.pid ?? 0));
    await writeFile(join(root, "t1", "ready.json"), JSON.stringify({ ...ready, startTime: ready.startTime - 1 }));
    expect(await placer.list(signal)).toMatchObject([{ at: "gone", trainerId: "t1" }]);
    await placer.release("t1", 0, signal);
    expect(stranger.exitCode).toBeNull();
    expect(pid).not.toBe(stranger.pid);
    stranger.kill("SIGKILL");
    expect(await once(stranger, "exit")).toEqual([null, "SIGKILL"]);
  });

  test.each([
    [
      "crash",
      "trainer_lost",
      /ended with status 3 before it was ready.*ValueError: the device is on fire/s,
      /trainer\.log/,
    ],
    ["typed", "port_taken", /^cannot listen on 127\.0\.0\.1:80$/, /^choose another port/],
    ["no-module", "environment_missing", /No module named bora_trainer/, /npx nx run trainer-py:venv/],
  ])("a trainer that ends before it is ready (%s) is %s", async (mode, code, message, hint) => {
    const failing = await placerOf({ program: program(mode) });
    await expect(failing.place(request, signal)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
    expect(await failing.list(signal)).toEqual([]);
  });

  test("only the last attempt's log is quoted", async () => {
    await expect((await placerOf({ program: program("typed") })).place(request, signal)).rejects.toMatchObject({
      code: "port_taken",
    });
    await expect((await placerOf({ program: program("crash") })).place(request, signal)).rejects.toMatchObject({
      code: "trainer_lost",
    });
  });

  test("a trainer that is not ready in time is ended", async () => {
    const never = await placerOf({ program: program("never"), readyMs: 1_000 });
    await expect(never.place(request, signal)).rejects.toMatchObject({
      code: "trainer_lost",
      message: expect.stringMatching(/was not ready after 1 s/),
    });
    expect(await living()).toEqual([]);
  });

  test("an interrupted start leaves nothing behind", async () => {
    const never = await placerOf({ program: program("never") });
    const abort = new AbortController();
    const placing = never.place(request, abort.signal);
    const rejected = expect(placing).rejects.toThrow(/abort/i);
    await vi.waitFor(async () => expect(await living()).toHaveLength(2), { interval: 20, timeout: 30_000 });
    abort.abort();
    await rejected;
    expect(await living()).toEqual([]);
  });

  test("a missing interpreter is environment_missing, with what to run", async () => {
    const missing = await placerOf({ program: { file: join(root, "python"), args: [] } });
    await expect(missing.place(request, signal)).rejects.toMatchObject({
      code: "environment_missing",
      message: expect.stringContaining(join(root, "python")),
      hint: "run `npx nx run trainer-py:venv`",
    });
  });

  test("a ready file that no trainer wrote is as good as none", async () => {
    await placer.place(request, signal);
    await placer.release("t1", 5_000, signal);
    for (const text of ["", "{", "[]", '{"pid": -1}']) {
      await writeFile(join(root, "t1", "ready.json"), text);
      expect(await placer.list(signal)).toEqual([]);
    }
    expect(await placer.place(request, signal)).toMatchObject({ at: "ready" });
  });

  test("a trainer of the experiment with the longest name has an id like any other", async () => {
    const trainerId = `${"a".repeat(63)}-0123abcd-t1000000`;
    expect(await placer.place({ ...request, trainerId }, signal)).toMatchObject({ at: "ready", trainerId });
  });

  test("a trainer id that would leave the folder is refused", async () => {
    for (const trainerId of ["../t1", "a/b", "", "runs", "."])
      await expect(placer.place({ ...request, trainerId }, signal)).rejects.toMatchObject({ code: "usage" });
  });

  test("a trainer sees the allowed part of the environment only", async () => {
    const environment = {
      PATH: process.env["PATH"],
      HOME: "/h",
      HF_HOME: "/hf",
      HF_TOKEN: "s",
      AWS_SECRET: "s",
      BORA_CACHE: "/c",
      BORA_STORE: "postgres://bora:s@db/bora",
      GLIBC_TUNABLES: "glibc.malloc.hugetlb=0", // the trainer adds its own to it
    };
    await (await placerOf({ environment })).place(request, signal);
    const log = await readFile(join(root, "t1", "trainer.log"), "utf8");
    expect(/^environment (.*)$/m.exec(log)?.[1]?.split(" ")).toEqual([
      "BORA_CACHE",
      "BORA_TRAINER_FOLDER",
      "GLIBC_TUNABLES",
      "HF_HOME",
      "HOME",
      "PATH",
      "PYTHONUNBUFFERED",
    ]);
  });
});

const placeOnce = fileURLToPath(new URL("../test/place-once.ts", import.meta.url));

async function statOf(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

const groupOf = async (pid: number): Promise<number> => Number((await statOf(pid))[2]);

async function readyOf(pid: number, listening: ReturnType<Server["address"]> = null): Promise<string> {
  const port = typeof listening === "object" ? (listening?.port ?? 1) : 1;
  const startTime = Number((await statOf(pid))[19]);
  return JSON.stringify({ address: `127.0.0.1:${port}`, pid, instanceId: "i", startTime });
}
