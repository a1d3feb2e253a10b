import { createHash } from "node:crypto";
import { canonicalize } from "json-canonicalize"; // RFC 8785: one text for one value, in any language

/** sha256 (hex) of a value's canonical JSON. Infinity must have gone through tauToJson before. */
export const contentHash = (value: unknown): string => createHash("sha256").update(canonicalize(value)).digest("hex");
