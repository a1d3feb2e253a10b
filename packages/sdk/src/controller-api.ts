import { tauToJson } from "@bora/contracts";
import { z } from "zod";
import { SweepStatus } from "./lab.js";

export { encodeDocument } from "./documents.js";
export { isWorkKind, workRequests, type WorkKind } from "./work-api.js";
export { ControllerFile, controllerFilePath, readControllerFile } from "./controller-file.js";

/** The controller's HTTP API, in one place for its server and its client. */
export const controllerPaths = {
  state: "/v1/state",
  plan: "/v1/plan",
  sweeps: "/v1/sweeps",
  generate: "/v1/generate",
  work: (kind: string) => `/v1/work/${kind}`,
  events: (sweepId: string) => `/v1/sweeps/${encodeURIComponent(sweepId)}/events`,
  commands: (sweepId: string) => `/v1/sweeps/${encodeURIComponent(sweepId)}/commands`,
  results: (sweepId: string) => `/v1/sweeps/${encodeURIComponent(sweepId)}/results`,
  documents: (sweepId: string) => `/v1/sweeps/${encodeURIComponent(sweepId)}/documents`,
} as const;

export const ControllerState = z.object({ pid: z.number(), sweeps: z.array(SweepStatus) });

/** Answer to POST sweeps: null while the experiment is still being planned; ask again. */
export const JoinedSweep = z.object({ sweepId: z.string().nullable() });

/** Body of every answer that is not 2xx. */
export const ApiError = z.object({
  error: z.object({ code: z.string(), message: z.string(), hint: z.string() }),
});

/** JSON of anything that holds taus. */
export const toJson = (value: unknown): string =>
  JSON.stringify(value, (key, field: unknown) => {
    if (key === "tau" && typeof field === "number") return tauToJson(field);
    if (key === "taus" && Array.isArray(field))
      return field.map((tau: unknown) => (typeof tau === "number" ? tauToJson(tau) : tau));
    return field;
  });
