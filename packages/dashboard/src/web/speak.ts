import { Readable } from "node:stream";
import { BoraError, parseExperiment, type ExperimentSpec } from "@bora/contracts";
import type { GeneratedPiece, Lab, TextSource } from "@bora/sdk";
import type { FastifyInstance } from "fastify";
import { refusalOf } from "../http-errors.js";
import { pagePaths, SpeakRequest } from "./page-api.js";
import { parsed } from "./routes.js";
import type { SweepLibrary } from "./sweep-library.js";

export type Generate = Lab["generate"];

type Spoken = SpeakRequest["sources"][number];

const withoutSweep = (source: Spoken): TextSource => (source.at === "base" ? { at: "base" } : source);

/** The model of a base that stands alone: that of its sweep. One request loads one model. */
async function modelOf(library: SweepLibrary, sources: readonly Spoken[]): Promise<ExperimentSpec["model"]> {
  const ids = [...new Set(sources.map(({ sweepId }) => sweepId))];
  const models = await Promise.all(
    ids.map(async (sweepId) => parseExperiment((await library.open(sweepId)).index.progress.experiment).model),
  );
  const [first] = models;
  if (first === undefined) throw new BoraError("usage", "no source was named", { hint: "choose at least one" });
  const different = models.filter((model) => JSON.stringify(model) !== JSON.stringify(first));
  if (different.length === 0) return first;
  throw new BoraError("usage", `${different.length + 1} base models in one request`, {
    hint: "choose sources of sweeps over one base model",
  });
}

async function* lines(pieces: AsyncIterable<GeneratedPiece>): AsyncIterable<string> {
  try {
    for await (const piece of pieces) yield `${JSON.stringify(piece)}\n`;
  } catch (error) {
    yield `${JSON.stringify(refusalOf(error))}\n`;
  }
}

/** POST speak: a line of JSON for each piece of text as it comes. The folders of the machine are no sources here. */
export function addSpeakRoute(app: FastifyInstance, library: SweepLibrary, generate: Generate): void {
  app.post(pagePaths.speak, async (request, reply) => {
    const { sources, ...asked } = parsed(SpeakRequest, request.body, "the request");
    const model = await modelOf(library, sources);
    const left = new AbortController();
    reply.raw.once("close", () => {
      left.abort();
    });
    const pieces = generate({ ...asked, model, sources: sources.map(withoutSweep) }, { signal: left.signal });
    return reply.type("application/x-ndjson").send(Readable.from(lines(pieces)));
  });
}
