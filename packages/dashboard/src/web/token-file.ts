import { timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { BoraError } from "@bora/contracts";
import { digest } from "../guard.js";

const inClear = /^[\x21-\x7e]{16,}$/;
const hashed = /^sha256:([0-9a-f]{64})$/;

/**
 * Tokens that callers may send, as the trainer's `--token-file` has them: one a line, in clear or as `sha256:` and the
 * hash. The file is read for every call, so that a token is rotated without a restart; while it cannot be read nobody is
 * admitted.
 */
export class TokenFile {
  private constructor(private readonly path: string) {}

  /** Throws token_missing. */
  static async open(path: string): Promise<TokenFile> {
    await digestsIn(path);
    return new TokenFile(path);
  }

  /** The time taken does not tell how much of a token fits. */
  async admits(token: string): Promise<boolean> {
    const known = await digestsIn(this.path).catch(() => []);
    const given = digest(token);
    return known.map((own) => timingSafeEqual(given, own)).includes(true);
  }
}

async function digestsIn(path: string): Promise<Buffer[]> {
  const missing = (what: string, cause?: unknown): BoraError =>
    new BoraError("token_missing", what, {
      hint: "write a line of at least 16 printable characters without blanks, or sha256: and 64 hexadecimal digits",
      cause,
    });
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw missing(`cannot read the token file ${path}`, cause);
  });
  const lines = text.split("\n").map((line) => line.trim());
  if (lines.every((line) => line === "")) throw missing(`the token file ${basename(path)} is empty`);
  return lines.flatMap((line, index) => {
    if (line === "") return [];
    const hash = hashed.exec(line)?.[1];
    if (hash !== undefined) return [Buffer.from(hash, "hex")];
    if (inClear.test(line) && !line.startsWith("sha256:")) return [digest(line)];
    throw missing(`line ${index + 1} of the token file ${basename(path)} is none`); // its number alone: it is a secret
  });
}
