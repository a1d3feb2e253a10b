import { realpath } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { Readable } from "node:stream";
import { BoraError, isMissing, parseExperiment, type DocumentRow } from "@bora/contracts";
import { controllerApi } from "@bora/sdk/controller";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { ControlledLab } from "./controller-routes.js";
import { refusalOf } from "./http-errors.js";
import { parsedRequest } from "./parsed-request.js";
import { frame, openStream } from "./server-sent-events.js";

const protocol = { hint: "see docs/protocol.md" };
const rowsAChunk = 1_000;

/** What goes on, told to whoever asked for it. */
interface Teller {
  signal: AbortSignal;
  onStage(text: string): void;
  onNotice(notice: { code: string; message: string; hint: string }): void;
  onSweep(handle: { sweepId: string }, words: string): void;
}

/**
 * Server-sent events of work that takes a while: `stage` in words, `notice`, `sweep`, then one `answer` or `failed`, and
 * the end. A client that leaves ends it.
 */
function answerStream(work: (teller: Teller) => Promise<unknown>): Readable {
  const stream = openStream();
  const gone = new AbortController();
  stream.once("close", () => {
    gone.abort();
  });
  const tell = (event: string, data: string) => {
    if (!stream.destroyed) stream.write(frame(event, data));
  };
  const teller: Teller = {
    signal: gone.signal,
    onStage: (text) => {
      tell("stage", text.replaceAll("\n", " "));
    },
    onNotice: ({ code, message, hint }) => {
      tell("notice", JSON.stringify({ code, message, hint }));
    },
    onSweep: ({ sweepId }, words) => {
      tell("sweep", JSON.stringify({ sweepId, words }));
    },
  };
  const last = work(teller).then(
    (answer) => frame("answer", controllerApi.toJson(answer)),
    (error: unknown) => frame("failed", JSON.stringify(refusalOf(error))),
  );
  void last.then((text) => stream.end(text));
  return stream;
}

/** Where a caller's path really is: a controller writes below its own folder only. Throws path_refused. */
async function inside(dir: string, to: string): Promise<string> {
  const [root, there] = [await realpath(dir), await nearestRealPath(resolve(to))];
  if (there.startsWith(`${root}${sep}`)) return there;
  throw new BoraError("path_refused", `${to} is not below ${root}, and a controller writes nowhere else`, {
    hint: "name a folder below it, or open the lab by its folder: an export needs no controller",
  });
}

/** The real path of a file that may not be there yet. */
async function nearestRealPath(path: string): Promise<string> {
  const found = await realpath(path).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  return found ?? join(await nearestRealPath(dirname(path)), basename(path));
}

function startWork(
  lab: ControlledLab,
  dir: string,
  kind: controllerApi.WorkKind,
  body: unknown,
): (teller: Teller) => Promise<unknown> {
  const { adapt, evaluate, export: exported, "few-shot-curves": curves } = controllerApi.workRequests;
  switch (kind) {
    case "adapt": {
      const request = parsedRequest(adapt, body, protocol);
      return (teller) => lab.adapt(request, teller);
    }
    case "few-shot-curves": {
      const request = parsedRequest(curves, body, protocol);
      return (teller) => lab.fewShotCurves(request, teller);
    }
    case "evaluate": {
      const request = parsedRequest(evaluate, body, protocol);
      return (teller) => lab.evaluate(request, teller);
    }
    case "export": {
      const request = parsedRequest(exported, body, protocol);
      return async (teller) => {
        const to = await inside(dir, request.to);
        return lab.export({ ...request, to }, teller);
      };
    }
    default:
      return kind satisfies never;
  }
}

function* lines(rows: readonly DocumentRow[]): Iterable<string> {
  for (let from = 0; from < rows.length; from += rowsAChunk)
    yield rows
      .slice(from, from + rowsAChunk)
      .map((row) => `${controllerApi.encodeDocument(row)}\n`)
      .join("");
}

/** What a lab opened by address asks beside its sweeps: plans, work of several sweeps, exports, and documents as lines of JSON. */
export function addLabRoutes(app: FastifyInstance, lab: ControlledLab, dir: string): void {
  const { plan, documents, work } = controllerApi.controllerPaths;
  const stream = (reply: FastifyReply, of: Readable) =>
    reply.type("text/event-stream").header("cache-control", "no-store").send(of);
  app.post(plan, async (request, reply) => {
    const spec = parseExperiment(request.body);
    return stream(
      reply,
      answerStream((teller) => lab.plan(spec, teller)),
    );
  });
  app.post<{ Params: { kind: string } }>(work(":kind"), async (request, reply) => {
    const { kind } = request.params;
    if (!controllerApi.isWorkKind(kind))
      throw new BoraError("usage", `there is no work called ${kind}`, {
        hint: `there are ${Object.keys(controllerApi.workRequests).join(", ")}`,
      });
    return stream(reply, answerStream(startWork(lab, dir, kind, request.body)));
  });
  app.get<{ Params: { sweepId: string } }>(documents("ID").replace("ID", ":sweepId"), async (request, reply) => {
    const rows = await lab.documents(request.params.sweepId);
    return reply.type("application/x-ndjson").send(Readable.from(lines(rows)));
  });
}
