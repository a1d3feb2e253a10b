import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Target } from "./targets.js";

export const schemathesis = fileURLToPath(new URL(".venv/bin/schemathesis", import.meta.url));

/** Why a target cannot be run here, in words; null when it can. */
export function missing({ session }: Target): string | null {
  if (session.key !== "schemathesis" || existsSync(schemathesis)) return null;
  return "no schemathesis: npx nx run test:fuzz-venv";
}
