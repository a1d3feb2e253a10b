import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates } from "@bora/placement";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openLab, type ExperimentInput } from "./index.js";

let folder: string;
let ca: string;
let server: Server;
let url: string;

/** Says on /v1/state who asked; breaks off in the middle of any other answer. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bora-address-"));
  await makeCertificates({ to: join(folder, "certs"), hosts: [], days: 1, nowMs: Date.now() });
  const read = (name: string) => readFile(join(folder, "certs", name), "utf8");
  ca = await read("ca.pem");
  server = createServer({ cert: await read("page.pem"), key: await read("page-key.pem") }, (request, answer) => {
    const sweep = { sweepId: request.headers.authorization, name: "n", plannedAtMs: 0, phase: "ended", trials: {} };
    if (request.url === "/v1/state")
      answer.end(JSON.stringify({ pid: 1, sweeps: [{ ...sweep, outcome: null, paused: null, live: false }] }));
    else
      answer
        .writeHead(200, { "content-type": "text/event-stream" })
        .write(": bora\n\n", () => request.socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

test("an https address is asked with the token, once its certificate comes from the CA that was given", async () => {
  await using lab = await openLab({ url, token: "secret", ca });
  expect((await lab.status())[0]?.sweepId).toBe("Bearer secret");
  await using stranger = await openLab({ url, token: "secret" });
  await expect(stranger.status()).rejects.toMatchObject({ code: "tls_untrusted", hint: /ca, as PEM text/ });
});

test("a connection that breaks is told as one in clear is, and a signal ends a call", async () => {
  await using lab = await openLab({ url, token: "secret", ca });
  await expect(lab.plan({ name: "x" } as never)).rejects.toMatchObject({ code: "spec_invalid" });
  const spec: ExperimentInput = {
    name: "tiny",
    model: { source: "path", path: "/model" },
    data: { source: "shakespeare", tasks: { all: true } },
    adapter: { targets: ["q_proj"] },
    prior: { taus: [0] },
  };
  await expect(lab.plan(spec)).rejects.toMatchObject({ code: "interrupted" });
  const reason = new Error("enough");
  await expect(lab.status({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test.each([
  ["http://lab.example:8443", "tls_missing", /in clear/],
  ["http://10.0.0.7:8443", "tls_missing", /10\.0\.0\.7/],
  ["lab.example:8443", "usage", /no http or https address/],
  ["nowhere", "usage", /no http or https address/],
])("%s is refused before the token goes anywhere", async (address, code, message) => {
  await expect(openLab({ url: address, token: "secret" })).rejects.toMatchObject({ code, message });
});

test.each(["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])("%s is this machine", async (address) => {
  await using lab = await openLab({ url: address, token: "secret" });
  await expect(lab.status()).rejects.toMatchObject({ code: "interrupted" });
});
