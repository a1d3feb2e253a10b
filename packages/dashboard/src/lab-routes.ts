import { PassThrough, Readable } from "node:stream";
import { parseExperiment, toBoraError, type DocumentRow } from "@bora/contracts";
import type { Lab } from "@bora/sdk";
import { controllerApi } from "@bora/sdk/controller";
import type { FastifyInstance } from "fastify";

const keepAliveMs = 15_000; // a model's first use takes minutes, and clients give up on a silent stream

const rowsAChunk = 1_000;

const frame = (event: string, data: string): string => `event: ${event}\ndata: ${data}\n\n`;

/** Server-sent events of planning: `stage` in words, then one `preview` (or `failed`) and the end. A client that leaves ends it. */
function planStream(lab: Pick<Lab, "plan">, body: unknown): Readable {
  const spec = parseExperiment(body);
  const stream = new PassThrough();
  const gone = new AbortController();
  const keepAlive = setInterval(() => stream.write(":\n\n"), keepAliveMs).unref();
  stream.once("close", () => {
    clearInterval(keepAlive);
    gone.abort();
  });
  stream.write(": bora\n\n");
  const onStage = (text: string) => {
    if (!stream.destroyed) stream.write(frame("stage", text.replaceAll("\n", " ")));
  };
  const last = lab.plan(spec, { signal: gone.signal, onStage }).then(
    (preview) => frame("preview", controllerApi.toJson(preview)),
    (error: unknown) => {
      const { code, message, hint } = toBoraError(error);
      return frame("failed", JSON.stringify({ error: { code, message, hint } }));
    },
  );
  void last.then((text) => stream.end(text));
  return stream;
}

function* lines(rows: readonly DocumentRow[]): Iterable<string> {
  for (let from = 0; from < rows.length; from += rowsAChunk)
    yield rows
      .slice(from, from + rowsAChunk)
      .map((row) => `${controllerApi.encodeDocument(row)}\n`)
      .join("");
}

/** What a lab opened by address asks beside its sweeps: plans, and the rows of documents as lines of JSON. */
export function addLabRoutes(app: FastifyInstance, lab: Pick<Lab, "plan" | "documents">): void {
  const { plan, documents } = controllerApi.controllerPaths;
  app.post(plan, async (request, reply) =>
    reply.type("text/event-stream").header("cache-control", "no-store").send(planStream(lab, request.body)),
  );
  app.get<{ Params: { sweepId: string } }>(documents("ID").replace("ID", ":sweepId"), async (request, reply) => {
    const rows = await lab.documents(request.params.sweepId);
    return reply.type("application/x-ndjson").send(Readable.from(lines(rows)));
  });
}
