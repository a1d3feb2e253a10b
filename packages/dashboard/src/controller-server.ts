import { randomBytes } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { BoraError } from "@bora/contracts";
import type { Lab } from "@bora/sdk";
import { controllerApi } from "@bora/sdk/controller";
import Fastify, { type FastifyReply } from "fastify";
import { addControllerRoutes, controlledBy } from "./controller-routes.js";
import { checkToken, isOwnHost } from "./guard.js";
import { httpStatus, listenOn, refusalOf } from "./http-errors.js";

export interface ControllerServer extends AsyncDisposable {
  readonly file: controllerApi.ControllerFile;
}

export interface ServeOptions {
  dir: string; // <out>, which gets controller.json
  port?: number; // any free one
  planningWaitMs?: number; // as addControllerRoutes says
}

function refuse(reply: FastifyReply, thrown: unknown, as?: number): FastifyReply {
  const { status, error } = httpStatus(thrown);
  return reply.code(as ?? status).send(refusalOf(error));
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
  const { streamsEnd } = addControllerRoutes(app, controlledBy(lab), options);

  const url = await listenOn(app, "127.0.0.1", options.port ?? 0);
  const file = { pid: process.pid, host: hostname(), url, token, startedAt: new Date().toISOString() };
  await publish(options.dir, file);
  return {
    file,
    async [Symbol.asyncDispose]() {
      await unpublish(options.dir, file);
      await streamsEnd();
      await app.close();
    },
  };
}
