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
      "sweep | --spec <file> | --taus <list> | --set <path=value> | --out <folder> | --json",
      "plan | --spec <file> | --taus <list> | --set <path=value> | --out <folder> | --json",
      "status | [sweep] | --out <folder> | --json",
      "results | [sweep] | --out <folder> | --json",
      "pause | [sweep] | --out <folder> | --json",
      "resume | [sweep] | --out <folder> | --json",
      "drain | [sweep] | --out <folder> | --json",
      "cancel | [sweep] | --out <folder> | --json",
      "retry | [trials...] | --out <folder> | --json | --sweep <id> | --failed | --lost | --missing | --code <code>",
      "gc | --out <folder> | --json | --dry-run",
      "backup | [file] | --out <folder> | --json",
      "doctor | --spec <file> | --taus <list> | --set <path=value> | --out <folder> | --json",
    ]
  `);
});

describe("exit code 2, with one error and a hint", () => {
  test.each([
    ["an unknown command", ["explode"], /unknown command 'explode'/],
    ["an unknown option", ["sweep", "--explode"], /unknown option '--explode'/],
    ["an option without its value", ["plan", "--spec"], /argument missing/],
    ["too many arguments", ["status", "a", "b"], /too many arguments/],
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
    ["draining nothing", ["drain"], /^error sweep_unknown: /],
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
