import { BoraError, wire } from "@bora/contracts";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServerError, Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connectTrainer, openTrainer } from "./grpc-trainer.js";
import { rich, runId, ScriptedTrainer, sha256, token } from "./scripted-trainer.fixture.js";
import type { Trainer } from "./trainer.js";

const none = new AbortController().signal;
const held = { runId, attempt: 2 };
const until = (code: Status, message: string, times: number) => {
  let calls = 0;
  return () => {
    if (calls++ < times) throw new ServerError(code, message);
  };
};

describe("a trainer over gRPC", () => {
  let script: ScriptedTrainer;
  let trainer: Trainer;
  let address: string;
  beforeEach(async () => {
    script = new ScriptedTrainer();
    address = await script.listen();
    trainer = await openTrainer({ address, token }, none, { backoffMs: 5 });
  });
  afterEach(async () => {
    await trainer[Symbol.asyncDispose]();
    script[Symbol.dispose]();
  });

  it("hands over the request, the lease, and its CURVE key", async () => {
    const spec = wire.RunSpec.fromPartial({ runId, fits: [{ trialId: "t", tau: Infinity, seed: 0 }] });
    await trainer.start({ spec, attempt: 2, firstSeq: 5, leaseMs: 60_000, resumeStep: 25 }, none);
    expect(script.start).toMatchObject({ attempt: 2, firstSeq: 5, leaseMs: 60_000, resumeStep: 25, spec });
    expect(script.start?.subscriberKey.toString()).toMatch(/^[\x21-\x7e]{40}$/);
    await trainer.cancel(held, "drain", none);
    await trainer.cancel(held, "kill", none);
    expect(script.calls.slice(-2)).toEqual(["cancel DRAIN", "cancel KILL"]);
    const base = { model: undefined, data: undefined, adapter: undefined };
    const inspected = await trainer.inspect(base, none);
    expect(inspected).toMatchObject({ dataHash: "d", tasks: [{ name: "Hamlet", cutTokens: 7 }] });
  });

  it("asks of a prior mean that it fits, of what is evaluated only what it is, and of each folder once", async () => {
    const base = { model: undefined, data: undefined, adapter: undefined };
    const prior = wire.PriorSpec.fromPartial({ mean: { path: "/theta", fixed: true } });
    await trainer.inspect({ ...base, prior }, none);
    expect(script.inspect).toMatchObject({ adapterFolders: ["/theta"], sameShape: true });
    const adapters = ["", "/b", "/a", "/b"].map((path) => ({ path, sha256: "" }));
    await trainer.inspect({ ...base, prior, evaluate: { adapters } }, none);
    expect(script.inspect).toMatchObject({ adapterFolders: ["/b", "/a"], sameShape: false });
  });

  it("carries the trainer's own code, message and hint", async () => {
    script.before = () => {
      throw rich("out_of_memory", "150 rows need 9.0 GiB, 6.0 are free", "lower pack.maxRows", "oom");
    };
    const error = await trainer.renew(held, 60_000, 0, none).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(BoraError);
    expect(error).toMatchObject({ code: "out_of_memory", domain: "oom", hint: "lower pack.maxRows" });
    expect(error).toMatchObject({ message: "150 rows need 9.0 GiB, 6.0 are free" });
  });

  it.each([
    ["user", "spec_invalid"],
    ["oom", "out_of_memory"],
    ["infra", "internal"],
    ["", "internal"],
  ])("keeps a code of a newer trainer readable (domain %s)", async (domain, code) => {
    script.before = () => {
      throw rich("from_the_future", "what happened", "what to do", domain);
    };
    await expect(trainer.renew(held, 60_000, 0, none)).rejects.toMatchObject({
      code,
      message: "from_the_future: what happened",
      hint: "what to do",
    });
  });

  it("asks again while a trainer is unavailable, four times in all", async () => {
    script.before = until(Status.UNAVAILABLE, "starting", 3);
    await trainer.renew(held, 60_000, 0, none);
    expect(script.calls.filter((call) => call === "renewLease")).toHaveLength(4);
  });

  it("is trainer_lost when nobody answers", async () => {
    await script.kill();
    await expect(trainer.renew(held, 60_000, 0, none)).rejects.toMatchObject({
      code: "trainer_lost",
      message: expect.stringContaining(address),
    });
  });

  it("reaches every port of a trainer through a route, where there is one", async () => {
    await script.openPublisher();
    const asked: string[] = [];
    const route = (target: string) => Promise.resolve((asked.push(target), target));
    await using routed = await openTrainer({ address, token, route }, none, { idleMs: 20 });
    const end = { manifest: undefined, seconds: 1, peakMemoryBytes: 1n };
    await script.say({ $case: "runDone", runDone: end });
    script.held = true;
    for await (const _ of routed.events(runId, 0, none));
    expect(asked[0]).toBe(address);
    script.events.length = 0;
    const events = routed.events(runId, 0, none)[Symbol.asyncIterator]();
    const first = events.next();
    await script.subscribed();
    await script.say({ $case: "runDone", runDone: end });
    expect((await first).value?.seq).toBe(1);
    expect(asked).toEqual([address, script.endpoint.replace("tcp://", "")]);
  });

  it("gives up with the signal", async () => {
    const stop = new AbortController();
    script.before = () => stop.abort();
    await expect(trainer.renew(held, 60_000, 0, stop.signal)).rejects.toMatchObject({ code: "interrupted" });
  });

  it("refuses another major version and a wrong token at once", async () => {
    script.apiVersion = "2.0";
    await expect(connectTrainer({ address, token }, none)).rejects.toMatchObject({
      code: "api_mismatch",
      message: expect.stringContaining("2.0"),
    });
    await expect(connectTrainer({ address, token: "wrong" }, none)).rejects.toMatchObject({ code: "unauthenticated" });
  });

  describe("fetch", () => {
    const content = Buffer.from(Array.from({ length: 5500 }, (_, i) => (i * 7919) % 251));
    const artifact = { path: "trials/a/documents.jsonl", size: BigInt(content.length), sha256: sha256(content) };
    let folder: string;
    let to: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "bora-"));
      to = join(folder, "deep", "documents.jsonl");
      script.files.set(artifact.path, content);
    });
    afterEach(() => rm(folder, { recursive: true }));

    it("copies a file whole and leaves nothing else", async () => {
      await trainer.fetch(runId, artifact, to, none);
      expect(await readFile(to)).toEqual(content);
      expect(await readdir(join(folder, "deep"))).toEqual(["documents.jsonl"]);
    });

    it("takes a broken transfer up where it stopped, here and in a later life", async () => {
      script.breakAfterChunks = 2;
      await trainer.fetch(runId, artifact, to, none);
      expect(script.offsets).toEqual([0n, 2000n, 4000n]);
      expect(await readFile(to)).toEqual(content);

      await rm(to);
      await writeFile(`${to}.partial`, content.subarray(0, 4500));
      await trainer.fetch(runId, artifact, to, none);
      expect(script.offsets.at(-1)).toBe(4500n);
      expect(await readFile(to)).toEqual(content);
    });

    it.each([
      ["a byte of an earlier part is wrong", Buffer.alloc(1000), artifact.sha256],
      ["the file is another", content, sha256(Buffer.from("another"))],
    ])("is artifact_corrupt and leaves no file when %s", async (_, before, expected) => {
      await trainer.fetch(runId, artifact, to, none);
      await rm(to);
      await writeFile(`${to}.partial`, before);
      const wanted = { ...artifact, sha256: expected };
      await expect(trainer.fetch(runId, wanted, to, none)).rejects.toMatchObject({ code: "artifact_corrupt" });
      expect(await readdir(join(folder, "deep"))).toEqual([]);
    });

    it("is artifact_corrupt when the file is longer than the event says", async () => {
      const wanted = { ...artifact, size: 1500n };
      await expect(trainer.fetch(runId, wanted, to, none)).rejects.toMatchObject({ code: "artifact_corrupt" });
    });

    it("starts over when the part is longer than the file", async () => {
      await trainer.fetch(runId, artifact, to, none);
      await writeFile(`${to}.partial`, Buffer.alloc(9000));
      await trainer.fetch(runId, artifact, to, none);
      expect(await readFile(to)).toEqual(content);
    });

    it("gives a silent transfer up as trainer_lost", async () => {
      script.before = (call) => (call === "readArtifact" ? new Promise(() => undefined) : undefined);
      await using impatient = await openTrainer({ address, token }, none, { backoffMs: 5, chunkMs: 50 });
      await expect(impatient.fetch(runId, artifact, to, none)).rejects.toMatchObject({ code: "trainer_lost" });
    });
  });
});
