import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BoraError, isLoopback, type SweepResults } from "@bora/contracts";
import type { Lab, SweepCommand } from "@bora/sdk";
import type { SweepLog, TrainerLook } from "@bora/sdk/controller";
import fastifyStatic from "@fastify/static";
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { addControllerRoutes, type ControlledLab } from "../controller-routes.js";
import { httpStatus, listenOn, refusalOf } from "../http-errors.js";
import { pageOpenApi } from "../open-api.js";
import { Login, pagePaths, type Figures } from "./page-api.js";
import { addGuard, cookieOf, Forbidden } from "./page-guard.js";
import { PageSite } from "./page-site.js";
import { readPageTls, type PageTlsFiles } from "./page-tls.js";
import { addRoutes, json, parsed } from "./routes.js";
import { Sessions, TooManyLogins } from "./sessions.js";
import { addSpeakRoute, type Generate } from "./speak.js";
import type { StateDifferences } from "./stated-differences.js";
import { SweepLibrary, type LiveSweeps } from "./sweep-library.js";
import { TokenFile } from "./token-file.js";
import { TrainerWatch } from "./trainer-watch.js";

/** What the page is made of, as plain parameters: the real parts, or their in-memory twins in tests. */
export interface PageParts {
  dir: string; // <out>
  log: SweepLog;
  lab: Pick<Lab, "results">;
  live: LiveSweeps;
  lookAtTrainers(): Promise<TrainerLook[]>;
  perplexityOf(results: SweepResults): Promise<Figures["perplexity"]>;
  differencesOf: StateDifferences;
  /** Hands a command to a sweep's controller, or becomes it. */
  send(sweepId: string, command: SweepCommand): Promise<void>;
  generate: Generate;
  now(): number; // ms
  port?: number; // any free one
  host?: string; // 127.0.0.1
  tls?: PageTlsFiles | null; // needed off loopback
  programs?: { lab: ControlledLab; tokenFile: string } | null; // labs that are opened by the page's address
  builtPage?: string; // folder
  pollMs?: number;
}

export interface PageServer extends AsyncDisposable {
  readonly url: string;
  /** An address that logs a browser in once; the one before is void. The token is in the fragment: no log sees it. */
  newLink(): string;
}

const built = fileURLToPath(new URL("../page", import.meta.url));

function refuse(reply: FastifyReply, thrown: unknown): FastifyReply {
  const { status, error } = httpStatus(thrown);
  if (thrown instanceof TooManyLogins) void reply.header("retry-after", thrown.retryAfterSeconds).code(429);
  else void reply.code(thrown instanceof Forbidden ? 403 : status);
  return reply.type("application/json").send(refusalOf(error));
}

function addSessionRoutes(app: FastifyInstance, sessions: Sessions, site: PageSite, { dir }: PageParts): void {
  const cookie = (value: string, more = "") => `${site.cookieName}=${value}; ${site.cookieAttributes}${more}`;
  app.post(pagePaths.login, async ({ body }, reply) => {
    const { token } = parsed(Login, body, "the login");
    return json(reply.header("set-cookie", cookie(sessions.login(token))), {});
  });
  app.post(pagePaths.logout, async (request, reply) => {
    sessions.end(cookieOf(request, site) ?? "");
    return json(reply.header("set-cookie", cookie("", "; Max-Age=0")), {});
  });
  app.get(pagePaths.openApi, async (_request, reply) => json(reply, pageOpenApi()));
  app.get(pagePaths.session, async (request, reply) => {
    const session = sessions.find(cookieOf(request, site));
    return json(reply, { csrf: session?.csrf ?? "", folder: dir });
  });
}

/** The built page's files; every other address that is no file is the page too: it reads where it is from its URL. */
async function addPage(app: FastifyInstance, root: string): Promise<void> {
  const isBuilt = existsSync(join(root, "index.html"));
  if (isBuilt) await app.register(fastifyStatic, { root, cacheControl: false });
  app.setNotFoundHandler(async ({ method, url }, reply) => {
    const [path = ""] = url.split("?");
    const isPage = method === "GET" && !/^\/(api|v1)\/|\.\w+$/.test(path);
    if (isPage && isBuilt) return reply.header("cache-control", "no-cache").sendFile("index.html");
    if (isPage)
      return refuse(
        reply,
        new BoraError("environment_missing", "the page is not built", { hint: "npx nx run dashboard:build" }),
      );
    const { error } = httpStatus(
      new BoraError("usage", `there is no ${method} ${path.slice(0, 200)}`, { hint: "see docs/page.md" }),
    );
    return reply.code(404).send({ error: { code: error.code, message: error.message, hint: error.hint } });
  });
}

/** Throws bind_refused for an address that others could reach in clear. */
function refuseUnprotected({ host = "127.0.0.1", tls = null }: PageParts): void {
  if (isLoopback(host) || tls !== null) return;
  throw new BoraError(
    "bind_refused",
    `refusing to serve the page on ${host}, which other machines may reach, without --tls-certificate and --tls-key`,
    { hint: "leave --host out (and use a tunnel, ssh -L), or give both; bora certs makes them" },
  );
}

/**
 * Serves the web page of a folder of sweeps. Throws bind_refused off loopback without TLS, tls_unreadable, token_missing,
 * port_taken.
 */
export async function servePage(parts: PageParts): Promise<PageServer> {
  const { host = "127.0.0.1", port = 0, builtPage = built, programs = null } = parts;
  refuseUnprotected(parts);
  const tls = parts.tls == null ? null : await readPageTls(parts.tls);
  const tokens = programs === null ? null : await TokenFile.open(programs.tokenFile);
  const options = {
    ...{ bodyLimit: 2 ** 20, forceCloseConnections: true },
    frameworkErrors: (error: Error, _request: unknown, reply: FastifyReply) => refuse(reply, error), // an address that is none
  };
  const app: FastifyInstance = tls === null ? Fastify(options) : Fastify({ ...options, https: tls.options });
  app.removeContentTypeParser("text/plain"); // what a foreign form could send without asking
  const sessions = new Sessions(parts.now);
  const site = new PageSite(app.server, tls);
  const library = new SweepLibrary(parts);
  const trainers = new TrainerWatch(library, parts.lookAtTrainers, parts.now);
  app.setErrorHandler((error, _request, reply) => refuse(reply, error));
  addGuard(app, { sessions, site, tokens });
  addSessionRoutes(app, sessions, site, parts);
  const { perplexityOf, differencesOf, send } = parts;
  const folderOf = (sweepId: string) => join(parts.dir, sweepId);
  addRoutes(app, { library, trainers, perplexityOf, differencesOf, send, folderOf });
  addSpeakRoute(app, library, parts.generate);
  const followers = programs === null ? null : addControllerRoutes(app, programs.lab, parts);
  await addPage(app, builtPage);
  await listenOn(app, host, port);
  library.list().catch(() => undefined); // read before somebody comes; an error is told to whoever asks
  const url = site.urlOn(host);
  return {
    url,
    newLink: () => `${url}/#login=${sessions.newLink()}`,
    async [Symbol.asyncDispose]() {
      await followers?.streamsEnd();
      await app.close();
    },
  };
}
