import { z } from "zod";

/** What an advisory service said of a lock; `unknown` is not `clean`: nobody has looked. */
export type Verdict =
  | { is: "clean"; looked: number; lesser: number }
  | { is: "found"; findings: string[] }
  | { is: "unknown"; why: string };

const NpmReport = z.object({
  vulnerabilities: z.record(
    z.string(),
    z.looseObject({ severity: z.enum(["info", "low", "moderate", "high", "critical"]), range: z.string() }),
  ),
  metadata: z.object({ dependencies: z.looseObject({ total: z.number() }) }),
});
const NpmFailure = z.object({ message: z.string() });

const PipReport = z.object({
  dependencies: z.array(
    z.looseObject({
      name: z.string(),
      version: z.string().optional(),
      skip_reason: z.string().optional(),
      vulns: z.array(z.looseObject({ id: z.string(), fix_versions: z.array(z.string()) })).default([]),
    }),
  ),
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const lastLine = (text: string): string => text.trim().split("\n").at(-1) ?? "";

/** Of `npm audit --json`: high and critical ones count, lesser ones are numbered alone. */
export function npmVerdict(stdout: string, stderr: string): Verdict {
  const value = parsed(stdout);
  const report = NpmReport.safeParse(value);
  if (!report.success) return { is: "unknown", why: NpmFailure.safeParse(value).data?.message ?? lastLine(stderr) };
  const { vulnerabilities, metadata } = report.data;
  const entries = Object.entries(vulnerabilities);
  const grave = entries.filter(([, { severity }]) => severity === "high" || severity === "critical");
  if (grave.length > 0)
    return { is: "found", findings: grave.map(([name, { severity, range }]) => `${name} ${range}: ${severity}`) };
  return { is: "clean", looked: metadata.dependencies.total, lesser: entries.length };
}

/**
 * Of `pip-audit --format json`: every one counts, as it tells no severity. A package that it skipped was not looked up,
 * although it says "no known vulnerabilities" and ends with 0 when all of them were.
 */
export function pipVerdict(stdout: string, stderr: string): Verdict {
  const report = PipReport.safeParse(parsed(stdout));
  if (!report.success) return { is: "unknown", why: lastLine(stderr) };
  const { dependencies } = report.data;
  const findings = dependencies.flatMap(({ name, version = "", vulns }) =>
    vulns.map(
      ({ id, fix_versions }) => `${name} ${version}: ${id}, mended in ${fix_versions.join(", ") || "no version"}`,
    ),
  );
  if (findings.length > 0) return { is: "found", findings };
  const skipped = dependencies.filter(({ skip_reason }) => skip_reason !== undefined);
  const [first] = skipped;
  if (first !== undefined || dependencies.length === 0)
    return {
      is: "unknown",
      why: `${skipped.length} of ${dependencies.length} packages were not looked up: ${first?.skip_reason ?? "none"}`,
    };
  return { is: "clean", looked: dependencies.length, lesser: 0 };
}

/** 0: every lock is clean; 1: something of high severity or more; 3: nothing found, and not all was looked up. */
export function exitOf(verdicts: readonly Verdict[]): 0 | 1 | 3 {
  if (verdicts.some(({ is }) => is === "found")) return 1;
  return verdicts.some(({ is }) => is === "unknown") ? 3 : 0;
}

/** A line a lock, and one a finding. */
export function linesOf(lock: string, verdict: Verdict): string[] {
  switch (verdict.is) {
    case "clean":
      return [`${lock}: ${verdict.looked} packages, nothing of high severity known (${verdict.lesser} lesser)`];
    case "found":
      return [`${lock}: ${verdict.findings.length} of high severity`, ...verdict.findings.map((one) => `  ${one}`)];
    case "unknown":
      return [`${lock}: NOT AUDITED, the advisory service cannot be reached: ${verdict.why}`];
    default:
      return verdict satisfies never;
  }
}
