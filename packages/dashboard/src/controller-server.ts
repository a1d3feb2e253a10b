import { randomBytes } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { BoraError, parseExperiment, parseWith } from "@bora/contracts";
import type { Lab } from "@bora/sdk";
import { controllerApi, SweepCommand } from "@bora/sdk/controller";
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { addGenerateRoute } from "./generate-route.js";
import { checkToken, isOwnHost } from "./guard.js";
import { httpStatus, listenOn } from "./http-errors.js";
import { addLabRoutes } from "./lab-routes.js";
import { sweepStream } from "./sweep-stream.js";

export interface ControllerServer extends AsyncDisposable {
  readonly file: controllerApi.ControllerFile;
}

export interface ServeOptions {
  dir: string; // <out>, which gets controller.json
  port?: number; // any free one
  planningWaitMs?: number; // how long POST sweeps waits for a plan before it says "ask again"
}

function refuse(reply: FastifyReply, thrown: unknown, as?: number): FastifyReply {
  const { status, error } = httpStatus(thrown);
  const { code, message, hint } = error;
  return reply.code(as ?? status).send({ error: { code, message, hint } });
}

const json = (reply: FastifyReply, value: unknown): FastifyReply =>
  reply.type("application/json").send(controllerApi.toJson(value));

/** Last-Event-ID of a stream that goes on; 0 for the beginning. */
function positionOf(header: string | string[] | undefined): number {
  const position = Number(header ?? 0);
  if (Number.isSafeInteger(position) && position >= 0) return position;
  throw new BoraError("usage", `Last-Event-ID is ${String(header)}; expected a position`, { hint: "leave it out" });
}

interface SweepParams {
  Params: { sweepId: string };
}

function addRoutes(app: FastifyInstance, lab: Lab, streams: Set<Promise<void>>, planningWaitMs: number): void {
  const { state, sweeps, events, commands, results } = controllerApi.controllerPaths;
  const route = (path: (id: string) => string) => path("ID").replace("ID", ":sweepId");

  app.get(state, async (_request, reply) => json(reply, { pid: process.pid, sweeps: await lab.status() }));
  app.post(sweeps, async (request, reply) => {
    const joined = lab.sweep(parseExperiment(request.body)).then(({ sweepId }) => sweepId);
    const later = new AbortController();
    const sweepId = await Promise.race([joined, delay(planningWaitMs, null, { signal: later.signal })]);
    later.abort();
    return json(reply, { sweepId });
  });
  app.get<SweepParams>(route(events), async (request, reply) => {
    const after = positionOf(request.headers["last-event-id"]);
    const handle = await lab.follow(request.params.sweepId);
    const { stream, closed } = sweepStream(handle, after);
    streams.add(closed);
    void closed.then(() => streams.delete(closed));
    return reply.type("text/event-stream").header("cache-control", "no-store").send(stream);
  });
  app.post<SweepParams>(route(commands), async (request, reply) => {
    const command = parseWith(SweepCommand, request.body);
    if (!command.success) throw new BoraError("usage", command.error.message, { hint: "see docs/protocol.md" });
    await (await lab.follow(request.params.sweepId)).send(command.data);
    return json(reply, {});
  });
  app.get<SweepParams>(route(results), async (request, reply) =>
    json(reply, await lab.results(request.params.sweepId)),
  );
}

/** Writes controller.json so that a reader sees all of it or nothing, readable by its owner only. */
async function publish(dir: string, file: controllerApi.ControllerFile): Promise<void> {
  const path = controllerApi.controllerFilePath(dir);
  const temporary = `${path}.${file.pid}`;
  await writeFile(temporary, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  await rename(temporary, path);
}

/** Takes controller.json away unless another controller has replaced it. */
async function unpublish(dir: string, file: controllerApi.ControllerFile): Promise<void> {
  const present = await controllerApi.readControllerFile(dir);
  if (present?.token === file.token) await rm(controllerApi.controllerFilePath(dir), { force: true });
}

/** Serves a lab on loopback for other processes of this user. Throws port_taken. */
export async function serveController(lab: Lab, options: ServeOptions): Promise<ControllerServer> {
  const token = randomBytes(32).toString("base64url");
  const streams = new Set<Promise<void>>();
  const app = Fastify({
    ...{ bodyLimit: 2 ** 20, forceCloseConnections: true },
    frameworkErrors: (error, _request, reply) => refuse(reply, error), // an address that is none
  });
  app.addHook("onRequest", async (request, reply) => {
    const address = app.server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    if (!isOwnHost(request.headers.host, port))
      return reply
        .code(403)
        .send({ error: { code: "unauthenticated", message: "unknown Host", hint: "use controller.json's url" } });
    checkToken(request.headers.authorization, token);
  });
  app.setNotFoundHandler((request, reply) =>
    refuse(
      reply,
      new BoraError("usage", `there is no ${request.method} ${request.url.slice(0, 200)}`, {
        hint: "see docs/protocol.md",
      }),
      404,
    ),
  );
  app.setErrorHandler((error, _request, reply) => refuse(reply, error));
  addLabRoutes(app, lab);
  addRoutes(app, lab, streams, options.planningWaitMs ?? 20_000);
  addGenerateRoute(app, lab);

  const url = await listenOn(app, "127.0.0.1", options.port ?? 0);
  const file = { pid: process.pid, host: hostname(), url, token, startedAt: new Date().toISOString() };
  await publish(options.dir, file);
  return {
    file,
    async [Symbol.asyncDispose]() {
      await unpublish(options.dir, file);
      await Promise.race([Promise.all(streams), delay(1_000, null, { ref: false })]); // followers read the outcome
      await app.close();
    },
  };
}
