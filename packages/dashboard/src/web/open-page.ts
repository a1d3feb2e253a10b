import { openLab, type LabFolder } from "@bora/sdk";
import { openLog, lookAtTrainers } from "@bora/sdk/controller";
import { serveController } from "../controller-server.js";
import { liveSweepsOf } from "./live-sweeps.js";
import { servePage, type PageServer } from "./page-server.js";
import { perplexityBands } from "./perplexity-bands.js";
import { statedDifferences } from "./stated-differences.js";
import { SweepsHere } from "./sweeps-here.js";

export interface PageOptions {
  folder: LabFolder; // <out>, and where its trainers come from
  port?: number;
  host?: string;
}

/** The page of a folder, and what goes on in this process on its behalf. */
export interface OpenedPage extends AsyncDisposable {
  readonly server: PageServer;
  readonly here: SweepsHere;
}

/** Composes the page of a folder from the real parts. Throws bind_refused, port_taken. */
export async function openPage({ folder, ...where }: PageOptions): Promise<OpenedPage> {
  const { dir } = folder;
  const [lab, log] = [await openLab(folder), openLog({ dir })];
  const here = new SweepsHere({ openLab: () => openLab(folder), serve: (own) => serveController(own, { dir }) });
  const now = () => performance.now();
  const close = async () => {
    await log[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  };
  try {
    const server = await servePage({
      ...{ dir, log, lab, ...where, now },
      live: liveSweepsOf(dir, now),
      lookAtTrainers: () => lookAtTrainers({ dir }),
      perplexityOf: perplexityBands(dir),
      differencesOf: statedDifferences(dir),
      send: (sweepId, command) => here.send(sweepId, command),
      generate: (request, options) => lab.generate(request, options),
    });
    return {
      ...{ server, here },
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
