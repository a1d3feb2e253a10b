import { setTimeout as delay } from "node:timers/promises";
import { BoraError, parseExperiment, type ExperimentSpec } from "@bora/contracts";
import type { Lab, LabWork } from "@bora/sdk";
import { controllerApi, SweepCommand } from "@bora/sdk/controller";
import type { FastifyInstance, FastifyReply } from "fastify";
import { addGenerateRoute } from "./generate-route.js";
import { addLabRoutes } from "./lab-routes.js";
import { parsedRequest } from "./parsed-request.js";
import { sweepStream } from "./sweep-stream.js";

type Reading = "plan" | "status" | "follow" | "results" | "documents" | "generate" | "export";

/** What a lab opened by address asks for. */
export interface ControlledLab extends Pick<Lab, Reading>, LabWork {
  /** Starts or joins the experiment's sweep; resolves with its id. */
  sweep(spec: ExperimentSpec): Promise<string>;
  send(sweepId: string, command: SweepCommand): Promise<void>;
}

/** The folder's controller itself. */
export const controlledBy = (lab: Lab): ControlledLab => ({
  plan: (...asked) => lab.plan(...asked),
  status: () => lab.status(),
  follow: (sweepId) => lab.follow(sweepId),
  results: (sweepId) => lab.results(sweepId),
  documents: (sweepId) => lab.documents(sweepId),
  generate: (...asked) => lab.generate(...asked),
  export: (...asked) => lab.export(...asked),
  adapt: (...asked) => lab.adapt(...asked),
  fewShotCurves: (...asked) => lab.fewShotCurves(...asked),
  evaluate: (...asked) => lab.evaluate(...asked),
  sweep: async (spec) => (await lab.sweep(spec)).sweepId,
  send: async (sweepId, command) => (await lab.follow(sweepId)).send(command),
});

const json = (reply: FastifyReply, value: unknown): FastifyReply =>
  reply.type("application/json").send(controllerApi.toJson(value));

/** Last-Event-ID of a stream that goes on; 0 for the beginning. */
function positionOf(header: string | string[] | undefined): number {
  const position = Number(header ?? 0);
  if (Number.isSafeInteger(position) && position >= 0) return position;
  throw new BoraError("usage", `Last-Event-ID is ${String(header)}; expected a position`, { hint: "leave it out" });
}

const lastReadMs = 1_000;

interface SweepParams {
  Params: { sweepId: string };
}

const route = (path: (id: string) => string): string => path("ID").replace("ID", ":sweepId");

/**
 * The HTTP of docs/protocol.md; who may use it is for the app's own hooks to say. POST sweeps waits `planningWaitMs`
 * for a plan before it says "ask again". `streamsEnd` waits, a second at most, for followers to read how a sweep ended.
 */
export function addControllerRoutes(
  app: FastifyInstance,
  lab: ControlledLab,
  { dir, planningWaitMs = 20_000 }: { dir: string; planningWaitMs?: number },
): { streamsEnd: () => Promise<unknown> } {
  const { state, sweeps, events, commands, results } = controllerApi.controllerPaths;
  const streams = new Set<Promise<void>>();

  app.get(state, async (_request, reply) => json(reply, { pid: process.pid, sweeps: await lab.status() }));
  app.post(sweeps, async (request, reply) => {
    const joined = lab.sweep(parseExperiment(request.body));
    const later = new AbortController();
    const sweepId = await Promise.race([joined, delay(planningWaitMs, null, { signal: later.signal })]);
    later.abort();
    return json(reply, { sweepId });
  });
  app.get<SweepParams>(route(events), async (request, reply) => {
    const after = positionOf(request.headers["last-event-id"]);
    const handle = await lab.follow(request.params.sweepId);
    const { stream, closed } = sweepStream(handle, after);
    streams.add(closed);
    void closed.then(() => streams.delete(closed));
    return reply.type("text/event-stream").header("cache-control", "no-store").send(stream);
  });
  app.post<SweepParams>(route(commands), async (request, reply) => {
    const command = parsedRequest(SweepCommand, request.body, { hint: "see docs/protocol.md" });
    await lab.send(request.params.sweepId, command);
    return json(reply, {});
  });
  app.get<SweepParams>(route(results), async (request, reply) =>
    json(reply, await lab.results(request.params.sweepId)),
  );
  addLabRoutes(app, lab, dir);
  addGenerateRoute(app, lab);
  return { streamsEnd: () => Promise.race([Promise.all(streams), delay(lastReadMs, null, { ref: false })]) };
}
