import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sweepId } from "./events.fixture.js";
import { csrfHeader, pagePaths } from "./page-api.js";
import { contentSecurityPolicy } from "./page-guard.js";
import { PageBench } from "./page.fixture.js";
import { servePage } from "./page-server.js";

let page: PageBench;

beforeEach(async () => {
  page = await new PageBench().open();
});
afterEach(() => page[Symbol.asyncDispose]());

const code = (body: string): unknown => (JSON.parse(body) as { error: { code: string } }).error.code;

const readable = [
  ...[pagePaths.session, pagePaths.sweeps, pagePaths.sweep(sweepId), pagePaths.figures(sweepId)],
  ...[pagePaths.events(sweepId), pagePaths.stream(sweepId), pagePaths.task(sweepId, "task-0")],
  ...[`${pagePaths.compare}?sweeps=${sweepId}`, pagePaths.trainers],
];

describe("the login link", () => {
  test("carries its token in the fragment, which no request has, and logs in once", async () => {
    const link = new URL(page.server.newLink());
    expect([link.origin, link.pathname, link.search]).toEqual([page.origin, "/", ""]);
    const token = link.hash.replace("#login=", "");
    const { status, headers } = await page.login(token);
    expect(status).toBe(200);
    const cookie = String(headers["set-cookie"]);
    expect(cookie).toMatch(/^bora_session_\d+=[\w-]{40,}; HttpOnly; SameSite=Strict; Path=\/$/);
    expect(cookie).not.toContain(token);
    expect(await page.login(token)).toMatchObject({ status: 401 });
  });

  test("is void once there is a newer one", async () => {
    const first = page.server.newLink().split("#login=")[1];
    page.server.newLink();
    expect(await page.login(first)).toMatchObject({ status: 401 });
  });

  test("may be guessed five times a minute", async () => {
    for (let tries = 0; tries < 5; tries += 1)
      expect(await page.login(`guess ${tries}`)).toMatchObject({ status: 401 });
    const right = page.server.newLink().split("#login=")[1];
    page.nowMs += 10_000;
    const limited = await page.login(right);
    expect(limited).toMatchObject({ status: 429, headers: { "retry-after": "50" } });
    expect(limited.headers["set-cookie"]).toBeUndefined();
    page.nowMs += 50_001;
    expect(await page.login(right)).toMatchObject({ status: 200 });
  });

  test("needs our own Origin", async () => {
    const token = page.server.newLink().split("#login=")[1];
    const headers = { origin: "http://evil.example", "content-type": "application/json" };
    const body = JSON.stringify({ token });
    expect(await page.ask(pagePaths.login, { method: "POST", headers, body })).toMatchObject({ status: 403 });
  });
});

describe("without a session", () => {
  test.each(readable)("%s answers 401", async (path) => {
    const { status, body } = await page.ask(path, { headers: { cookie: "bora_session_1=x" } });
    expect([status, code(body)]).toEqual([401, "unauthenticated"]);
  });

  test("another spelling of an address opens nothing: the router decodes it before it looks for a route", async () => {
    const respelled = (path: string) => path.replace("/api/", "/%61p%69/");
    for (const path of readable) expect((await page.ask(respelled(path))).status, path).toBe(401);
    const sent = page.post(respelled(pagePaths.commands(sweepId)), { verb: "cancel" }, { [csrfHeader]: "x" });
    expect(await sent).toMatchObject({ status: 401 });
    expect(page.sent).toEqual([]);
  });

  test("nothing is sent to a sweep", async () => {
    const body = { verb: "cancel" };
    expect(await page.post(pagePaths.commands(sweepId), body, { [csrfHeader]: "x" })).toMatchObject({ status: 401 });
    expect(page.sent).toEqual([]);
  });

  test("ends after a week, and when the reader logs out", async () => {
    await page.loggedIn();
    expect(await page.get(pagePaths.sweeps)).toMatchObject({ status: 200 });
    expect(await page.post(pagePaths.logout, {})).toMatchObject({ status: 200 });
    expect(await page.get(pagePaths.sweeps)).toMatchObject({ status: 401 });
    await page.loggedIn();
    page.nowMs += 7 * 24 * 3_600_000 + 1;
    expect(await page.get(pagePaths.sweeps)).toMatchObject({ status: 401 });
  });
});

describe("what changes something", () => {
  const cancel = { verb: "cancel" };
  const commands = pagePaths.commands(sweepId);
  beforeEach(async () => {
    await page.loggedIn();
  });

  test("is done with cookie, Origin and CSRF token", async () => {
    expect(await page.post(commands, cancel)).toMatchObject({ status: 200 });
    expect(page.sent).toEqual([{ sweepId, command: cancel }]);
  });

  test.each([
    ["no Origin", { origin: "" }],
    ["another Origin", { origin: "http://evil.example" }],
    ["our Origin over TLS", { origin: "https://127.0.0.1" }],
    ["Origin null", { origin: "null" }],
    ["no CSRF token", { [csrfHeader]: "" }],
    ["another CSRF token", { [csrfHeader]: "0".repeat(43) }],
    ["a request of another site", { "sec-fetch-site": "cross-site" }],
  ])("is refused with %s", async (_name, headers) => {
    expect(await page.post(commands, cancel, headers)).toMatchObject({ status: 403 });
    expect(page.sent).toEqual([]);
  });

  test.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])(
    "is refused as %s, which a foreign form could send",
    async (type) => {
      expect((await page.post(commands, cancel, { "content-type": type })).status).toBe(400);
      expect(page.sent).toEqual([]);
    },
  );

  test.each([{ verb: "drain" }, { verb: "retry", selection: { by: "failed" } }, { verb: "cancel", now: true }, [], 1])(
    "is cancel or resume alone, not %j",
    async (body) => {
      expect((await page.post(commands, body)).status).toBe(400);
      expect(page.sent).toEqual([]);
    },
  );

  test("is never done by GET", async () => {
    for (const path of [commands, pagePaths.login, pagePaths.logout, pagePaths.speak])
      expect((await page.get(path)).status, path).toBe(404);
    expect(page.sent).toEqual([]);
  });

  test("is bounded in size", async () => {
    expect((await page.post(commands, { verb: "x".repeat(2 ** 20) })).status).toBe(400);
  });
});

describe("every answer", () => {
  test("to another Host is 403: a name that was pointed at us by DNS reaches nothing", async () => {
    await page.loggedIn();
    for (const host of ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1"])
      for (const path of ["/", "/assets/a.js", pagePaths.sweeps])
        expect((await page.get(path, { host })).status, `${host}${path}`).toBe(403);
  });

  test("forbids scripts, styles and frames of others", async () => {
    for (const path of ["/", "/assets/a.js", "/none.js", "/sweeps/x", pagePaths.sweeps]) {
      const { headers } = await page.ask(path);
      expect(headers["content-security-policy"], path).toBe(contentSecurityPolicy);
      expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" });
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
    expect(contentSecurityPolicy).not.toMatch(/unsafe|\*|https?:/);
  });

  test("of the API is not kept by the browser", async () => {
    await page.loggedIn();
    expect((await page.get(pagePaths.sweeps)).headers["cache-control"]).toBe("no-store");
  });
});

describe("the page's files", () => {
  test("are served, and every address of a view is the page", async () => {
    expect(await page.ask("/assets/a.js")).toMatchObject({ status: 200, body: "export {};" });
    for (const path of ["/", "/sweeps/x", "/sweeps/x/tasks/y", "/compare?sweeps=a,b", "/trainers", "/speak"])
      expect(await page.ask(path), path).toMatchObject({ status: 200, body: /the page/ });
  });

  test("lead nowhere else", async () => {
    for (const path of ["/../package.json", "/assets/..%2f..%2fpackage.json", "/%2e%2e/%2e%2e/etc/passwd"])
      expect((await page.ask(path)).body, path).not.toMatch(/"name"|root:/);
  });

  test("that are not built are named", async () => {
    await page[Symbol.asyncDispose]();
    await page.open({ builtPage: "/none" });
    const { status, body } = await page.ask("/");
    expect([status, code(body)]).toEqual([503, "environment_missing"]);
  });
});

describe("where it listens", () => {
  const parts = () => ({ ...page, ...{ lab: null, now: () => 0 } }) as unknown as Parameters<typeof servePage>[0];

  test.each(["0.0.0.0", "::", "192.168.0.1", "example.org"])("not on %s: there is no TLS", async (host) => {
    await expect(servePage({ ...parts(), host })).rejects.toMatchObject({ code: "bind_refused", message: /no TLS/ });
  });

  test("not on a port that is taken", async () => {
    const other = new PageBench();
    const opening = other.open({ port: Number(new URL(page.origin).port) });
    await expect(opening).rejects.toMatchObject({ code: "port_taken" });
  });
});
