import { wire } from "@bora/contracts";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connectTextTrainer } from "./grpc-text-trainer.js";
import { rich, ScriptedTrainer, sha256, token } from "./scripted-trainer.fixture.js";
import type { TextTrainer } from "./text-trainer.js";

const none = new AbortController().signal;
const request = wire.GenerateRequest.fromPartial({
  prompt: "so",
  adapters: [{ source: { $case: "base", base: true } }],
});
const said = (text: string) => wire.GenerateResponse.fromPartial({ text });
const listed = (files: Record<string, Buffer>) => [
  wire.MergeResponse.fromPartial({
    files: Object.entries(files).map(([path, bytes]) => ({
      path,
      size: BigInt(bytes.length),
      sha256: sha256(bytes),
    })),
  }),
];
const chunk = (bytes: Buffer) => wire.MergeResponse.fromPartial({ chunk: bytes });

let script: ScriptedTrainer;
let trainer: TextTrainer;
let folder: string;
beforeEach(async () => {
  script = new ScriptedTrainer();
  trainer = await connectTextTrainer({ address: await script.listen(), token }, none);
  folder = await mkdtemp(join(tmpdir(), "bora-"));
});
afterEach(async () => {
  await trainer[Symbol.asyncDispose]();
  script[Symbol.dispose]();
  await rm(folder, { recursive: true });
});

describe("texts over gRPC", () => {
  it("come as they are said", async () => {
    script.texts = ["a", "b", ""].map(said);
    const pieces: string[] = [];
    for await (const { text } of trainer.generate(request, none)) pieces.push(text);
    expect(pieces).toEqual(["a", "b", ""]);
    expect(script.calls).toContain("generate so");
  });

  it("end at the trainer when the loop is left, and by the signal", async () => {
    script.texts = [said("a")];
    script.lingers = true;
    for await (const _piece of trainer.generate(request, none)) break;
    await vi.waitFor(() => expect(script.calls).toContain("generate left"));
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _piece of trainer.generate(request, stop.signal)) stop.abort();
    })();
    await expect(reading).rejects.toMatchObject({ code: "interrupted" });
    await vi.waitFor(() => expect(script.calls.filter((call) => call === "generate left")).toHaveLength(2));
  });

  it("carry the trainer's own error", async () => {
    script.before = () => {
      throw rich("prompt_too_long", "9 tokens, 8 fit", "shorten it", "user");
    };
    const first = trainer.generate(request, none)[Symbol.asyncIterator]().next();
    await expect(first).rejects.toMatchObject({ code: "prompt_too_long", hint: "shorten it" });
  });
});

describe("a merged model over gRPC", () => {
  const merge = () => trainer.merge(wire.MergeRequest.fromPartial({ folder: "/a" }), folder, none);

  it("arrives file by file, however its bytes are cut", async () => {
    const files = {
      "model.safetensors": Buffer.from("0123456789"),
      empty: Buffer.alloc(0),
      "config.json": Buffer.from("{}"),
    };
    script.merged = [
      ...listed(files),
      chunk(Buffer.from("0123")),
      chunk(Buffer.from("456789{")),
      chunk(Buffer.from("}")),
    ];
    expect(await merge()).toEqual(Object.keys(files));
    for (const [name, bytes] of Object.entries(files)) expect(await readFile(join(folder, name))).toEqual(bytes);
  });

  it.each([
    ["other bytes", listed({ a: Buffer.from("01") }), Buffer.from("02"), /a of the merged model has sha256/],
    ["too few", listed({ a: Buffer.from("01") }), Buffer.from("0"), /has 1 bytes, expected 2/],
    ["a way out of the folder", listed({ "../a": Buffer.from("01") }), Buffer.from("01"), /is no file name/],
    ["no list", [], Buffer.from("01"), /list of files/],
  ])("with %s is artifact_corrupt", async (_name, first, bytes, message) => {
    script.merged = [...first, chunk(bytes)];
    await expect(merge()).rejects.toMatchObject({ code: "artifact_corrupt", message: expect.stringMatching(message) });
  });

  it("that does not fit is refused before anything is written", async () => {
    const huge = wire.MergeResponse.fromPartial({ files: [{ path: "a", size: 2n ** 60n, sha256: "0" }] });
    script.merged = [huge];
    await expect(merge()).rejects.toMatchObject({ code: "disk_full" });
    expect(await readdir(folder)).toEqual([]);
  });
});

it("a trainer of another API, or with another token, is refused", async () => {
  const address = `127.0.0.1:${script.port}`;
  script.apiVersion = "2.0";
  await expect(connectTextTrainer({ address, token }, none)).rejects.toMatchObject({ code: "api_mismatch" });
  await expect(connectTextTrainer({ address, token: "x".repeat(16) }, none)).rejects.toMatchObject({
    code: "unauthenticated",
  });
});
