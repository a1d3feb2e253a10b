import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readTrainersFile } from "./index.js";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bora-trainers-"));
  file = join(folder, "trainers.yaml");
});
afterEach(() => rm(folder, { recursive: true }));

const reading = async (content: string) => {
  await writeFile(file, content);
  return readTrainersFile(file);
};

test("secrets are read anew at each use, so that they can be rotated", async () => {
  const [trainer] = await reading('trainers: [{ address: "127.0.0.1:1", tokenFile: one }]');
  await writeFile(join(folder, "one"), "first-token\nolder-token\n");
  expect(await trainer?.token()).toBe("first-token");
  await writeFile(join(folder, "one"), "second-token\n");
  expect(await trainer?.token()).toBe("second-token");
  expect(await trainer?.tls()).toBeNull();
  await rm(join(folder, "one"));
  await expect(trainer?.token()).rejects.toMatchObject({ code: "token_missing" });
});

test.each([
  ["trainers: []", "spec_invalid", "trainers"],
  ["trainers: [{ address: nowhere }]\ntokenFile: t", "spec_invalid", "host:port"],
  [
    'trainers: [{ address: "localhost:1" }, { address: "localhost:1" }]\ntokenFile: t',
    "spec_invalid",
    "each address once",
  ],
  ['trainers: [{ address: "localhost:1" }]', "spec_invalid", "tokenFile"],
  ['trainers: [{ address: "localhost:1", token: secret }]\ntokenFile: t', "spec_invalid", "token"],
  ['trainers: [{ address: "gpu1:1" }]\ntokenFile: t', "tls_missing", "gpu1:1"],
  ['trainers: [{ address: "127.0.0.1.example.org:1" }]\ntokenFile: t', "tls_missing", "example.org"],
  ['trainers: [{ address: "gpu1:1" }]\ntokenFile: t\ntls: { ca: c, key: k }', "spec_invalid", "belong together"],
  ["trainers: [", "spec_unreadable", "YAML"],
])("%s is %s", async (content, code, said) => {
  await expect(reading(content)).rejects.toMatchObject({ code, message: expect.stringContaining(said) });
});

test("a file that is not there, and certificates that are none, are named", async () => {
  await expect(readTrainersFile(join(folder, "gone.yaml"))).rejects.toMatchObject({ code: "spec_unreadable" });
  const [trainer] = await reading('trainers: [{ address: "gpu1:1" }]\ntokenFile: t\ntls: { ca: ca.pem }');
  await expect(trainer?.tls()).rejects.toMatchObject({
    code: "tls_unreadable",
    message: expect.stringContaining("ca.pem"),
  });
  await writeFile(join(folder, "ca.pem"), "nothing");
  await expect(trainer?.tls()).rejects.toMatchObject({
    code: "tls_unreadable",
    message: expect.stringContaining("7 char"),
  });
});
