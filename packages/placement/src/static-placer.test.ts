import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BoraError } from "@bora/contracts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StaticPlacer, type RunningTrainer } from "./index.js";

const signal = new AbortController().signal;
const lost = new BoraError("trainer_lost", "nobody answers", { hint: "" });
const trainer = (address: string): RunningTrainer => ({
  address,
  token: async () => `token of ${address}`,
  tls: async () => null,
});

describe("a placer of trainers that run already", () => {
  let root: string;
  let instances: Record<string, string | BoraError>; // by address
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "bora-static-"));
    instances = { "a:1": "i-a", "b:1": "i-b" };
  });
  afterEach(() => rm(root, { recursive: true }));

  const placerOf = (addresses = Object.keys(instances)) =>
    new StaticPlacer({
      root,
      trainers: addresses.map(trainer),
      probe: async ({ address, token }) => {
        expect(token).toBe(`token of ${address}`);
        const found = instances[address] ?? lost;
        if (found instanceof BoraError) throw found;
        return { instanceId: found };
      },
    });
  const place = (placer: StaticPlacer, trainerId: string) => placer.place({ trainerId, leaseMs: 1 }, signal);

  test("gives each name a trainer of its own, at once or one after another, and says when there is none left", async () => {
    const placer = placerOf();
    const placed = await Promise.all(["t1", "t2"].map((id) => place(placer, id)));
    expect(placed.map(({ address }) => address).sort()).toEqual(["a:1", "b:1"]);
    await expect(place(placer, "t3")).rejects.toMatchObject({ code: "busy", message: expect.stringContaining("2") });
    await placer.release("t1");
    await placer.release("t1");
    expect((await place(placer, "t3")).address).toBe(placed[0]?.address);
  });

  test("finds the same trainer again, also by a later controller", async () => {
    const first = await place(placerOf(), "t1");
    expect(await place(placerOf(), "t1")).toEqual(first);
    expect(await placerOf().list(signal)).toEqual([first]);
  });

  test("passes over a silent trainer, and names all when none answers", async () => {
    instances["a:1"] = lost;
    expect((await place(placerOf(), "t1")).address).toBe("b:1");
    await expect(place(placerOf(), "t2")).rejects.toMatchObject({ code: "trainer_lost", message: /1 free trainers/ });
    expect((await placerOf().list(signal)).map(({ trainerId }) => trainerId)).toEqual(["t1"]);
  });

  test("takes none at an address to avoid, but keeps the one it has", async () => {
    const asked = (trainerId: string, avoid: string[]) => placerOf().place({ trainerId, leaseMs: 1, avoid }, signal);
    expect((await asked("t1", ["a:1"])).address).toBe("b:1");
    expect((await asked("t1", ["b:1"])).address).toBe("b:1");
    await expect(asked("t2", ["a:1"])).rejects.toMatchObject({ code: "busy" });
  });

  test("does not pass over a wrong token", async () => {
    instances["a:1"] = new BoraError("unauthenticated", "wrong token", { hint: "" });
    await expect(place(placerOf(), "t1")).rejects.toMatchObject({ code: "unauthenticated" });
    expect(await placerOf().list(signal)).toEqual([]);
  });

  test("a silent one may be at work, another process at its address means that it is gone", async () => {
    await place(placerOf(), "t1");
    instances["a:1"] = lost;
    expect(await placerOf().list(signal)).toMatchObject([{ at: "ready", trainerId: "t1", instanceId: "i-a" }]);
    instances["a:1"] = "i-new";
    expect(await placerOf().list(signal)).toMatchObject([{ at: "gone", trainerId: "t1" }]);
    expect(await place(placerOf(), "t1")).toMatchObject({ instanceId: "i-new" });
    expect(await placerOf(["b:1"]).list(signal)).toMatchObject([
      { at: "gone", reason: expect.stringContaining("a:1") },
    ]);
  });

  test("a torn file is as if the trainer was never taken, and a name that leads elsewhere is refused", async () => {
    await place(placerOf(), "t1");
    await writeFile(join(root, "t1.taken.json"), '{"address":');
    expect(await placerOf().list(signal)).toEqual([]);
    expect((await place(placerOf(), "t2")).address).toBe("a:1");
    await expect(place(placerOf(), "../t1")).rejects.toMatchObject({ code: "usage" });
  });
});
