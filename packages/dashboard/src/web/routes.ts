import { BoraError, tauToJson, type SweepResults } from "@bora/contracts";
import type { SweepCommand } from "@bora/sdk";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { parsedRequest } from "../parsed-request.js";
import { comparison } from "./comparison.js";
import { eventStream } from "./event-stream.js";
import { Command, pagePaths, TaskView, type Figures } from "./page-api.js";
import type { StateDifferences } from "./stated-differences.js";
import type { SweepLibrary } from "./sweep-library.js";
import { figuresOf, sweepView } from "./sweep-view.js";
import { taskView } from "./task-view.js";
import type { TrainerWatch } from "./trainer-watch.js";

const mostCompared = 6;

export interface RouteParts {
  library: SweepLibrary;
  trainers: TrainerWatch;
  folderOf(sweepId: string): string;
  /** With the intervals that need documents, for a sweep that has ended; null where they cannot be read. */
  perplexityOf(results: SweepResults): Promise<Figures["perplexity"]>;
  differencesOf: StateDifferences;
  send(sweepId: string, command: SweepCommand): Promise<void>;
}

interface Of {
  Params: { sweepId: string; slug: string };
}

/** JSON has no infinity, and the one infinite number that is sent is a tau. */
const infinity = (_key: string, value: unknown): unknown => (value === Infinity ? tauToJson(value) : value);

export const json = (reply: FastifyReply, value: unknown): FastifyReply =>
  reply.type("application/json").send(JSON.stringify(value, infinity));

/** The same of curves, whose tens of thousands of numbers are finite: they need not be looked at one by one. */
function figuresJson(reply: FastifyReply, { validation, train, ...rest }: Figures): FastifyReply {
  const columns = (curves: Figures["train"]) =>
    JSON.stringify(curves.map((one) => ({ ...one, tau: tauToJson(one.tau) })));
  const text = `${JSON.stringify(rest, infinity).slice(0, -1)},"validation":${columns(validation)},"train":${columns(train)}}`;
  return reply.type("application/json").send(text);
}

export const parsed = <T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> =>
  parsedRequest(schema, value, { what, hint: "see docs/page.md" });

export const Lines = z.object({
  before: z.coerce.number().int().min(0).default(Number.MAX_SAFE_INTEGER),
  limit: z.coerce.number().int().min(1).max(1_000).default(200),
});
export const OfTask = z.object({ split: TaskView.shape.split.default("test") });
export const Compared = z.object({
  sweeps: z
    .string()
    .transform((text) => text.split(",").filter((part) => part !== ""))
    .pipe(z.array(z.string()).min(1).max(mostCompared)),
});
const Position = z.coerce.number().int().min(0);
export const After = z.object({ after: Position.default(0) });

const path = (of: (sweepId: string) => string): string => of("ID").replace("ID", ":sweepId");

function addSweepRoutes(app: FastifyInstance, { library, perplexityOf, send }: RouteParts): void {
  app.get(pagePaths.sweeps, async (_request, reply) => json(reply, { sweeps: await library.list() }));
  app.get<Of>(path(pagePaths.sweep), async ({ params }, reply) => {
    const { index, known } = await library.open(params.sweepId);
    return json(reply, sweepView(index, known));
  });
  app.get<Of>(path(pagePaths.figures), async ({ params }, reply) => {
    const { index, known } = await library.open(params.sweepId);
    const { results } = known;
    const ended = index.progress.outcome !== null && results !== null;
    return figuresJson(reply, figuresOf(index, results, ended ? await perplexityOf(results) : null));
  });
  app.get<Of>(path(pagePaths.events), async ({ params, query }, reply) => {
    const { before, limit } = parsed(Lines, query, "the query");
    const { index } = await library.open(params.sweepId);
    const found = index.lines.filter(({ position }) => position < before);
    return json(reply, { lines: found.slice(-limit), more: found.length > limit });
  });
  app.get<Of>(path(pagePaths.stream), async (request: FastifyRequest<Of>, reply) => {
    const last = request.headers["last-event-id"]; // of a connection that broke
    const after =
      last === undefined ? parsed(After, request.query, "the query").after : parsed(Position, last, "Last-Event-ID");
    await library.open(request.params.sweepId); // an unknown one is refused before the stream begins
    const stream = eventStream((watcher, signal) => library.watch(request.params.sweepId, after, watcher, signal));
    return reply.type("text/event-stream").send(stream);
  });
  app.post<Of>(path(pagePaths.commands), async ({ params, body }, reply) => {
    const command = parsed(Command, body, "the command");
    await library.open(params.sweepId);
    await send(params.sweepId, command);
    return json(reply, {});
  });
}

/** Every route of the page's API that reads sweeps, or asks one to cancel or resume. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  const { library, trainers, folderOf, differencesOf } = parts;
  addSweepRoutes(app, parts);
  app.get<Of>(
    pagePaths.task("ID", "SLUG").replace("ID", ":sweepId").replace("SLUG", ":slug"),
    async (request, reply) => {
      const { sweepId, slug } = request.params;
      const { split } = parsed(OfTask, request.query, "the query");
      const { known } = await library.open(sweepId);
      if (known.results === null)
        throw new BoraError("sweep_unknown", `sweep ${sweepId} was never planned`, {
          hint: "the list names all sweeps",
        });
      return json(reply, await taskView(folderOf(sweepId), known.results, slug, split));
    },
  );
  app.get(pagePaths.compare, async ({ query }, reply) => {
    const { sweeps } = parsed(Compared, query, `between 1 and ${mostCompared} sweeps`);
    const opened = await Promise.all(sweeps.map((sweepId) => library.open(sweepId)));
    const named = opened.flatMap(({ index, known: { results } }) =>
      results === null ? [] : [{ name: index.progress.name, results }],
    );
    const ended = opened.every(({ index }) => index.progress.outcome !== null);
    const differences = ended ? await differencesOf(named.map(({ results }) => results)) : null;
    return json(reply, comparison(named, differences));
  });
  app.get(pagePaths.trainers, async (_request, reply) => json(reply, await trainers.look()));
}
