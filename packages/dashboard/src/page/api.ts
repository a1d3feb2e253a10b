import type { z } from "zod";
import { csrfHeader, pagePaths, Refusal, Session } from "../web/page-api.ts";

/** What the server refused, or that it does not answer. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const gone = (): Refused =>
  new Refused("interrupted", "bora serve does not answer", "start it again, then open the link that it prints", 0);

async function refusal(response: Response): Promise<Refused> {
  const parsed = Refusal.safeParse(await response.json().catch(() => null));
  if (!parsed.success)
    return new Refused("api_mismatch", `the server answered ${response.status}`, "", response.status);
  const { code, message, hint } = parsed.data.error;
  return new Refused(code, message, hint, response.status);
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, { credentials: "same-origin", ...init }).catch((error: unknown) => {
    throw init.signal?.aborted ? error : gone();
  });
  if (!response.ok) throw await refusal(response);
  return response;
}

/** An answer as it came. */
export async function getText(path: string, signal?: AbortSignal): Promise<string> {
  return (await request(path, signal === undefined ? {} : { signal })).text();
}

export async function get<T extends z.ZodType>(path: string, schema: T, signal?: AbortSignal): Promise<z.output<T>> {
  return schema.parse(JSON.parse(await getText(path, signal)));
}

let session: Promise<Session> | null = null;

/** Who is logged in, asked once; a refusal is forgotten, so that a login can follow. */
export function currentSession(): Promise<Session> {
  session ??= get(pagePaths.session, Session);
  session.catch(() => (session = null));
  return session;
}

export async function post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const { csrf } = await currentSession();
  const headers = { "content-type": "application/json", [csrfHeader]: csrf };
  return request(path, { method: "POST", headers, body: JSON.stringify(body), ...(signal && { signal }) });
}

/** Exchanges the token of a login link for the cookie. The token leaves the address at once. */
export async function loginByFragment(): Promise<void> {
  const token = /^#login=(.+)$/.exec(location.hash)?.[1];
  if (token === undefined) return;
  history.replaceState(null, "", location.pathname + location.search);
  await request(pagePaths.login, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
}
