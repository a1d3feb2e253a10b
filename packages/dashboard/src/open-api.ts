import { experimentJsonSchema, SweepResults } from "@bora/contracts";
import { controllerApi, GenerateRequest, SweepCommand } from "@bora/sdk/controller";
import { z } from "zod";
import * as page from "./web/page-api.js";
import * as routes from "./web/routes.js";

type Json = Record<string, unknown>;

/** One operation: what the two sides say, in the schemas by which the routes themselves read and clients check. */
interface Operation {
  method: "get" | "post";
  path: string;
  summary: string;
  query?: z.ZodObject;
  headers?: z.ZodObject;
  body?: z.ZodType | Json;
  answer: z.ZodType;
  media?: "application/json" | "application/x-ndjson" | "text/event-stream";
}

/** A path of the API with `{sweepId}` where an id belongs. */
const of = (path: (sweepId: string) => string): string => path("ID").replace("ID", "{sweepId}");
const Nothing = z.object({});
const Lines = z.string().describe("a line of JSON each");
const ServerSentEvent = z.object({ id: z.string().optional(), event: z.string().optional(), data: z.string() });

const { pagePaths } = page;
const pageOperations: readonly Operation[] = [
  { method: "post", path: pagePaths.login, summary: "A cookie for a link's token.", body: page.Login, answer: Nothing },
  { method: "post", path: pagePaths.logout, summary: "Ends the session.", answer: Nothing },
  { method: "get", path: pagePaths.session, summary: "The session's CSRF token.", answer: page.Session },
  { method: "get", path: pagePaths.openApi, summary: "This document.", answer: z.looseObject({}) },
  { method: "get", path: pagePaths.sweeps, summary: "Every sweep of the folder.", answer: page.SweepList },
  { method: "get", path: of(pagePaths.sweep), summary: "A sweep as it stands.", answer: page.SweepView },
  { method: "get", path: of(pagePaths.figures), summary: "Data of a sweep's figures.", answer: page.Figures },
  {
    ...{ method: "get", path: of(pagePaths.events), summary: "Lines of a sweep's log, newest last." },
    ...{ query: routes.Lines, answer: page.EventLines },
  },
  {
    ...{ method: "get", path: of(pagePaths.stream), summary: "Lines of the log as they come, without end." },
    ...{ query: routes.After, answer: ServerSentEvent, media: "text/event-stream" },
  },
  {
    ...{ method: "post", path: of(pagePaths.commands), summary: "Cancels or resumes a sweep." },
    ...{ body: page.Command, answer: Nothing },
  },
  {
    method: "get",
    path: pagePaths.task("ID", "SLUG").replace("ID", "{sweepId}").replace("SLUG", "{slug}"),
    ...{ summary: "A task's documents under every tau.", query: routes.OfTask, answer: page.TaskView },
  },
  {
    ...{ method: "get", path: pagePaths.compare, summary: "Sweeps beside each other." },
    ...{ query: routes.Compared, answer: page.Comparison },
  },
  { method: "get", path: pagePaths.trainers, summary: "This machine and its trainers.", answer: page.Trainers },
  {
    ...{ method: "post", path: pagePaths.speak, summary: "Has models continue a prompt." },
    ...{ body: page.SpeakRequest, answer: Lines, media: "application/x-ndjson" },
  },
];

const paths = controllerApi.controllerPaths;
const experiment = JSON.parse(experimentJsonSchema()) as Json;
const controllerOperations: readonly Operation[] = [
  {
    ...{ method: "get", path: paths.state, summary: "The process, and every sweep's status." },
    answer: controllerApi.ControllerState,
  },
  {
    ...{ method: "post", path: paths.plan, summary: "Plans an experiment, in words, then a preview." },
    ...{ body: experiment, answer: ServerSentEvent, media: "text/event-stream" },
  },
  {
    ...{ method: "post", path: paths.sweeps, summary: "Starts a sweep, or joins the one that runs." },
    ...{ body: experiment, answer: controllerApi.JoinedSweep },
  },
  {
    ...{ method: "get", path: of(paths.events), summary: "A sweep's events, then its outcome." },
    headers: z.object({ "last-event-id": z.int().min(0).optional().describe("the position to go on from") }),
    ...{ answer: ServerSentEvent, media: "text/event-stream" },
  },
  {
    ...{ method: "post", path: of(paths.commands), summary: "What a running sweep is told." },
    ...{ body: SweepCommand, answer: Nothing },
  },
  { method: "get", path: of(paths.results), summary: "results.json.", answer: SweepResults },
  {
    ...{ method: "get", path: of(paths.documents), summary: "The rows of documents.parquet." },
    ...{ answer: Lines, media: "application/x-ndjson" },
  },
  {
    ...{ method: "post", path: paths.generate, summary: "Has models continue a prompt." },
    ...{ body: GenerateRequest, answer: Lines, media: "application/x-ndjson" },
  },
  ...Object.entries(controllerApi.workRequests).map(([kind, body]): Operation => ({
    ...{ method: "post", path: paths.work(kind), summary: `Does ${kind}; tells what goes on, then answers.` },
    ...{ body, answer: ServerSentEvent, media: "text/event-stream" },
  })),
];

/** As the other side writes it: defaults may be left out, a tau is a number or "inf". */
const written = (schema: z.ZodType | Json): Json => {
  if (!(schema instanceof z.ZodType)) return schema;
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return rest;
};

/** Parameters of one place; numbers as they are once read, for in an address everything is text. */
function parameters(schema: z.ZodObject | undefined, place: "query" | "header"): Json[] {
  return Object.entries(schema?.shape ?? {}).map(([name, type]) => {
    const { $schema: _, default: byDefault, ...read } = z.toJSONSchema(type, { io: "output", unrepresentable: "any" });
    const optional = byDefault !== undefined || z.safeParse(type, undefined).success;
    return {
      ...{ name, in: place, required: !optional, schema: { ...read, default: byDefault } },
      ...(read.type === "array" ? { style: "form", explode: false } : {}),
    };
  });
}

const pathParameters = (path: string): Json[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    ...{ name, in: "path", required: true, schema: { type: "string", minLength: 1 } },
  }));

const content = (media: string, schema: z.ZodType | Json): Json => ({ [media]: { schema: written(schema) } });

function described({ summary, path, query, headers, body, answer, media = "application/json" }: Operation): Json {
  const all = [...pathParameters(path), ...parameters(query, "query"), ...parameters(headers, "header")];
  return {
    summary,
    ...(all.length > 0 ? { parameters: all } : {}),
    ...(body === undefined ? {} : { requestBody: { required: true, content: content("application/json", body) } }),
    responses: {
      200: { description: "as asked", content: content(media, answer) },
      default: {
        description: "refused: docs/errors.md has a section for each code",
        content: { "application/json": { schema: { $ref: "#/components/schemas/Refusal" } } },
      },
    },
  };
}

function document(title: string, description: string, operations: readonly Operation[], security: Json): Json {
  const listed: Record<string, Json> = {};
  for (const operation of operations)
    listed[operation.path] = { ...listed[operation.path], [operation.method]: described(operation) };
  return {
    openapi: "3.1.0",
    info: { title, description, version: "1.0", license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    servers: [{ url: "http://127.0.0.1", description: "loopback; the port is told when it starts" }],
    security: [Object.fromEntries(Object.keys(security).map((name) => [name, []]))],
    paths: listed,
    components: { schemas: { Refusal: written(page.Refusal) }, securitySchemes: security },
  };
}

/** What `bora serve` answers to a browser that is logged in. */
export const pageOpenApi = (): Json =>
  document("BoRA page", "What the page of `bora serve` asks its server. docs/page.md.", pageOperations, {
    cookie: { type: "apiKey", in: "cookie", name: "bora_session", description: "its name ends in _ and the port" },
    csrf: { type: "apiKey", in: "header", name: page.csrfHeader, description: "for what changes something" },
  });

/** What a folder's controller answers to other processes of its user. */
export const controllerOpenApi = (): Json =>
  document("BoRA controller", "What programs ask of `<dir>/controller.json`. docs/protocol.md.", controllerOperations, {
    token: { type: "http", scheme: "bearer", description: "of controller.json" },
  });
