import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseExperiment } from "@bora/contracts";
import { openLab, type Lab, type SweepEvent } from "@bora/sdk";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { serveController, type ControllerServer } from "./controller-server.js";
import { eventAt, ScriptedSweep, scriptedLab, sweepId, texts } from "./lab.fixture.js";

const spec = parseExperiment({
  name: "tiny",
  model: { source: "path", path: "/model" },
  data: { source: "shakespeare", tasks: { all: true } },
  adapter: { targets: ["q_proj"] },
  prior: { taus: [0, 1, "inf"] },
});

let dir: string;
let sweep: ScriptedSweep;
let server: ControllerServer;
let client: Lab;

async function serve(joins?: "joins" | "busy" | "planning"): Promise<void> {
  server = await serveController(scriptedLab(sweep, joins), { dir, planningWaitMs: 10 });
  client = await openLab({ url: server.file.url, token: server.file.token });
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bora-"));
  sweep = new ScriptedSweep();
});
afterEach(async () => {
  sweep.finish();
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

/** A request with any headers, which fetch would not send. */
function ask(path: string, headers: Record<string, string>): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request(new URL(path, server.file.url), { headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk));
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body });
      });
    })
      .on("error", reject)
      .end();
  });
}

const bearer = () => ({ authorization: `Bearer ${server.file.token}` });

describe("who may speak to the controller", () => {
  test.each([
    ["no token", {}],
    ["another token", { authorization: "Bearer 0123456789" }],
    ["another scheme", { authorization: "Basic 0123456789" }],
  ])("%s is answered with 401", async (_name, headers) => {
    await serve();
    const { status, body } = await ask("/v1/state", headers);
    expect(status).toBe(401);
    expect(JSON.parse(body)).toMatchObject({ error: { code: "unauthenticated" } });
  });

  test.each(["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1"])(
    "Host %s is answered with 403, whatever the token",
    async (host) => {
      await serve();
      expect(await ask("/v1/state", { ...bearer(), host })).toMatchObject({ status: 403 });
    },
  );

  test("the token of controller.json under our own names is served", async () => {
    await serve();
    const { port } = new URL(server.file.url);
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`])
      expect(await ask("/v1/state", { ...bearer(), host })).toMatchObject({ status: 200 });
  });

  test("it listens on loopback only", async () => {
    await serve();
    expect(new URL(server.file.url).hostname).toBe("127.0.0.1");
  });
});

describe("controller.json", () => {
  test("is readable by its owner only, whole, and gone at the end", async () => {
    await serve();
    const file = join(dir, "controller.json");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual(server.file);
    expect(await readdir(dir)).toEqual(["controller.json"]);
    await server[Symbol.asyncDispose]();
    expect(await readdir(dir)).toEqual([]);
  });

  test("of a successor is left alone", async () => {
    await serve();
    const successor = JSON.stringify({ ...server.file, token: "another" });
    await writeFile(join(dir, "controller.json"), successor);
    await server[Symbol.asyncDispose]();
    expect(await readFile(join(dir, "controller.json"), "utf8")).toBe(successor);
  });
});

describe("a follower", () => {
  test("joins the sweep of the same experiment and sees every event and the outcome", async () => {
    await serve();
    sweep.add(eventAt(1), eventAt(2));
    const followed = await client.sweep(spec);
    const seen: SweepEvent[] = [];
    const watching = (async () => {
      for await (const event of followed.events()) seen.push(event);
    })();
    sweep.add(eventAt(5));
    sweep.finish();
    await watching;
    expect(followed).toMatchObject({ sweepId, at: "elsewhere" });
    expect(seen).toEqual([eventAt(1), eventAt(2), eventAt(5)]);
    await server[Symbol.asyncDispose](); // the controller is gone before the follower asks how it ended
    expect(await followed.outcome()).toMatchObject({ sweepId, outcome: "done" });
  });

  test("goes on after Last-Event-ID, which is the position", async () => {
    await serve();
    sweep.add(eventAt(1), eventAt(4), eventAt(9));
    sweep.finish();
    const { body } = await ask(`/v1/sweeps/${sweepId}/events`, { ...bearer(), "last-event-id": "4" });
    expect(body.match(/^id: .*$/gm)).toEqual(["id: 9"]);
    expect(body.match(/^event: .*$/gm)).toEqual(["event: event", "event: outcome"]);
  });

  test("is refused a Last-Event-ID that is no position", async () => {
    await serve();
    expect(await ask(`/v1/sweeps/${sweepId}/events`, { ...bearer(), "last-event-id": "-1" })).toMatchObject({
      status: 400,
    });
  });

  test("with another experiment gets store_busy with who holds it", async () => {
    await serve("busy");
    await expect(client.sweep(spec)).rejects.toMatchObject({
      code: "store_busy",
      message: expect.stringMatching(/pid 7 on there/),
    });
  });

  test("waits while the experiment is planned, and can stop waiting", async () => {
    await serve("planning");
    const stop = new AbortController();
    const stages: string[] = [];
    const waiting = client.sweep(spec, {
      signal: stop.signal,
      onStage: (text) => {
        stages.push(text);
        stop.abort();
      },
    });
    await expect(waiting).rejects.toThrow();
    expect(stages).toEqual(["another process is planning this experiment"]);
  });

  test("is told when nobody answers any more", async () => {
    await serve();
    const followed = await client.sweep(spec);
    await server[Symbol.asyncDispose]();
    await expect(followed.send({ verb: "drain" })).rejects.toMatchObject({ code: "interrupted" });
  });
});

describe("commands", () => {
  test("reach the sweep", async () => {
    await serve();
    await client.continue(sweepId, { verb: "drain" });
    await client.continue(sweepId, { verb: "retry", selection: { by: "failed", code: "diverged" } });
    expect(sweep.commands).toEqual([
      { verb: "drain" },
      { verb: "retry", selection: { by: "failed", code: "diverged" } },
    ]);
  });

  test("to a sweep that is not there are refused with 404", async () => {
    await serve();
    await expect(client.continue("none", { verb: "drain" })).rejects.toMatchObject({ code: "sweep_unknown" });
  });

  test("that are none are refused, and so are bodies over 1 MiB and experiments that are not valid", async () => {
    await serve();
    const post = (path: string, body: string) =>
      fetch(new URL(path, server.file.url), {
        method: "POST",
        body,
        headers: { ...bearer(), "content-type": "application/json" },
      });
    const unknown = await post(`/v1/sweeps/${sweepId}/commands`, '{"verb":"explode"}');
    const message = expect.stringMatching(/at verb$/) as string;
    expect([unknown.status, await unknown.json()]).toMatchObject([400, { error: { code: "usage", message } }]);
    expect((await post("/v1/sweeps", '{"name":"x"}')).status).toBe(400);
    expect((await post("/v1/sweeps", "{")).status).toBe(400);
    const unreadable = '{"sources":{"length":{"valueOf":1,"toString":1}}}'; // zod compares the length of whatever is there
    expect((await post("/v1/generate", unreadable)).status).toBe(400);
    expect((await post("/v1/none", "{}")).status).toBe(404);
    expect((await post("/v1/sweeps", JSON.stringify({ name: "x".repeat(2 ** 20) }))).status).toBe(400);
    expect(sweep.commands).toEqual([]);
  });
});

test("a port that is taken is named", async () => {
  await serve();
  const port = Number(new URL(server.file.url).port);
  await expect(serveController(scriptedLab(sweep), { dir, port })).rejects.toMatchObject({ code: "port_taken" });
});

describe("texts through the controller", () => {
  const request = (prompt: string, maxTokens = 3) => ({
    ...{ sources: [{ at: "base" as const }], prompt, seed: 0, maxTokens, temperature: 1, topP: 1 },
  });
  const collect = async (prompt: string, maxTokens?: number) => {
    const pieces: unknown[] = [];
    for await (const piece of client.generate(request(prompt, maxTokens))) pieces.push(piece);
    return pieces;
  };

  test("arrive as they are written", async () => {
    await serve();
    expect(await collect("so")).toEqual([
      { source: 0, text: "so", done: null },
      { source: 0, text: "so", done: null },
      { source: 0, text: "so", done: "length" },
    ]);
  });

  test.each(["refused", "broken"])("that are %s say so with code and hint", async (prompt) => {
    await serve();
    await expect(collect(prompt)).rejects.toMatchObject({ code: "prompt_too_long", hint: "shorten it" });
  });

  test("that nobody asked for properly are refused", async () => {
    await serve();
    await expect(collect("so", 0)).rejects.toMatchObject({
      code: "usage",
      message: expect.stringMatching(/at maxTokens$/),
    });
    expect(await ask("/v1/generate", {})).toMatchObject({ status: 401 });
  });

  test("end when their reader leaves, and by the signal", async () => {
    await serve();
    for await (const _piece of client.generate(request("so", 1_000_000))) break;
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _piece of client.generate(request("so", 1_000_000), { signal: stop.signal })) stop.abort();
    })();
    await expect(reading).rejects.toMatchObject({ code: "interrupted" });
    await vi.waitFor(() => {
      expect(texts.begun - texts.ended).toBe(0);
    });
  });
});
