import type { CertificateFiles, CertificateOptions } from "./certificates.js";

export { localPlacer, type LocalPlacerOptions } from "./local-placer.js";
export { pythonTrainer, type TrainerProgram } from "./start-trainer.js";
export { StaticPlacer, type StaticPlacerOptions, type Probe } from "./static-placer.js";
export { readTrainersFile, type RunningTrainer } from "./trainers-file.js";
export type { CertificateFiles, CertificateOptions } from "./certificates.js";
export { livingTrainers, type LivingTrainer } from "./living-trainers.js";
export { textTrainerPrefix, type Placer, type Placement, type PlaceRequest } from "./placer.js";

/** As certificates.ts says; its library loads when it is called, and not with every placement. */
export const makeCertificates = async (options: CertificateOptions): Promise<CertificateFiles> =>
  (await import("./certificates.js")).makeCertificates(options);
