import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, test } from "vitest";
import { everything, RUN, sampleLog, SWEEP, trained } from "../test/events.js";
import { checkStore, openStore, type NewEvent } from "./index.js";
import { migrations } from "./migrations.js";
import { APPLICATION_ID } from "./out-folder.js";

const schemas = new URL("../test/schemas/", import.meta.url);
const released = readdirSync(schemas)
  .map((name) => Number(/^(\d+)\.sql$/.exec(name)?.[1]))
  .sort((a, b) => a - b);

/** What of an event every version must still read; later ones may fill in more. */
const summary = ({ runId, seq, attempt, body }: NewEvent) => {
  const kind = body.stream === "control" ? body.event.kind : body.event.body?.$case;
  return { runId, seq, attempt, stream: body.stream, kind };
};

test("every schema up to the newest has been written down (test/write-schema.ts)", () => {
  expect(released).toEqual(migrations.map(({ version }) => version));
});

describe.each(released)("a store of schema %i", (version) => {
  test("is brought up to date, reads as it was written, and takes more", async () => {
    const dir = await mkdtemp(join(tmpdir(), "bora-schema-"));
    const old = new Database(join(dir, "bora.sqlite"));
    old.pragma(`application_id = ${APPLICATION_ID}`);
    old.exec(readFileSync(new URL(`${version}.sql`, schemas), "utf8"));
    old.close();
    const store = await openStore({ dir, mode: "write" });
    const events = await everything(store);
    expect(events.map(summary)).toEqual(sampleLog().map(summary));
    expect((await store.sweeps()).map(({ sweepId }) => sweepId)).toEqual([SWEEP]);
    expect(await store.finishedTrial("00ff")).toEqual({ sweepId: SWEEP, runId: RUN });
    expect(await store.append([trained(4, { attempt: 2 })])).toHaveLength(1);
    await store[Symbol.asyncDispose]();
    expect((await checkStore({ dir })).problems).toEqual([]);
    await rm(dir, { recursive: true });
  });
});
