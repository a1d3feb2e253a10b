import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** One thing that a suite outside vitest has done, or could not do here. */
export interface SuiteResult {
  fullName: string;
  status: "passed" | "failed" | "skipped";
}

export interface SuiteSum {
  passed: number;
  failed: number;
  skipped: number;
}

/** What was skipped, with why, as results. */
export const skippedResults = (skipped: Readonly<Record<string, string>>): SuiteResult[] =>
  Object.entries(skipped).map(([name, why]) => ({ fullName: `${name} (skipped: ${why})`, status: "skipped" }));

/** Writes a report that .ci/count-tests.mjs reads as it reads vitest's. */
export function writeSuiteReport(folder: string, file: string, results: readonly SuiteResult[]): SuiteSum {
  const of = (status: string) => results.filter((one) => one.status === status).length;
  const sum = { passed: of("passed"), failed: of("failed"), skipped: of("skipped") };
  mkdirSync(folder, { recursive: true });
  const testResults = [{ status: sum.failed > 0 ? "failed" : "passed", assertionResults: results }];
  writeFileSync(
    join(folder, file),
    JSON.stringify({ numPassedTests: sum.passed, numFailedTests: sum.failed, testResults }),
  );
  return sum;
}

/** A table in Markdown, first column left, the others right, and below it what was not done here. */
export function suiteTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  skipped: Readonly<Record<string, string>>,
): string {
  const left = Object.entries(skipped).map(([name, why]) => `Not done here: ${name} (${why}).`);
  const lines = [head, head.map((_, column) => (column === 0 ? "---" : "---:")), ...rows].map(
    (row) => `| ${row.join(" | ")} |`,
  );
  return [...lines, ...(left.length > 0 ? ["", ...left] : [])].join("\n");
}

/** Puts text into a page between a suite's two marks. Throws where it has none. */
export function writeBetweenMarks(page: string, suite: string, text: string): void {
  const marks = [`<!-- ${suite}: begin -->`, `<!-- ${suite}: end -->`] as const;
  const before = readFileSync(page, "utf8");
  const [begin, end] = [before.indexOf(marks[0]), before.indexOf(marks[1])];
  if (begin < 0 || end < begin) throw new Error(`${page} has no place for the table (${marks.join(" ")})`);
  writeFileSync(page, `${before.slice(0, begin + marks[0].length)}\n\n${text}\n\n${before.slice(end)}`);
}

/** A ledger as JSON, whole or not at all: the next slice of a long run goes on from it. */
export function writeLedger(file: string, ledger: unknown): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, JSON.stringify(ledger, null, 2));
  renameSync(`${file}.new`, file);
}
