import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { BoraError } from "@bora/contracts";
import { openPage, type OpenedPage, type PageOptions } from "@bora/dashboard";
import type { ExitName } from "../exit-codes.js";
import { listenForInterrupts } from "../interrupt.js";
import { labFolder } from "../options.js";
import type { ServeCommandOptions } from "../program.js";
import type { Terminal } from "../terminal.js";

const largestPort = 65_535;

function portOf(text: string | undefined): { port?: number } {
  if (text === undefined) return {};
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= largestPort) return { port };
  throw new BoraError("usage", `--port is ${text}; expected a number from 0 to ${largestPort}`, {
    hint: "leave it out, and a free one is taken",
  });
}

/** Throws tls_missing for half of the two. */
function tlsOf(
  { tlsCertificate, tlsKey }: ServeCommandOptions,
  at: (file: string) => string,
): Pick<PageOptions, "tls"> {
  if (tlsCertificate !== undefined && tlsKey !== undefined)
    return { tls: { certificate: at(tlsCertificate), key: at(tlsKey) } };
  if (tlsCertificate === undefined && tlsKey === undefined) return {};
  const missing = tlsKey === undefined ? "--tls-key" : "--tls-certificate";
  throw new BoraError("tls_missing", `--tls-certificate and --tls-key belong together: ${missing} is not there`, {
    hint: "give both; bora certs makes them",
  });
}

/** Where the page is, and who may see it. */
function pageOptions(options: ServeCommandOptions, terminal: Terminal): PageOptions {
  const { host, tokenFile } = options;
  const at = (file: string) => resolve(terminal.cwd, file);
  return {
    folder: labFolder(options, terminal),
    ...portOf(options.port),
    ...(host === undefined ? {} : { host }),
    ...tlsOf(options, at),
    ...(tokenFile === undefined ? {} : { tokenFile: at(tokenFile) }),
  };
}

/** Opens the link in the person's browser where there is one; the link is printed in any case. */
function openBrowser(link: string): void {
  spawn("xdg-open", [link], { stdio: "ignore", detached: true })
    .on("error", () => undefined)
    .unref();
}

/** Waits for Ctrl-C; then, where a sweep goes on in this process, for its checkpoint. */
async function untilInterrupted({ here }: OpenedPage, terminal: Terminal): Promise<ExitName> {
  const { promise, resolve } = promiseOf<ExitName>();
  using _signals = listenForInterrupts({
    onFirst: () => {
      const exit = here.busy ? "interrupted" : "done";
      if (here.busy)
        terminal.err("stopping at a checkpoint, from which bora resume goes on; Ctrl-C again leaves at once");
      void here.drain().then(() => {
        resolve(exit);
      });
    },
    onSecond: () => {
      void here.abandon().then(() => {
        resolve("interrupted");
      });
    },
  });
  return await promise;
}

function promiseOf<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}

/** `bora serve`: the web page of a folder of sweeps, until Ctrl-C. */
export async function serve(options: ServeCommandOptions, terminal: Terminal): Promise<ExitName> {
  await using page = await openPage(pageOptions(options, terminal));
  const again = terminal.isTty ? "  (works once; Enter gives another)" : "  (works once)";
  const show = (): string => {
    const link = page.server.newLink();
    terminal.out(options.json === true ? JSON.stringify({ link }) : `${link}${again}`);
    return link;
  };
  const link = show();
  if (options.open === true) openBrowser(link);
  const enter = terminal.isTty ? createInterface({ input: process.stdin }).on("line", show) : null;
  const exit = await untilInterrupted(page, terminal);
  enter?.close();
  return exit;
}
