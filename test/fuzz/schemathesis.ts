import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { z } from "zod";
import type { Random } from "../faults/random.js";
import { HttpBench } from "./http-bench.js";
import { schemathesis } from "./requirements.js";
import { add, emptyTally, type Tally } from "./tally.js";
import type { Session } from "./worker.js";

/**
 * Without the end of the session, which would be the end of the run, and without the stream that has no end: both are
 * asked by http-requests.ts.
 */
const leftOut = ["/api/logout", "/api/sweeps/{sweepId}/stream"];
const checks = "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance";
const many = 1_000; // inputs of a batch

const Report = z.object({
  ScenarioFinished: z.object({
    recorder: z.object({
      interactions: z.record(
        z.string(),
        z.object({
          request: z.object({ method: z.string(), uri: z.string() }),
          response: z.object({ status_code: z.number() }).nullable(),
        }),
      ),
      checks: z.record(z.string(), z.array(z.object({ name: z.string(), status: z.string() }))),
    }),
  }),
});

/** Hypothesis' tests of an API from its own document: every field that it names, right and wrong. */
class Schemathesis implements Session {
  private constructor(private readonly bench: HttpBench) {}

  static async open(): Promise<Schemathesis> {
    return new Schemathesis(await HttpBench.open());
  }

  residentMiB(): number {
    return this.bench.where.residentMiB;
  }

  async run(random: Random, count: number): Promise<Tally> {
    await this.bench.again();
    const { where, cookie, csrf } = this.bench;
    const ofPage = { cookie, origin: where.page, "x-bora-csrf": csrf };
    const ofController = { authorization: `Bearer ${where.token}` };
    const seed = random.whole(1, 1e9);
    const page = await this.test("page", where.page, ofPage, seed, count);
    const tally = add(page, await this.test("controller", where.controller, ofController, seed, count));
    await this.bench.again();
    return tally;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bench[Symbol.asyncDispose]();
  }

  private async test(
    name: "page" | "controller",
    url: string,
    headers: Record<string, string>,
    seed: number,
    count: number,
  ): Promise<Tally> {
    const folder = mkdtempSync(join(tmpdir(), "bora-fuzz-"));
    const file = join(folder, "report.ndjson");
    const boundaries = count >= many; // every boundary of every field, which is the same each time
    const examples = boundaries ? 20 : Math.max(1, Math.round(count / 20));
    const document = fileURLToPath(new URL(`../../docs/openapi/${name}.json`, import.meta.url));
    const options = [
      ...["--url", url, "--checks", checks, "--seed", String(seed), "--max-examples", String(examples)],
      ...[
        "--phases",
        boundaries ? "coverage,fuzzing" : "fuzzing",
        "--continue-on-failure",
        "--no-color",
        "--request-timeout",
        "20",
      ],
      ...["--generation-with-security-parameters", "false", "--generation-database", "none"],
      ...["--suppress-health-check", "all", "--report", "ndjson", "--report-ndjson-path", file],
      ...leftOut.flatMap((path) => ["--exclude-path", path]),
      ...Object.entries(headers).flatMap(([key, value]) => ["-H", `${key}: ${value}`]),
    ];
    const { exitCode, stdout, stderr } = await execa(schemathesis, ["run", document, ...options], {
      ...{ reject: false, cwd: folder, stdin: "ignore", env: { PYTHONPATH: "" } },
    });
    try {
      if (exitCode !== 0 && exitCode !== 1) throw new Error(`schemathesis ended with ${String(exitCode)}: ${stderr}`);
      return counted(readFileSync(file, "utf8"), stdout);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

/** Its report, a line an event, as a tally; a check that failed is a fault of ours. */
function counted(report: string, words: string): Tally {
  const tally = emptyTally();
  for (const line of report.split("\n").filter((text) => text.startsWith('{"ScenarioFinished"'))) {
    const { interactions, checks: judged } = Report.parse(JSON.parse(line)).ScenarioFinished.recorder;
    for (const [id, { request, response }] of Object.entries(interactions)) {
      const failed = (judged[id] ?? []).filter(({ status }) => status === "failure");
      const status = response?.status_code ?? 0;
      tally.inputs += 1;
      if (failed.length > 0) {
        tally[status === 500 ? "internal" : "crashes"] += 1;
        tally.samples.push(`${request.method} ${request.uri}: ${failed.map(({ name }) => name).join()} (${status})`);
      } else if (response === null) tally.hangs += 1;
      else if (status < 300) tally.accepted += 1;
      else tally.refused[`HTTP ${status}`] = (tally.refused[`HTTP ${status}`] ?? 0) + 1;
    }
  }
  if (tally.inputs === 0) throw new Error(`schemathesis asked nothing: ${words.slice(-1_000)}`);
  return { ...tally, samples: tally.samples.slice(0, 5) };
}

export const open = (): Promise<Session> => Schemathesis.open();
