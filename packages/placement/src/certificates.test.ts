import { createHash, X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeCertificates, readTrainersFile } from "./index.js";

const nowMs = Date.now();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bora-certs-"));
});
afterEach(() => rm(folder, { recursive: true }));

const make = (name = "one", hosts = ["gpu1.example", "10.0.0.7"]) =>
  makeCertificates({ to: join(folder, name), hosts, pageHosts: ["lab.example"], days: 30, nowMs });
const read = (...path: string[]) => readFile(join(folder, ...path), "utf8");
const certificate = async (...path: string[]) => new X509Certificate(await read(...path));

test("certificates come from the CA, and are good for their own hosts and this machine alone", async () => {
  const { expires } = await make();
  const ca = await certificate("one", "ca.pem");
  expect([ca.ca, ca.verify(ca.publicKey)]).toEqual([true, true]);
  for (const name of ["trainer", "controller", "page"]) {
    const one = await certificate("one", `${name}.pem`);
    expect([one.ca, one.checkIssued(ca), one.verify(ca.publicKey)]).toEqual([false, true, true]);
    expect(new Date(one.validTo).getTime()).toBe(Math.floor(expires.getTime() / 1000) * 1000);
  }
  const trainer = await certificate("one", "trainer.pem");
  expect(["gpu1.example", "localhost"].map((host) => trainer.checkHost(host))).toEqual(["gpu1.example", "localhost"]);
  expect(trainer.checkHost("gpu2.example")).toBeUndefined();
  expect([trainer.checkIP("10.0.0.7"), trainer.checkIP("10.0.0.8")]).toEqual(["10.0.0.7", undefined]);
  const page = await certificate("one", "page.pem");
  const names = ["lab.example", "localhost", "gpu1.example"].map((host) => page.checkHost(host));
  expect(names).toEqual(["lab.example", "localhost", undefined]);
});

/** Whether a client with these files gets a byte from a server with those. */
async function meets(
  server: string,
  client: { ca: string; certificate: string | null },
  shows: "controller" | "page" = "controller",
): Promise<boolean> {
  const [cert, key, ca] = await Promise.all(["trainer.pem", "trainer-key.pem", "ca.pem"].map((n) => read(server, n)));
  const listening = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.end("hello");
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => listening.once("listening", resolve));
  const own = client.certificate;
  const shown = own === null ? {} : { cert: await read(own, `${shows}.pem`), key: await read(own, `${shows}-key.pem`) };
  const { port } = listening.address() as AddressInfo;
  const socket = connect({
    port,
    host: "127.0.0.1",
    servername: "localhost",
    ca: await read(client.ca, "ca.pem"),
    ...shown,
  });
  try {
    return await new Promise((resolve) => {
      socket.once("data", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("close", () => resolve(false));
    });
  } finally {
    socket.destroy();
    listening.close();
  }
}

test("a handshake needs both sides to be of one CA", async () => {
  await make("one");
  await make("two");
  expect(await meets("one", { ca: "one", certificate: "one" })).toBe(true);
  expect(await meets("one", { ca: "one", certificate: null })).toBe(false);
  expect(await meets("one", { ca: "one", certificate: "two" })).toBe(false);
  expect(await meets("one", { ca: "two", certificate: "one" })).toBe(false);
  expect(await meets("one", { ca: "one", certificate: "one" }, "page")).toBe(false); // it opens no trainer
});

test("keys and tokens are their owner's alone, hashes are the tokens', and the trainers file reads them", async () => {
  await make();
  const keys = ["ca-key.pem", "trainer-key.pem", "controller-key.pem", "page-key.pem"];
  for (const name of await readdir(join(folder, "one"))) {
    const secret = [...keys, "token", "page-token"].includes(name);
    expect((await stat(join(folder, "one", name))).mode & 0o777, name).toBe(secret ? 0o600 : 0o644);
  }
  const [token = "", other = ""] = await Promise.all(
    ["token", "page-token"].map(async (name) => (await read("one", name)).trim()),
  );
  expect(token).not.toBe(other);
  expect(await read("one", "token.sha256")).toBe(`sha256:${createHash("sha256").update(token).digest("hex")}\n`);
  expect(await read("one", "page-token.sha256")).toBe(`sha256:${createHash("sha256").update(other).digest("hex")}\n`);
  const trainers = await readTrainersFile(join(folder, "one", "trainers.yaml"));
  expect(trainers.map(({ address }) => address)).toEqual(["gpu1.example:50051", "10.0.0.7:50051"]);
  expect(await trainers[0]?.token()).toBe(token);
  const { ca, certificate: own, key } = (await trainers[0]?.tls()) ?? {};
  expect([ca, own, key]).toEqual(
    await Promise.all(["ca.pem", "controller.pem", "controller-key.pem"].map((name) => read("one", name))),
  );
});

test("a folder with something in it, a host that is none and a strange period are refused, and nothing is written", async () => {
  await mkdir(join(folder, "full"));
  await writeFile(join(folder, "full", "ca-key.pem"), "in use");
  await expect(make("full")).rejects.toMatchObject({ code: "usage", message: expect.stringContaining("1 entries") });
  for (const host of ["a b", "gpu1:50051", "", "-x", "a/../b"])
    await expect(make("one", [host]), host).rejects.toMatchObject({ code: "usage" });
  for (const days of [0, 1.5, NaN, 100_000])
    await expect(makeCertificates({ to: join(folder, "one"), hosts: [], days, nowMs })).rejects.toMatchObject({
      code: "usage",
    });
  expect(await readdir(folder)).toEqual(["full"]);
});
