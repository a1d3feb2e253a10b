import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { BoraError, isLoopback, parseWith, readPem, type TransportTls } from "@bora/contracts";
import { parse } from "yaml";
import { z } from "zod";

const file = z.string().min(1).describe("relative to this file");

const TlsFiles = z
  .strictObject({ ca: file, certificate: file.optional(), key: file.optional() })
  .refine(({ certificate, key }) => (certificate === undefined) === (key === undefined), {
    message: "certificate and key belong together",
  });

/** trainers.yaml: trainers that run already, instead of ones that are started here. docs/trainers.md. */
const TrainersFile = z.strictObject({
  trainers: z
    .array(
      z.strictObject({
        address: z.string().regex(/^(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}$/, "expected host:port"),
        tokenFile: file.optional(),
      }),
    )
    .min(1)
    .refine((trainers) => new Set(trainers.map(({ address }) => address)).size === trainers.length, {
      message: "each address once",
    }),
  tokenFile: file.optional().describe("of every trainer that names none of its own"),
  tls: TlsFiles.optional().describe("needed off loopback"),
});

/** One running trainer; secrets are read when it is dialled, so that they can be rotated. */
export interface RunningTrainer {
  address: string;
  token(): Promise<string>;
  tls(): Promise<TransportTls | null>;
}

/** Throws spec_unreadable, spec_invalid, and tls_missing for a trainer off loopback without TLS. */
export async function readTrainersFile(path: string): Promise<RunningTrainer[]> {
  const { trainers, tokenFile, tls } = parseFile(path, await text(path, "spec_unreadable"));
  const at = (name: string) => resolve(dirname(path), name);
  return trainers.map(({ address, tokenFile: own = tokenFile }) => {
    if (own === undefined)
      throw new BoraError("spec_invalid", `${path}: the trainer ${address} has no tokenFile`, {
        hint: "give tokenFile once for all of them, or one for each",
      });
    if (tls === undefined && !isLoopback(address.slice(0, address.lastIndexOf(":"))))
      throw new BoraError(
        "tls_missing",
        `${path}: the trainer ${address} is not on this machine, and there is no tls`,
        {
          hint: "give tls: { ca, certificate, key }; bora certs makes the files",
        },
      );
    return {
      address,
      token: async () => (await text(at(own), "token_missing")).trim().split(/\s+/)[0] ?? "",
      tls: async () => (tls === undefined ? null : readTls(tls, at)),
    };
  });
}

async function readTls({ ca, certificate, key }: z.output<typeof TlsFiles>, at: (name: string) => string) {
  const ifNamed = async (name: string | undefined, kind: Parameters<typeof readPem>[1]) =>
    name === undefined ? null : readPem(at(name), kind);
  return {
    ca: await readPem(at(ca), "CERTIFICATE"),
    certificate: await ifNamed(certificate, "CERTIFICATE"),
    key: await ifNamed(key, "PRIVATE KEY"),
  };
}

function parseFile(path: string, content: string): z.output<typeof TrainersFile> {
  let value: unknown;
  try {
    value = parse(content);
  } catch (cause) {
    throw new BoraError("spec_unreadable", `${path} is no YAML: ${String(cause)}`, {
      hint: "see docs/trainers.md",
      cause,
    });
  }
  const found = parseWith(TrainersFile, value);
  if (found.success) return found.data;
  throw new BoraError("spec_invalid", `${path}: ${z.prettifyError(found.error)}`, { hint: "see docs/trainers.md" });
}

async function text(path: string, code: "spec_unreadable" | "token_missing"): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const why = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new BoraError(code, `cannot read ${path} (${why})`, {
      hint: "check path and mode; see docs/trainers.md",
      cause,
    });
  }
}
