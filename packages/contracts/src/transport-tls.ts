import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { BoraError } from "./errors.js";

/** What a caller shows and trusts, as PEM text, when a trainer is reached over a network. */
export interface TransportTls {
  ca: string; // certificates that the trainer's must come from
  certificate: string | null; // shown where the trainer asks for one (mutual TLS)
  key: string | null;
}

/** Whether only this machine answers under a name or address; a name other than localhost could be anywhere. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "");
  return bare === "localhost" || bare === "::1" || (isIP(bare) === 4 && bare.startsWith("127."));
}

/** The text of a PEM file. Throws tls_unreadable when it cannot be read, or holds no block of its kind. */
export async function readPem(path: string, kind: "CERTIFICATE" | "PRIVATE KEY"): Promise<string> {
  const content = await readFile(path, "utf8").catch((cause: unknown) => {
    const why = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new BoraError("tls_unreadable", `cannot read ${path} (${why})`, {
      hint: "check path and mode; bora certs makes such files",
      cause,
    });
  });
  if (content.includes("-----BEGIN ") && content.includes(`${kind}-----`)) return content;
  throw new BoraError("tls_unreadable", `${path} (${content.length} characters) holds no PEM block ${kind}`, {
    hint: "bora certs makes such files",
  });
}
