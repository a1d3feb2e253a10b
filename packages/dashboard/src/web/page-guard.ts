import { BoraError } from "@bora/contracts";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isOwnHost, sameToken } from "../guard.js";
import { csrfHeader, pagePaths } from "./page-api.js";
import type { Sessions } from "./sessions.js";

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

export const portOf = (app: FastifyInstance): number => {
  const address = app.server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
};

/** Cookies know no ports: two servers on one machine must not take each other's. */
export const cookieName = (port: number): string => `bora_session_${port}`;

export const cookieOf = (request: FastifyRequest, port: number): string | undefined =>
  request.headers.cookie
    ?.split(";")
    .map((part) => part.trim().split("="))
    .find(([name]) => name === cookieName(port))?.[1];

const refused = (message: string, hint: string): BoraError => new BoraError("unauthenticated", message, { hint });

export class Forbidden extends BoraError {
  constructor(message: string, hint: string) {
    super("unauthenticated", message, { hint });
  }
}

/** Host and Origin are ours: neither DNS rebinding nor another site reaches further than this. */
function checkOrigin(request: FastifyRequest, port: number): void {
  const { host, origin } = request.headers;
  if (!isOwnHost(host, port)) throw new Forbidden("unknown Host", "open the address that bora serve printed");
  const site = request.headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none" && !isFile(request))
    throw new Forbidden(`a request from another site (${String(site)})`, "open the page itself");
  if (safe.has(request.method)) return;
  if (origin !== `http://${host ?? ""}`)
    throw new Forbidden(`Origin is ${origin ?? "missing"}`, "only this page's own scripts may change anything");
}

function checkSession(request: FastifyRequest, sessions: Sessions, port: number): void {
  if (open.has(request.routeOptions.url)) return;
  const session = sessions.find(cookieOf(request, port));
  if (session === null) throw refused("nobody is logged in here", "open the link that bora serve printed");
  if (safe.has(request.method)) return;
  const given = request.headers[csrfHeader];
  if (typeof given !== "string" || !sameToken(given, session.csrf))
    throw new Forbidden(`${csrfHeader} is not this session's`, "reload the page");
}

/** Puts the guard before every route: headers, Host, Origin, cookie, and for what changes something the CSRF token. */
export function addGuard(app: FastifyInstance, sessions: Sessions): void {
  app.addHook("onRequest", async (request: FastifyRequest, reply: FastifyReply) => {
    const port = portOf(app);
    void reply.headers(headers);
    if (!isFile(request)) void reply.header("cache-control", "no-store");
    checkOrigin(request, port);
    checkSession(request, sessions, port);
  });
}
