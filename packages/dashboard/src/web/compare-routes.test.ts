import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventsOf, sweepId, whole } from "./events.fixture.js";
import * as api from "./page-api.js";
import { PageBench } from "./page.fixture.js";
import type { StateDifferences } from "./stated-differences.js";

const { pagePaths } = api;
let page: PageBench;

beforeEach(async () => {
  page = await (await new PageBench().open()).loggedIn();
});
afterEach(() => page[Symbol.asyncDispose]());

async function compared(query: string): Promise<api.Comparison> {
  const { status, body } = await page.get(`${pagePaths.compare}${query}`);
  expect(status, body).toBe(200);
  return api.Comparison.parse(JSON.parse(body));
}

describe("sweeps side by side", () => {
  test("share tasks; what cannot be compared is said", async () => {
    const other = whole.map((body) =>
      body.kind === "sweep_planned"
        ? { ...body, plan: { ...body.plan, sweepId: "other" }, inspected: { ...body.inspected, dataHash: "e" } }
        : body,
    );
    page.log.stored.push(...eventsOf(other, "other", 1_000));
    const found = await compared(`?sweeps=${sweepId},other`);
    expect(found.sweeps.map((sweep) => [sweep.sweepId, sweep.best?.tau])).toEqual([
      [sweepId, Infinity],
      ["other", Infinity],
    ]);
    expect(found.tasks).toHaveLength(2);
    expect(found.warnings).toEqual([
      expect.stringContaining("different documents"),
      expect.stringContaining("No intervals yet"),
    ]);
  });

  test("say how they differ once all have ended", async () => {
    const differencesOf: StateDifferences = (all) => Promise.resolve([`${all.length} sweeps differ by nothing`]);
    await page.again(whole, { differencesOf });
    const second = whole.map((body) =>
      body.kind === "sweep_planned" ? { ...body, plan: { ...body.plan, sweepId: "other" } } : body,
    );
    const both = `?sweeps=${sweepId},other`;
    page.log.stored.push(...eventsOf(second.slice(0, -1), "other", 1_000));
    expect(await compared(both)).toMatchObject({
      differences: [],
      warnings: [expect.stringContaining("No intervals yet")],
    });
    page.log.stored.push(...eventsOf(second.slice(-1), "other", 2_000));
    expect(await compared(both)).toMatchObject({
      differences: ["2 sweeps differ by nothing"],
      warnings: [],
    });
  });

  test.each(["", "?sweeps=", "?sweeps=a,b,c,d,e,f,g"])("are between one and six: %s", async (query) => {
    expect((await page.get(`${pagePaths.compare}${query}`)).status).toBe(400);
  });
});
