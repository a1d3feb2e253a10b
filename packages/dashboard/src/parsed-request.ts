import { BoraError, parseWith } from "@bora/contracts";
import { z } from "zod";

/** What a caller sent, as its schema reads it. Throws usage, with `what` it is of and where it is described. */
export function parsedRequest<T extends z.ZodType>(
  schema: T,
  value: unknown,
  { what, hint }: { what?: string; hint: string },
): z.output<T> {
  const result = parseWith(schema, value);
  if (result.success) return result.data;
  const found = z.prettifyError(result.error);
  throw new BoraError("usage", what === undefined ? found : `${what}: ${found}`, { hint });
}
