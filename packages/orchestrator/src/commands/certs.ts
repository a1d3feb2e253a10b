import { resolve } from "node:path";
import { makeCertificates } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import type { Terminal } from "../terminal.js";

export interface CertsOptions {
  to: string;
  host: string[];
  days: string;
  json?: boolean;
}

/** `bora certs`: a CA, certificates and a token for trainers on other machines. */
export async function certs(options: CertsOptions, terminal: Terminal): Promise<ExitName> {
  const to = resolve(terminal.cwd, options.to);
  const made = await makeCertificates({ to, hosts: options.host, days: Number(options.days), nowMs: Date.now() });
  if (options.json === true) terminal.out(JSON.stringify(made));
  else
    terminal.out(
      [
        `${made.folder} (until ${made.expires.toISOString().slice(0, 10)})`,
        "  to each machine with a trainer: ca.pem, trainer.pem, trainer-key.pem, token.sha256",
        "  for the controller: trainers.yaml and what it names; use it with --trainers",
        "  keep ca-key.pem where neither of them is",
      ].join("\n"),
    );
  return "done";
}
