import { Readable } from "node:stream";
import type { GeneratedPiece, Lab } from "@bora/sdk";
import { controllerApi, GenerateRequest } from "@bora/sdk/controller";
import type { FastifyInstance } from "fastify";
import { refusalOf } from "./http-errors.js";
import { parsedRequest } from "./parsed-request.js";

const line = (value: unknown): string => `${JSON.stringify(value)}\n`;

/** A line a piece; what goes wrong after the first is the last line. */
async function* linesOf(pieces: AsyncIterator<GeneratedPiece>, first: IteratorResult<GeneratedPiece>) {
  try {
    for (let next = first; next.done !== true; next = await pieces.next()) yield line(next.value);
  } catch (thrown) {
    yield line(refusalOf(thrown));
  } finally {
    await pieces.return?.();
  }
}

/** POST generate: JSON lines, a piece each. The texts end with their reader. */
export function addGenerateRoute(app: FastifyInstance, lab: Pick<Lab, "generate">): void {
  app.post(controllerApi.controllerPaths.generate, async (request, reply) => {
    const asked = parsedRequest(GenerateRequest, request.body, { hint: "see docs/generate.md" });
    const left = new AbortController();
    reply.raw.once("close", () => left.abort());
    const pieces = lab.generate(asked, { signal: left.signal })[Symbol.asyncIterator]();
    const first = await pieces.next(); // errors up to here have a status of their own
    return reply
      .type("application/x-ndjson")
      .header("cache-control", "no-store")
      .send(Readable.from(linesOf(pieces, first), { objectMode: false }));
  });
}
