import { BoraError, toBoraError, type ErrorDomain } from "@bora/contracts";
import type { FastifyInstance } from "fastify";

/** Nothing but a fault of ours is 500; the rest is what the caller, or the machine, can mend. */
const statusOfDomain: Record<ErrorDomain, number> = { user: 400, oom: 503, infra: 503, controller: 409 };

const statusOf: Partial<Record<BoraError["code"], number>> = {
  internal: 500,
  unauthenticated: 401,
  sweep_unknown: 404,
  trial_unknown: 404,
  task_unknown: 404,
  data_task_unknown: 404,
  results_missing: 404,
  environment_missing: 503,
  store_unavailable: 503,
  disk_full: 507,
};

/** What a refusal says on every route: in an answer of its own, or as the last of a stream. */
export function refusalOf(thrown: unknown): { error: { code: string; message: string; hint: string } } {
  const { code, message, hint } = toBoraError(thrown);
  return { error: { code, message, hint } };
}

/** A thrown thing as an error of ours and its HTTP status. */
export function httpStatus(thrown: unknown): { status: number; error: BoraError } {
  const tooLargeOrMalformed = thrown instanceof Error && "statusCode" in thrown && !(thrown instanceof BoraError);
  const error = tooLargeOrMalformed
    ? new BoraError("usage", thrown.message, { hint: "send JSON of at most 1 MiB" })
    : toBoraError(thrown);
  return { status: statusOf[error.code] ?? statusOfDomain[error.domain], error };
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
