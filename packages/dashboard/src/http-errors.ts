import { BoraError, toBoraError } from "@bora/contracts";
import type { FastifyInstance } from "fastify";

const statusOf: Partial<Record<BoraError["code"], number>> = {
  unauthenticated: 401,
  sweep_unknown: 404,
  trial_unknown: 404,
  task_unknown: 404,
  data_task_unknown: 404,
  prompt_empty: 400,
  prompt_too_long: 400,
  adapter_mismatch: 400,
  adapter_unreadable: 400,
  store_busy: 409,
  busy: 409,
  usage: 400,
  spec_invalid: 400,
  api_mismatch: 409,
  store_newer: 409,
  store_unavailable: 503,
};

/** A thrown thing as an error of ours and its HTTP status. */
export function httpStatus(thrown: unknown): { status: number; error: BoraError } {
  const tooLargeOrMalformed = thrown instanceof Error && "statusCode" in thrown && !(thrown instanceof BoraError);
  const error = tooLargeOrMalformed
    ? new BoraError("usage", thrown.message, { hint: "send JSON of at most 1 MiB" })
    : toBoraError(thrown);
  return { status: statusOf[error.code] ?? 500, error };
}

/** Throws port_taken. */
export async function listenOn(app: FastifyInstance, host: string, port: number): Promise<string> {
  return app.listen({ host, port }).catch((cause: unknown) => {
    throw new BoraError("port_taken", `cannot listen on ${host}:${port}: ${toBoraError(cause).message}`, {
      hint: "leave the port out, and a free one is taken",
      cause,
    });
  });
}
