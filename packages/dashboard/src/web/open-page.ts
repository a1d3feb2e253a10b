import { openLab, type Lab, type LabFolder } from "@bora/sdk";
import { openLog, lookAtTrainers } from "@bora/sdk/controller";
import { controlledBy, type ControlledLab } from "../controller-routes.js";
import { serveController } from "../controller-server.js";
import { liveSweepsOf } from "./live-sweeps.js";
import { servePage, type PageServer } from "./page-server.js";
import type { PageTlsFiles } from "./page-tls.js";
import { perplexityBands } from "./perplexity-bands.js";
import { statedDifferences } from "./stated-differences.js";
import { SweepsHere } from "./sweeps-here.js";

export interface PageOptions {
  folder: LabFolder; // <out>, and where its trainers come from
  port?: number;
  host?: string;
  tls?: PageTlsFiles | null; // needed off loopback
  tokenFile?: string | null; // of programs that open the folder by the page's address; null: none may
}

/** The page of a folder, and what goes on in this process on its behalf. */
export interface OpenedPage extends AsyncDisposable {
  readonly server: PageServer;
  readonly here: SweepsHere;
}

/** What a program asks of the folder; a sweep that it begins goes on here as one that the page resumes does. */
export const controlledHere = (lab: Lab, here: SweepsHere): ControlledLab => ({
  ...controlledBy(lab),
  sweep: (spec) => here.sweep(spec),
  send: (sweepId, command) => here.send(sweepId, command),
  adapt: (request, options) => here.work((own, series) => own.adapt(request, series), options),
  fewShotCurves: (request, options) => here.work((own, series) => own.fewShotCurves(request, series), options),
  evaluate: (request, options) => here.work((own, series) => own.evaluate(request, series), options),
});

/** Composes the page of a folder from the real parts. Throws what servePage throws. */
export async function openPage({ folder, tokenFile = null, ...where }: PageOptions): Promise<OpenedPage> {
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
      programs: tokenFile === null ? null : { lab: controlledHere(lab, here), tokenFile },
      live: liveSweepsOf(dir, log, now),
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
