import { mkdtemp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { main } from "./main.js";
import { buildProgram } from "./program.js";
import { recordingTerminal } from "./terminal.fixture.js";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "bora-"));
});
afterEach(() => rm(cwd, { recursive: true }));

async function run(...argv: string[]) {
  const terminal = recordingTerminal({ cwd });
  const code = await main(argv, terminal);
  return { code, out: terminal.outLines.join("\n"), err: terminal.errLines.join("\n") };
}

const experiment = `
name: tiny
model: { source: path, path: model }
data: { source: shakespeare, tasks: { all: true } }
adapter: { targets: [q_proj] }
prior: { taus: [0, inf] }
`;

test("the surface: commands, arguments, options", () => {
  const program = buildProgram(recordingTerminal(), () => undefined);
  const surface = program.commands.map((command) =>
    [
      command.name(),
      ...command.registeredArguments.map((argument) => `[${argument.name()}${argument.variadic ? "..." : ""}]`),
      ...command.options.map(({ flags }) => flags),
    ].join(" | "),
  );
  expect(surface).toMatchInlineSnapshot(`
    [
      "sweep | --spec <file> | --taus <list> | --set <path=value> | --out <folder> | --trainers <file> | --json",
      "plan | --spec <file> | --taus <list> | --set <path=value> | --out <folder> | --trainers <file> | --json",
      "status | [sweep] | --out <folder> | --trainers <file> | --json",
      "results | [sweep] | --out <folder> | --trainers <file> | --json",
      "compare | [sweeps...] | --out <folder> | --trainers <file> | --json | --to <folder>",
      "report | [sweep] | --out <folder> | --trainers <file> | --json | --to <folder>",
      "adapt | [sweep] | --tau <value> | --task <name> | --documents <n> | --curve | --tasks <names...> | --sizes <list> | --data <file> | --task-column <name> | --text-column <name> | --prompt-column <name> | --completion-column <name> | --id-column <name> | --date-column <name> | --out <folder> | --trainers <file> | --json | --set <path=value>",
      "evaluate | [adapters...] | --sweep <id> | --spec <file> | --tasks <names...> | --data <file> | --task-column <name> | --text-column <name> | --prompt-column <name> | --completion-column <name> | --id-column <name> | --date-column <name> | --out <folder> | --trainers <file> | --json | --set <path=value>",
      "serve | --out <folder> | --trainers <file> | --json | --port <n> | --host <address> | --tls-certificate <file> | --tls-key <file> | --token-file <file> | --open",
      "pause | [sweep] | --out <folder> | --trainers <file> | --json",
      "resume | [sweep] | --out <folder> | --trainers <file> | --json",
      "drain | [sweep] | --out <folder> | --trainers <file> | --json",
      "cancel | [sweep] | --out <folder> | --trainers <file> | --json",
      "retry | [trials...] | --out <folder> | --trainers <file> | --json | --sweep <id> | --failed | --lost | --missing | --code <code>",
      "certs | --to <folder> | --host <name> | --page-host <name> | --days <number> | --json",
      "generate | [sweep] | --out <folder> | --trainers <file> | --json | --task <name> | --tau <tau> | --trial <id> | --prior-mean | --base | --adapter <folder> | --prompt <text> | --prompt-file <file> | --seed <n> | --max-tokens <n> | --temperature <t> | --top-p <p> | --top-k <k>",
      "export | [sweep] | --out <folder> | --trainers <file> | --json | --task <name> | --tau <tau> | --trial <id> | --prior-mean | --to <folder> | --format <format> | --dtype <dtype> | --license <id> | --force",
      "gc | --out <folder> | --trainers <file> | --json | --dry-run",
      "backup | [file] | --out <folder> | --trainers <file> | --json",
      "doctor | --spec <file> | --taus <list> | --set <path=value> | --out <folder> | --trainers <file> | --json",
    ]
  `);
});

describe("exit code 2, with one error and a hint", () => {
  test.each([
    ["an unknown command", ["explode"], /unknown command 'explode'/],
    ["an unknown option", ["sweep", "--explode"], /unknown option '--explode'/],
    ["a page off loopback", ["serve", "--host", "0.0.0.0"], /^error bind_refused: .*--tls-key/],
    [
      "a certificate without its key",
      ["serve", "--tls-certificate", "c.pem"],
      /^error tls_missing: .*--tls-key is not/,
    ],
    [
      "a key without its certificate",
      ["serve", "--tls-key", "k.pem"],
      /^error tls_missing: .*--tls-certificate is not/,
    ],
    [
      "TLS files that are not there",
      ["serve", "--tls-certificate", "c", "--tls-key", "k"],
      /^error tls_unreadable: .*ENOENT/,
    ],
    ["a token file that is not there", ["serve", "--token-file", "none"], /^error token_missing: .*none/],
    ["a port that is none", ["serve", "--port", "70000"], /--port is 70000/],
    ["an option without its value", ["plan", "--spec"], /argument missing/],
    ["too many arguments", ["status", "a", "b"], /too many arguments/],
    ["adapting to nothing", ["adapt", "s"], /^error usage: bora adapt needs --task/],
    ["documents that are no number", ["adapt", "s", "--task", "t", "--documents", "x"], /^error usage: --documents x/],
    ["columns of no file", ["adapt", "s", "--task", "t", "--text-column", "x"], /^error usage: columns are named/],
    ["a tau that is none", ["adapt", "s", "--task", "t", "--tau", "much"], /^error spec_invalid: tau is "much"/],
    ["adapters of no base", ["evaluate", "base"], /^error usage: bora evaluate needs --sweep or --spec/],
    ["a missing experiment file", ["sweep", "--spec", "none.yaml"], /^error spec_unreadable: cannot read .*none\.yaml/],
    [
      "a field that is not there",
      ["sweep", "--spec", "tiny.yaml", "--set", "train.steps=1"],
      /^error spec_invalid: train: unknown field steps/,
    ],
    ["a tau below 0", ["plan", "--spec", "tiny.yaml", "--taus", "0,-1"], /^error spec_invalid: tau is "-1"/],
    ["a --set without a value", ["plan", "--spec", "tiny.yaml", "--set", "train"], /^error usage: --set train/],
    ["retry of nothing", ["retry"], /^error usage: retry was told 0 ways which trials/],
    ["retry told twice", ["retry", "--failed", "--lost"], /^error usage: retry was told 2 ways which trials/],
    ["a sweep that is not there", ["results", "none"], /^error sweep_unknown: /],
    ["a report of no sweep", ["report"], /^error sweep_unknown: /],
    ["a report of a sweep that is not there", ["report", "none"], /^error sweep_unknown: .* holds no sweep none/],
    ["a report of a folder without results", ["report", "."], /^error results_missing: .* without results\.json/],
    ["a comparison with nothing", ["compare", "."], /^error usage: compare was given 1 sweep; expected two or more/],
    ["a comparison of a sweep that is not there", ["compare", "a", "b"], /^error sweep_unknown: /],
    ["draining nothing", ["drain"], /^error sweep_unknown: /],
    ["texts of no prompt", ["generate"], /^error usage: no prompt given/],
    ["texts of two", ["generate", "--prompt", "a", "--prompt-file", "b"], /^error usage: two prompts given/],
    ["a prompt that is not there", ["generate", "--prompt-file", "none.txt"], /^error data_missing: .*none\.txt/],
    ["a temperature below 0", ["generate", "--temperature", "-1"], /expected a number from 0 to 100/],
    ["half a token", ["generate", "--max-tokens", "0.5"], /expected a whole number from 1/],
    ["texts of nothing", ["generate", "--prompt", "a"], /^error sweep_unknown: /],
    ["an export to nowhere", ["export"], /^error usage: no folder to write to/],
    ["an export of nothing", ["export", "--to", "x"], /^error sweep_unknown: /],
    ["an export of another format", ["export", "--format", "onnx"], /Allowed choices are peft, merged, vllm/],
  ])("%s", async (_name, argv, message) => {
    await writeFile(join(cwd, "tiny.yaml"), experiment);
    const { code, out, err } = await run(...argv);
    expect(err).toMatch(message);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    if (err.startsWith("error ") && !err.includes("(bora --help")) expect(err).toMatch(/\n {2}hint: .+/);
  });

  test("an output folder of somebody else is left as it was", async () => {
    await writeFile(join(cwd, "tiny.yaml"), experiment);
    await mkdir(join(cwd, "photos"));
    await writeFile(join(cwd, "photos", "a.jpg"), "x");
    const { code, err } = await run("sweep", "--spec", "tiny.yaml", "--out", "photos");
    expect(err).toMatch(/^error out_not_empty: /);
    expect(code).toBe(2);
    expect(await readdir(join(cwd, "photos"))).toEqual(["a.jpg"]);
  });

  test("with --json the last line on standard output says so too", async () => {
    const { code, out, err } = await run("sweep", "--spec", "none.yaml", "--json");
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ error: { code: "spec_unreadable" }, exit: "usage" });
    expect(err).toMatch(/^error spec_unreadable: /);
  });
});

describe("exit code 0", () => {
  test.each(["--help", "sweep --help", "--version", "help retry"])("%s", async (words) => {
    const { code, out, err } = await run(...words.split(" "));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).not.toBe("");
  });

  test("--help has the table of exit codes", async () => {
    const { out } = await run("--help");
    expect(out).toMatch(/Exit codes:\n\s+0 .*\n\s+1 .*\n\s+2 .*\n\s+3 .*\n\s+130 /);
  });

  test("status of an empty folder, which stays empty", async () => {
    expect(await run("status", "--out", "runs")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/holds no sweep/),
    });
    expect(await readdir(cwd)).toEqual([]);
  });
});
