import { resolve } from "node:path";
import { makeCertificates } from "@bora/sdk/controller";
import type { ExitName } from "../exit-codes.js";
import type { Terminal } from "../terminal.js";

export interface CertsOptions {
  to: string;
  host: string[];
  pageHost: string[];
  days: string;
  json?: boolean;
}

/** `bora certs`: a CA, certificates and tokens for trainers on other machines, and for a page that others may see. */
export async function certs(options: CertsOptions, terminal: Terminal): Promise<ExitName> {
  const to = resolve(terminal.cwd, options.to);
  const { host: hosts, pageHost: pageHosts } = options;
  const made = await makeCertificates({ to, hosts, pageHosts, days: Number(options.days), nowMs: Date.now() });
  if (options.json === true) terminal.out(JSON.stringify(made));
  else
    terminal.out(
      [
        `${made.folder} (until ${made.expires.toISOString().slice(0, 10)})`,
        "  to each machine with a trainer: ca.pem, trainer.pem, trainer-key.pem, token.sha256",
        "  for the controller: trainers.yaml and what it names; use it with --trainers",
        "  for bora serve off loopback: page.pem, page-key.pem, page-token.sha256; ca.pem and page-token for its programs",
        "  keep ca-key.pem where none of them is",
      ].join("\n"),
    );
  return "done";
}
