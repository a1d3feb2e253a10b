import { BoraError } from "@bora/contracts";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { bearerOf, sameToken } from "../guard.js";
import { csrfHeader, pagePaths } from "./page-api.js";
import type { PageSite } from "./page-site.js";
import type { Sessions } from "./sessions.js";
import type { TokenFile } from "./token-file.js";

/** Nothing from elsewhere, nothing inline, no frames: docs/page.md. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  ...["script-src", "style-src", "img-src", "connect-src"].map((what) => `${what} 'self'`),
  ...["base-uri", "form-action", "frame-ancestors"].map((what) => `${what} 'none'`),
].join("; ");

const headers = {
  "content-security-policy": contentSecurityPolicy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
} as const;

const safe: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/**
 * What anyone may have: the page's own files (undefined: no route, which is the page again), and the login. Routes are
 * told by the pattern that matched and never by the text of the address: the router decodes it, so that "/%61pi/sweeps"
 * is "/api/sweeps" too.
 */
const open: ReadonlySet<string | undefined> = new Set([undefined, "/*", pagePaths.login]);

const isFile = ({ routeOptions: { url } }: FastifyRequest): boolean => url === undefined || url === "/*";

/** Routes of programs, which show a token and no cookie: docs/protocol.md. */
const isProgram = ({ routeOptions: { url } }: FastifyRequest): boolean => url?.startsWith("/v1/") === true;

/** For a year: browsers that came once over TLS come no other way, whoever answers then. */
const strictTransport = "max-age=31536000";

export const cookieOf = (request: FastifyRequest, { cookieName }: PageSite): string | undefined =>
  request.headers.cookie
    ?.split(";")
    .map((part) => part.trim().split("="))
    .find(([name]) => name === cookieName)?.[1];

const refused = (message: string, hint: string): BoraError => new BoraError("unauthenticated", message, { hint });

export class Forbidden extends BoraError {
  constructor(message: string, hint: string) {
    super("unauthenticated", message, { hint });
  }
}

/** Host and Origin are ours: neither DNS rebinding nor another site reaches further than this. */
function checkOrigin(request: FastifyRequest, site: PageSite): void {
  const { host, origin } = request.headers;
  if (!site.isOwn(host)) throw new Forbidden("unknown Host", "open the address that bora serve printed");
  const from = request.headers["sec-fetch-site"];
  if (from !== undefined && from !== "same-origin" && from !== "none" && !isFile(request))
    throw new Forbidden(`a request from another site (${String(from)})`, "open the page itself");
  if (safe.has(request.method) || (isProgram(request) && origin === undefined)) return;
  if (origin !== site.originAt(host))
    throw new Forbidden(`Origin is ${origin ?? "missing"}`, "only this page's own scripts may change anything");
}

function checkSession(request: FastifyRequest, sessions: Sessions, site: PageSite): void {
  if (open.has(request.routeOptions.url)) return;
  const session = sessions.find(cookieOf(request, site));
  if (session === null) throw refused("nobody is logged in here", "open the link that bora serve printed");
  if (safe.has(request.method)) return;
  const given = request.headers[csrfHeader];
  if (typeof given !== "string" || !sameToken(given, session.csrf))
    throw new Forbidden(`${csrfHeader} is not this session's`, "reload the page");
}

async function checkProgram(request: FastifyRequest, tokens: TokenFile): Promise<void> {
  if (await tokens.admits(bearerOf(request.headers.authorization))) return;
  throw refused("the request carries no valid token", "send authorization: Bearer with a token of --token-file");
}

export interface GuardParts {
  sessions: Sessions;
  site: PageSite;
  tokens: TokenFile | null; // of programs; null: there are no routes for them
}

/**
 * Puts the guard before every route: headers, Host, Origin, then the session's cookie, and for what changes something the
 * CSRF token; or a program's token, which no browser sends by itself.
 */
export function addGuard(app: FastifyInstance, { sessions, site, tokens }: GuardParts): void {
  app.addHook("onRequest", async (request: FastifyRequest, reply: FastifyReply) => {
    void reply.headers(headers);
    if (site.isStrict(request.headers.host)) void reply.header("strict-transport-security", strictTransport);
    if (!isFile(request)) void reply.header("cache-control", "no-store");
    checkOrigin(request, site);
    if (tokens !== null && isProgram(request)) await checkProgram(request, tokens);
    else checkSession(request, sessions, site);
  });
}
