import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as wire from "./wire.js";

// proto/golden is written by the trainer's language; what it means is in the .json beside each message. Here the same
// bytes are read by the generated TypeScript, compared with that JSON, and written again.
const folder = new URL("../../../proto/golden/", import.meta.url);
const names = readdirSync(folder)
  .filter((name) => name.endsWith(".binpb"))
  .map((name) => name.slice(0, -".binpb".length));
const bytesOf = (name: string): Buffer => readFileSync(new URL(`${name}.binpb`, folder));

/** The message in a golden file, and its bytes when it is written again. */
function readAndWrite(name: string): { message: unknown; again: Uint8Array } {
  if (name === "run_spec") {
    const message = wire.RunSpec.decode(bytesOf(name));
    return { message, again: wire.RunSpec.encode(message).finish() };
  }
  const message = wire.Event.decode(bytesOf(name));
  return { message, again: wire.Event.encode(message).finish() };
}

/** Numbers of all enum values by their names in the .proto: SPLIT_BY_DATE is `date` of enum SplitBy. */
const enumNumbers = new Map<string, number>(
  Object.entries(wire).flatMap(([name, values]) => {
    const prefix = name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
    return typeof values !== "object"
      ? []
      : Object.entries(values as Record<string, unknown>).flatMap(([key, number]) =>
          typeof number === "number" ? [[`${prefix}_${key}`, number] as const] : [],
        );
  }),
);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isDefault = (value: unknown): boolean =>
  [undefined, 0, 0n, "", false].some((plain) => plain === value) || (Array.isArray(value) && value.length === 0);

/** A generated message as proto3's canonical JSON, but for enum values, which stay numbers; defaults are left out. */
function toJson(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString().replace(".000Z", "Z");
  if (typeof value === "bigint") return String(value);
  if (value === Infinity) return "Infinity";
  if (Array.isArray(value)) return value.map(toJson);
  if (!isRecord(value)) return value;
  const fields = Object.entries(value).flatMap(([key, field]): [string, unknown][] => {
    if (isRecord(field) && typeof field["$case"] === "string") return [[field["$case"], field[field["$case"]]]];
    return isDefault(field) ? [] : [[key, field]];
  });
  return Object.fromEntries(fields.map(([key, field]) => [key, toJson(field)]));
}

/** Canonical JSON with its enum names as numbers. */
function withEnumNumbers(value: unknown): unknown {
  if (typeof value === "string") return enumNumbers.get(value) ?? value;
  if (Array.isArray(value)) return value.map(withEnumNumbers);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withEnumNumbers(field)]));
}

describe("golden messages of the wire", () => {
  it("has one for every body of an event, and the spec of a run", () => {
    const bodies = names.flatMap((name) => {
      const event = name.startsWith("event_") ? wire.Event.decode(bytesOf(name)) : null;
      return event?.body === undefined ? [] : [event.body.$case];
    });
    const all = {
      runStarted: true,
      stepsDone: true,
      evaluated: true,
      checkpointSaved: true,
      microBatchHalved: true,
      trialDone: true,
      trialFailed: true,
      runDone: true,
      runFailed: true,
      prefixCacheFilled: true,
    } satisfies Record<NonNullable<wire.Event["body"]>["$case"], true>;
    expect(bodies.toSorted()).toEqual(Object.keys(all).toSorted());
    expect(names).toContain("run_spec");
  });

  it.each(names)("%s means the same as its JSON, and is written as the same bytes", (name) => {
    const json: unknown = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
    const { message, again } = readAndWrite(name);
    expect(toJson(message)).toEqual(withEnumNumbers(json));
    expect(Buffer.from(again).toString("hex")).toBe(bytesOf(name).toString("hex"));
  });

  it("knows the enum names that the JSON uses", () => {
    expect(enumNumbers.get("SPLIT_BY_DATE")).toBe(wire.SplitBy.DATE);
    expect(enumNumbers.get("SCORED_PRIOR_MEAN")).toBe(wire.Scored.PRIOR_MEAN);
    expect(enumNumbers.get("ADAPTER_FAMILY_RSLORA")).toBe(wire.AdapterFamily.RSLORA);
  });

  it("keeps infinity and the largest seed", () => {
    const { fits } = wire.RunSpec.decode(bytesOf("run_spec"));
    expect(fits.map(({ tau }) => tau)).toEqual([0, 1e-3, 1e4, Infinity]);
    expect(new Set(fits.map(({ seed }) => seed))).toEqual(new Set([2 ** 32 - 1]));
  });
});
