import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { openLab, type Lab, type SweepEvent } from "@bora/sdk";
import { makeCertificates } from "@bora/sdk/controller";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { controlledBy } from "../controller-routes.js";
import { eventAt, ScriptedSweep, scriptedLab, sweepId } from "../lab.fixture.js";
import { csrfHeader, pagePaths } from "./page-api.js";
import { askAt, PageBench } from "./page.fixture.js";

let folder: string; // certificates of two clusters
let ca: string;
const at = (name: string, cluster = "ours") => join(folder, cluster, name);
const tls = { tls: { certificate: "", key: "" } };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bora-tls-"));
  for (const name of ["ours", "theirs"]) {
    const to = join(folder, name);
    await makeCertificates({ to, hosts: [], pageHosts: ["lab.example"], days: 1, nowMs: Date.now() });
  }
  ca = await readFile(at("ca.pem"), "utf8");
  tls.tls = { certificate: at("page.pem"), key: at("page-key.pem") };
});
afterAll(() => rm(folder, { recursive: true }));

describe("the page over TLS", () => {
  let page: PageBench;
  beforeEach(async () => {
    page = await new PageBench().open(tls);
    page.ca = ca;
  });
  afterEach(() => page[Symbol.asyncDispose]());

  const port = () => new URL(page.origin).port;
  const cancel = { verb: "cancel" };

  test("is not there in clear, nor for a browser that does not know the CA, nor below TLS 1.2", async () => {
    expect(page.origin).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    await expect(askAt(page.origin.replace("https", "http"), "/")).rejects.toThrow();
    const other = await readFile(at("ca.pem", "theirs"), "utf8");
    await expect(page.ask("/", { ca: other })).rejects.toThrow(/certificate/);
    const old = { port: Number(port()), host: "127.0.0.1", ca, minVersion: "TLSv1", maxVersion: "TLSv1.1" } as const;
    const handshake = new Promise((resolve, reject) => {
      const socket = connect(old, () => resolve(socket.getProtocol()));
      socket.once("error", reject);
    });
    await expect(handshake).rejects.toThrow(/protocol|version|alert/i);
  });

  test("still needs the link, and its cookie is for TLS and this host alone", async () => {
    expect(await page.get(pagePaths.sweeps)).toMatchObject({ status: 401 });
    const { headers } = await page.login();
    expect(String(headers["set-cookie"])).toMatch(
      /^__Host-bora_session_\d+=[\w-]{40,}; HttpOnly; SameSite=Strict; Path=\/; Secure$/,
    );
    await page.loggedIn();
    expect(await page.get(pagePaths.sweeps)).toMatchObject({ status: 200 });
    expect(await page.post(pagePaths.commands(sweepId), cancel)).toMatchObject({ status: 200 });
    expect(await page.post(pagePaths.commands(sweepId), cancel, { [csrfHeader]: "" })).toMatchObject({ status: 403 });
    expect(page.sent).toHaveLength(1);
  });

  test("answers to the names of its certificate with its port, and to no other", async () => {
    for (const host of [`127.0.0.1:${port()}`, `localhost:${port()}`, `lab.example:${port()}`])
      expect((await page.ask("/", { headers: { host } })).status, host).toBe(200);
    const others = [
      "evil.example",
      `evil.example:${port()}`,
      "lab.example",
      "lab.example:443",
      `x.lab.example:${port()}`,
    ];
    for (const host of [...others, `[::1]:${port()}`, `lab.example.:${port()}`])
      expect((await page.ask("/", { headers: { host } })).status, host).toBe(403);
  });

  test("takes commands from its own Origin alone", async () => {
    await page.loggedIn();
    const host = `lab.example:${port()}`;
    const asking = (origin: string) => page.post(pagePaths.commands(sweepId), cancel, { host, origin });
    for (const origin of [
      `http://${host}`,
      "https://lab.example",
      `https://127.0.0.1:${port()}`,
      "https://evil.example",
    ])
      expect((await asking(origin)).status, origin).toBe(403);
    expect(page.sent).toEqual([]);
    expect((await asking(`https://${host}`)).status).toBe(200);
  });

  test("tells browsers to come by TLS for a year, but not to everything that is called localhost", async () => {
    const told = async (host: string) =>
      (await page.ask("/", { headers: { host } })).headers["strict-transport-security"];
    expect(await told(`lab.example:${port()}`)).toBe("max-age=31536000");
    expect(await told(`localhost:${port()}`)).toBeUndefined();
  });
});

describe("where others can reach it", () => {
  test.each(["0.0.0.0", "::"])(
    "on %s it listens with TLS, and the link has a name of the certificate",
    async (host) => {
      await using page = await new PageBench().open({ ...tls, host });
      const link = new URL(page.server.newLink());
      expect(link.href).toMatch(/^https:\/\/lab\.example:\d+\/#login=[\w-]{40,}$/);
      const headers = { host: link.host };
      expect(await askAt(`https://127.0.0.1:${link.port}`, "/", { headers, ca })).toMatchObject({ status: 200 });
    },
  );

  test.each([
    ["a certificate that is not there", "none.pem", "page-key.pem", /none\.pem \(ENOENT\)/],
    ["a key that is none", "page.pem", "ca.pem", /no PEM block PRIVATE KEY/],
    ["a certificate that is none", "page-key.pem", "page-key.pem", /no PEM block CERTIFICATE/],
    ["the key of another certificate", "page.pem", "trainer-key.pem", /cannot be used together: .*mismatch/],
    ["a certificate that names no host", "controller.pem", "controller-key.pem", /names no host/],
  ])("it does not start with %s", async (_name, certificate, key, message) => {
    const opening = new PageBench().open({ tls: { certificate: at(certificate), key: at(key) } });
    await expect(opening).rejects.toMatchObject({ code: "tls_unreadable", message, hint: /bora certs/ });
  });
});

describe("programs that open the folder by the page's address", () => {
  let page: PageBench;
  let sweep: ScriptedSweep;
  let token: string;
  let tokenFile: string;
  const open = async (host?: string): Promise<void> => {
    const programs = { lab: controlledBy(scriptedLab(sweep)), tokenFile };
    page = await new PageBench().open({ ...tls, programs, ...(host !== undefined && { host }) });
    page.ca = ca;
  };
  const url = (host: string) => `https://${host}:${new URL(page.origin).port}`;
  const labWith = (changes: object = {}): Promise<Lab> => openLab({ url: url("127.0.0.1"), token, ca, ...changes });

  beforeEach(async () => {
    sweep = new ScriptedSweep();
    token = (await readFile(at("page-token"), "utf8")).trim();
    tokenFile = at("rotated");
    await writeFile(tokenFile, await readFile(at("page-token.sha256"), "utf8"));
    await open();
  });
  afterEach(async () => {
    sweep.finish();
    await page[Symbol.asyncDispose]();
  });

  test("follow sweeps, send commands and have texts written, over TLS with a token", async () => {
    await using lab = await labWith();
    sweep.add(eventAt(1), eventAt(2));
    expect(await lab.status()).toEqual([]);
    const followed = await lab.follow(sweepId);
    await followed.send({ verb: "drain" });
    expect(sweep.commands).toEqual([{ verb: "drain" }]);
    const seen: SweepEvent[] = [];
    const watching = (async () => {
      for await (const event of followed.events()) seen.push(event);
    })();
    sweep.finish();
    await watching;
    expect([seen, await followed.outcome()]).toMatchObject([[eventAt(1), eventAt(2)], { outcome: "done" }]);
    const asked = { sources: [{ at: "base" as const }], seed: 0, maxTokens: 2, temperature: 1, topP: 1 };
    const pieces: string[] = [];
    for await (const { text } of lab.generate({ ...asked, prompt: "so" })) pieces.push(text);
    expect(pieces).toEqual(["so", "so"]);
    await expect(lab.results("none")).rejects.toMatchObject({ code: "sweep_unknown" });
  });

  test("need the right token, the right CA and a name that the certificate has", async () => {
    const asking = async (changes: object): Promise<unknown> => (await labWith(changes)).status();
    await expect(asking({ token: "another-token-of-enough-characters" })).rejects.toMatchObject({
      code: "unauthenticated",
    });
    const theirs = await readFile(at("ca.pem", "theirs"), "utf8");
    await page[Symbol.asyncDispose]();
    await open("0.0.0.0"); // which 127.0.0.2 is as well
    for (const changes of [{ ca: theirs }, { ca: undefined }, { url: url("127.0.0.2") }])
      await expect(asking(changes)).rejects.toMatchObject({ code: "tls_untrusted", hint: /ca, as PEM/ });
  });

  test("have no use of the page's routes, and the page none of theirs", async () => {
    const bearer = { authorization: `Bearer ${token}` };
    expect(await page.ask("/v1/state", { headers: bearer })).toMatchObject({ status: 200 });
    expect(await page.ask(pagePaths.sweeps, { headers: bearer })).toMatchObject({ status: 401 });
    await page.loggedIn();
    expect(await page.get(pagePaths.sweeps)).toMatchObject({ status: 200 });
    for (const path of ["/v1/state", "/%76%31/state"]) expect(await page.get(path)).toMatchObject({ status: 401 });
    const foreign = { ...bearer, origin: "https://evil.example", "content-type": "application/json" };
    const command = { method: "POST", headers: foreign, body: JSON.stringify({ verb: "drain" }) };
    expect(await page.ask(`/v1/sweeps/${sweepId}/commands`, command)).toMatchObject({ status: 403 });
    expect(sweep.commands).toEqual([]);
  });

  test("go on with a new token once it is in the file, and with none while the file is empty", async () => {
    const status = async (): Promise<unknown> => (await labWith()).status();
    await writeFile(tokenFile, "");
    await expect(status()).rejects.toMatchObject({ code: "unauthenticated" });
    await writeFile(tokenFile, `another-token-of-enough-characters\n${token}\n`);
    expect(await status()).toEqual([]);
    await writeFile(tokenFile, "another-token-of-enough-characters\n");
    await expect(status()).rejects.toMatchObject({ code: "unauthenticated" });
  });

  test("are not there unless they are asked for", async () => {
    await page[Symbol.asyncDispose]();
    page = await new PageBench().open(tls);
    page.ca = ca;
    expect(await page.ask("/v1/state", { headers: { authorization: `Bearer ${token}` } })).toMatchObject({
      status: 404,
    });
  });

  test.each([
    ["empty", "\n", /is empty/],
    ["short", "fifteen-letters", /line 1 of the token file/],
    ["a torn hash", "sha256:0123456789abcdef", /line 1 of the token file/],
  ])("are not admitted by a token file that is %s", async (_name, content, message) => {
    await writeFile(tokenFile, content);
    const opening = new PageBench().open({ ...tls, programs: { lab: controlledBy(scriptedLab(sweep)), tokenFile } });
    await expect(opening).rejects.toMatchObject({ code: "token_missing", message });
  });
});
