import { BoraError, isErrorCode } from "@bora/contracts";
import { EventSourceParserStream } from "eventsource-parser/stream";
import type { z } from "zod";
import { ApiError } from "./controller-api.js";
import type { HttpRequest } from "./fetch-trusting.js";

export interface ControllerAddress {
  url: string; // http://127.0.0.1:port, or https: of any machine
  token: string;
  ca?: string | undefined; // certificates, as PEM text, that the server's must come from
}

export interface ControllerRequest {
  method?: "GET" | "POST";
  body?: string; // JSON
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

function gone(address: ControllerAddress, cause: unknown): BoraError {
  return new BoraError("interrupted", `the controller at ${address.url} does not answer`, {
    hint: "run the same command again: it goes on from the last checkpoint",
    cause,
  });
}

/** Why a connection was not made: nobody answers, or whoever does cannot prove who it is. */
function unanswered(address: ControllerAddress, thrown: unknown): BoraError {
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown; // fetch wraps it
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (!/CERT|ISSUER|SIGNATURE|ERR_SSL|ERR_TLS/.test(code)) return gone(address, thrown);
  return new BoraError("tls_untrusted", `${address.url} is not trusted: ${String(cause)} (${code})`, {
    hint: "give the CA of its certificate (openLab's ca, as PEM text), and a name that the certificate has",
    cause: thrown,
  });
}

async function refusal(response: Response): Promise<BoraError> {
  const text = await response.text();
  const parsed = ApiError.safeParse(safeJson(text));
  if (!parsed.success)
    return new BoraError("api_mismatch", `the controller answered ${response.status}: ${text.slice(0, 200)}`, {
      hint: "run the same version of BoRA as the controller",
    });
  return errorOf(parsed.data);
}

function errorOf({ error: { code, message, hint } }: z.output<typeof ApiError>): BoraError {
  return new BoraError(isErrorCode(code) ? code : "internal", message, { hint });
}

/** The error that a stream ended with. */
export const failureIn = (data: string): BoraError => errorOf(ApiError.parse(JSON.parse(data)));

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const send = async ({ ca }: ControllerAddress, url: URL, request: HttpRequest): Promise<Response> =>
  ca === undefined ? fetch(url, request) : (await import("./fetch-trusting.js")).fetchTrusting(ca, url, request);

/** One request to the controller. Rejects with the controller's own error, or with interrupted when nobody answers. */
export async function ask(
  address: ControllerAddress,
  path: string,
  request: ControllerRequest = {},
): Promise<Response> {
  const { method = "GET", body, headers, signal } = request;
  const contentType: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
  const response = await send(address, new URL(path, address.url), {
    method,
    headers: { authorization: `Bearer ${address.token}`, ...contentType, ...headers },
    ...(body === undefined ? {} : { body }),
    ...(signal === undefined ? {} : { signal }),
  }).catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw unanswered(address, cause);
  });
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Asks and reads the whole answer. */
export async function askText(address: ControllerAddress, path: string, request: ControllerRequest): Promise<string> {
  const response = await ask(address, path, request);
  return response.text().catch((cause: unknown) => {
    request.signal?.throwIfAborted();
    throw gone(address, cause);
  });
}

/** Asks and reads the answer with its schema. */
export async function askJson<T extends z.ZodType>(
  address: ControllerAddress,
  path: string,
  schema: T,
  request: ControllerRequest = {},
): Promise<z.output<T>> {
  const parsed = schema.safeParse(safeJson(await askText(address, path, request)));
  if (parsed.success) return parsed.data;
  throw new BoraError("api_mismatch", `the controller's answer to ${path}: ${parsed.error.message}`, {
    hint: "run the same version of BoRA as the controller",
    cause: parsed.error,
  });
}

/** Asks for a stream of server-sent events. Throws interrupted when the connection breaks. */
export async function* askEvents(
  address: ControllerAddress,
  path: string,
  request: ControllerRequest,
): AsyncGenerator<{ event: string; data: string }, void, undefined> {
  const headers = { accept: "text/event-stream", ...request.headers };
  const { body } = await ask(address, path, { ...request, headers });
  if (body === null) return;
  const stream = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  try {
    for await (const { event = "message", data } of stream) yield { event, data };
  } catch (cause) {
    request.signal?.throwIfAborted();
    throw isBroken(cause) ? gone(address, cause) : cause;
  }
}

/** What fetch, and Node itself, say of a connection that broke. */
const isBroken = (thrown: unknown): boolean =>
  thrown instanceof TypeError || (thrown instanceof Error && "code" in thrown && thrown.code === "ECONNRESET");
