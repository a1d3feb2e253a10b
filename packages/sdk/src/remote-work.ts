import { BoraError } from "@bora/contracts";
import { z } from "zod";
import { controllerPaths, toJson } from "./controller-api.js";
import { askEvents, failureIn, type ControllerAddress } from "./http-client.js";
import { WorkNotice, WorkSweep, type WorkKind } from "./work-api.js";

/** What a stream of the controller tells of before its answer. */
export interface WorkListener {
  signal?: AbortSignal | undefined;
  onStage?: ((text: string) => void) | undefined;
  onNotice?: ((notice: z.output<typeof WorkNotice>) => void) | undefined;
  onSweep?: ((sweepId: string, words: string) => void) | undefined;
}

/**
 * The text of the answer that a stream of server-sent events ends with. The controller gives the work up when this
 * leaves. Throws the controller's own error, and interrupted when it goes before it has answered.
 */
export async function remoteAnswer(
  address: ControllerAddress,
  path: string,
  body: string,
  { signal, onStage, onNotice, onSweep }: WorkListener,
): Promise<string> {
  for await (const { event, data } of askEvents(address, path, { method: "POST", body, signal })) {
    if (event === "answer") return data;
    if (event === "failed") throw failureIn(data);
    if (event === "stage") onStage?.(data);
    else if (event === "notice") onNotice?.(WorkNotice.parse(JSON.parse(data)));
    else if (event === "sweep") {
      const { sweepId, words } = WorkSweep.parse(JSON.parse(data));
      onSweep?.(sweepId, words);
    }
  }
  throw new BoraError("interrupted", `the controller at ${address.url} left before it had answered`, {
    hint: "run the same again; what is trained is not trained again",
  });
}

/** Work that a controller does in its own folder, and what came of it. */
export async function remoteWork<Answer extends z.ZodType>(
  address: ControllerAddress,
  kind: WorkKind,
  answer: Answer,
  request: unknown,
  listener: WorkListener,
): Promise<z.output<Answer>> {
  const text = await remoteAnswer(address, controllerPaths.work(kind), toJson(request), listener);
  const parsed = answer.safeParse(JSON.parse(text));
  if (parsed.success) return parsed.data;
  throw new BoraError("api_mismatch", `the controller's answer to ${kind}: ${z.prettifyError(parsed.error)}`, {
    hint: "run the same version of BoRA as the controller",
    cause: parsed.error,
  });
}
