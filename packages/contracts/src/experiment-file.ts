import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { BoraError } from "./errors.js";
import { Experiment, type ExperimentSpec } from "./experiment.js";
import { parseWith } from "./parse-with.js";
import { formatTau, parseTau } from "./tau.js";

/** What the command line lays over the file: taus, and `--set train.maxSteps=20` assignments in order. */
export interface ExperimentOverrides {
  taus?: string;
  set?: readonly string[];
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const shownCharacters = 200;

/** A value in an error's message: cut short, and whatever it is, for YAML's aliases can make one that holds itself. */
function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = textOf(value);
  return text.length > shownCharacters ? `${text.slice(0, shownCharacters)}… (${text.length} characters)` : text;
}

function textOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "a value that holds itself or is nested too deeply";
  }
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined),
    root,
  );
}

function explain(input: unknown, issue: z.core.$ZodIssue): string {
  const path = issue.path.map(String).join(".") || "the experiment";
  if (issue.code === "unrecognized_keys") return `${path}: unknown field ${issue.keys.join(", ")}`;
  return `${path} is ${show(valueAt(input, issue.path))}: ${issue.message.replace(/^Invalid input: /, "")}`;
}

/**
 * The only way in for an experiment, from YAML, JSON or a program. Relative paths of data and model are seen from
 * `folder`; without one they stay as they are. Throws spec_invalid naming path, value and what was expected.
 */
export function parseExperiment(input: unknown, folder?: string): ExperimentSpec {
  const parsed = parseWith(Experiment, input);
  if (parsed.success) {
    const spec = checkTogether(parsed.data);
    return folder === undefined ? spec : anchor(spec, folder);
  }
  throw new BoraError("spec_invalid", parsed.error.issues.map((issue) => explain(input, issue)).join("; "), {
    hint: "docs/experiment.md lists every field; name docs/experiment.schema.json in $schema and an editor completes them",
  });
}

/** What one field cannot know of another. */
function checkTogether(spec: ExperimentSpec): ExperimentSpec {
  const { train, data } = spec;
  if (train.sampler === "groups" && train.tokensPerTask < data.maxTokens)
    throw new BoraError(
      "spec_invalid",
      `train.tokensPerTask is ${train.tokensPerTask}, below data.maxTokens ${data.maxTokens}`,
      {
        hint: "a step's budget for a task must hold its longest document: raise tokensPerTask or lower maxTokens",
      },
    );
  const ranks = data.tasks.trainDocuments?.length;
  if (ranks !== undefined && data.tasks.top !== undefined && ranks !== data.tasks.top)
    throw new BoraError(
      "spec_invalid",
      `data.tasks.trainDocuments has ${ranks} numbers for top ${data.tasks.top} tasks`,
      {
        hint: "give one number a task, by rank, or leave it out",
      },
    );
  if (spec.evaluate.adapters === undefined) checkTraining(spec);
  return spec;
}

function checkTraining({ data, prior, train }: ExperimentSpec): void {
  const fixed = prior.mean?.fixed === true;
  if (data.split.by === "none")
    throw new BoraError("spec_invalid", "data.split.by is none: no document is left to train on", {
      hint: "split by seed or date; none is for evaluate.adapters",
    });
  if (fixed && prior.tau0 > 0)
    throw new BoraError("spec_invalid", `prior.tau0 is ${prior.tau0} beside a fixed prior mean`, {
      hint: "a mean that is fixed has no start to return to: leave tau0 out",
    });
  const tied = prior.taus.filter((tau) => tau > 0);
  if (train.bestStep === "task" && !fixed && tied.length > 0)
    throw new BoraError("spec_invalid", `train.bestStep is task with tau ${tied.map(formatTau).join(", ")}`, {
      hint: "tasks move each other there: use it at tau 0, or with prior.mean.fixed",
    });
}

function assign(root: Record<string, unknown>, assignment: string): void {
  const at = assignment.indexOf("=");
  const keys = assignment.slice(0, at).split(".");
  const last = keys.pop();
  if (at < 1 || last === undefined || last === "" || keys.includes("__proto__") || last === "__proto__")
    throw new BoraError("usage", `--set ${assignment}: expected path=value`, {
      hint: "for example --set train.maxSteps=20",
    });
  let node = root;
  for (const key of keys) {
    const next = (node[key] ??= {});
    if (!isRecord(next))
      throw new BoraError("usage", `--set ${assignment}: ${key} holds no fields`, { hint: "see docs/experiment.md" });
    node = next;
  }
  node[last] = assignedValue(assignment, at);
}

function assignedValue(assignment: string, at: number): unknown {
  try {
    return parseYaml(assignment.slice(at + 1));
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new BoraError("usage", `--set ${assignment}: the value is not YAML: ${why}`, {
      hint: "put a text with special characters in quotes, twice where a shell reads it: --set 'name=\"a: b\"'",
      cause,
    });
  }
}

/** Lays the command line's values over what a file held; validation comes after, on the whole. */
export function overrideExperiment(input: unknown, overrides: ExperimentOverrides): unknown {
  if (!isRecord(input)) return input;
  const copy = structuredClone(input);
  for (const assignment of overrides.set ?? []) assign(copy, assignment);
  if (overrides.taus !== undefined) {
    const prior = isRecord(copy["prior"]) ? copy["prior"] : {};
    copy["prior"] = { ...prior, taus: overrides.taus.split(",").map(parseTau) };
  }
  return copy;
}

/** Makes the paths of data, model and adapters absolute, as seen from `folder`. */
function anchor(spec: ExperimentSpec, folder: string): ExperimentSpec {
  const absolute = (path: string) => (isAbsolute(path) ? path : resolve(folder, path));
  const data = spec.data.source === "shakespeare" ? spec.data : { ...spec.data, path: absolute(spec.data.path) };
  const model = spec.model.source === "path" ? { ...spec.model, path: absolute(spec.model.path) } : spec.model;
  const { mean } = spec.prior;
  const prior = mean === undefined ? spec.prior : { ...spec.prior, mean: { ...mean, path: absolute(mean.path) } };
  const adapters = spec.evaluate.adapters?.map((adapter) =>
    adapter.path === undefined ? adapter : { ...adapter, path: absolute(adapter.path) },
  );
  const evaluate = adapters === undefined ? spec.evaluate : { ...spec.evaluate, adapters };
  return { ...spec, data, model, prior, evaluate };
}

/** Reads and checks an experiment file (YAML or JSON). Throws spec_unreadable or spec_invalid. */
export async function readExperiment(file: string, overrides: ExperimentOverrides = {}): Promise<ExperimentSpec> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new BoraError(
      "spec_unreadable",
      `cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: "name an experiment file with --spec; examples/ has some that run",
        cause,
      },
    );
  });
  let input: unknown;
  try {
    input = parseYaml(text);
  } catch (cause) {
    throw new BoraError(
      "spec_unreadable",
      `${file} is not YAML: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: "check the indentation at the line the message names",
        cause,
      },
    );
  }
  return parseExperiment(overrideExperiment(input, overrides), dirname(resolve(file)));
}

/** JSON schema of the experiment file, for editors; docs/experiment.schema.json is this text. */
export function experimentJsonSchema(): string {
  const schema = z.toJSONSchema(Experiment, { io: "input", unrepresentable: "any" });
  return `${JSON.stringify({ ...schema, title: "BoRA experiment" }, null, 2)}\n`;
}
