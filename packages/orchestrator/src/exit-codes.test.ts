import { BoraError, type ErrorCode } from "@bora/contracts";
import { expect, test } from "vitest";
import { exitCodes, exitLine, exitOfError, exitOfOutcome } from "./exit-codes.js";

test.each([
  ["done", 0],
  ["failed", 1],
  ["stopped", 3],
  ["cancelled", 3],
  ["interrupted", 130],
] as const)("a sweep that ended as %s exits with %i", (outcome, code) => {
  expect(exitCodes[exitOfOutcome({ outcome })].code).toBe(code);
});

test.each([
  ["spec_invalid", 2],
  ["data_empty", 2],
  ["model_missing", 2],
  ["unmatched_module", 2],
  ["python_missing", 2],
  ["out_not_empty", 2],
  ["port_taken", 2],
  ["store_busy", 3],
  ["store_unavailable", 3],
  ["disk_full", 3],
  ["trainer_lost", 3],
  ["internal", 3],
  ["interrupted", 130],
] as const satisfies readonly (readonly [ErrorCode, number])[])("the error %s exits with %i", (code, exit) => {
  expect(exitCodes[exitOfError(new BoraError(code, "", { hint: "" }))].code).toBe(exit);
});

test("the last line names the code, for Nx turns every failure into 1", () => {
  expect(exitLine("interrupted")).toBe("exit 130: interrupted, resumable");
});
