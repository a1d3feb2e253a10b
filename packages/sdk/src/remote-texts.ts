import { BoraError, isErrorCode } from "@bora/contracts";
import { z } from "zod";
import { ApiError, controllerPaths } from "./controller-api.js";
import { GeneratedPiece, type GenerateOptions, type GenerateRequest } from "./generate-request.js";
import { ask, type ControllerAddress } from "./http-client.js";

const Line = z.union([GeneratedPiece, ApiError]);

/** Whole lines of a body, each without its end. */
async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Texts that a controller writes: a line of JSON a piece. Its own errors come before the first, or as the last line. */
export async function* remoteTexts(
  address: ControllerAddress,
  request: GenerateRequest,
  options: GenerateOptions,
): AsyncGenerator<GeneratedPiece> {
  const left = new AbortController(); // whoever leaves the loop early ends the texts with it
  const signal = options.signal === undefined ? left.signal : AbortSignal.any([options.signal, left.signal]);
  options.onStage?.("asking the running controller");
  const body = JSON.stringify(request);
  try {
    const response = await ask(address, controllerPaths.generate, { method: "POST", body, signal });
    if (response.body === null) return;
    for await (const line of linesOf(response.body)) {
      const said = Line.parse(JSON.parse(line));
      if (!("error" in said)) yield said;
      else {
        const { code, message, hint } = said.error;
        throw new BoraError(isErrorCode(code) ? code : "internal", message, { hint });
      }
    }
  } catch (thrown) {
    if (options.signal?.aborted !== true || thrown instanceof BoraError) throw thrown;
    throw new BoraError("interrupted", "the texts were given up", {
      hint: "run the same command again",
      cause: thrown,
    });
  } finally {
    left.abort();
  }
}
