import { controllerApi } from "@bora/sdk/controller";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { controllerOpenApi, pageOpenApi } from "./open-api.js";
import { sweepId } from "./web/events.fixture.js";
import { pagePaths } from "./web/page-api.js";
import { PageBench } from "./web/page.fixture.js";

type Paths = Record<string, Record<string, unknown>>;
const pathsOf = (document: Record<string, unknown>): Paths => document["paths"] as Paths;

const templates = (paths: Readonly<Record<string, string | ((sweepId: string, slug: string) => string)>>): string[] =>
  Object.values(paths).map((path) =>
    typeof path === "string" ? path : path("ID", "SLUG").replace("ID", "{sweepId}").replace("SLUG", "{slug}"),
  );

let page: PageBench;
beforeEach(async () => {
  page = await (await new PageBench().open()).loggedIn();
});
afterEach(() => page[Symbol.asyncDispose]());

describe("the OpenAPI documents", () => {
  test("have every path that server and client know, and no other", () => {
    expect(Object.keys(pathsOf(pageOpenApi())).sort()).toEqual(templates(pagePaths).sort());
    const { work, ...paths } = controllerApi.controllerPaths;
    const kinds = Object.keys(controllerApi.workRequests).map(work);
    expect(Object.keys(pathsOf(controllerOpenApi())).sort()).toEqual([...templates(paths), ...kinds].sort());
  });

  test("name methods that the page's server has a route for", async () => {
    for (const [template, methods] of Object.entries(pathsOf(pageOpenApi())))
      for (const method of Object.keys(methods)) {
        if (template === pagePaths.logout || template === pagePaths.stream("ID").replace("ID", "{sweepId}")) continue;
        const path = template.replace("{sweepId}", sweepId).replace("{slug}", "task-0");
        const { body } = await (method === "get" ? page.get(path) : page.post(path, {}));
        expect(body, `${method} ${path}`).not.toContain("there is no");
      }
  });

  test("are answered by the page's server, to whoever is logged in", async () => {
    expect(JSON.parse((await page.get(pagePaths.openApi)).body)).toEqual(JSON.parse(JSON.stringify(pageOpenApi())));
    expect((await page.ask(pagePaths.openApi)).status).toBe(401);
  });
});

test("an address that is none is refused with a code", async () => {
  const { status, body } = await page.get("/api/sweeps/%E0%A4%A");
  expect([status, JSON.parse(body)]).toMatchObject([400, { error: { code: "usage" } }]);
});
