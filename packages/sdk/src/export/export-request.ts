/** Which adapters of a sweep to write, how, and where. */
export interface ExportRequest {
  sweepId: string;
  to: string; // a folder that is not there yet
  /** peft: a folder an adapter; merged: a whole model each; vllm: one base and all adapters, ready to be served. */
  format: "peft" | "merged" | "vllm";
  /** By tau, the seed with the best validation each; the best trial when neither these nor trialIds are given. */
  taus?: readonly number[];
  trialIds?: readonly string[];
  tasks?: readonly string[]; // names or slugs; all when neither tasks nor priorMean is given
  priorMean?: boolean; // Theta too; true when neither tasks nor priorMean is given
  license?: string; // of the adapters, as an SPDX identifier
  dtype?: "auto" | "float32" | "bfloat16"; // of merged weights; auto: as the base is stored
  force?: boolean; // replace an earlier export
}

/** One adapter of an export: whose it is, and its folder. */
export interface ExportedAdapter {
  name: string; // unique in the export, safe in a shell
  task: string | null; // null: Theta
  trialId: string;
  tau: number;
  folder: string; // relative to the export's
}

/** What an export wrote: its folder, bytes in all, and its adapters. */
export interface Exported {
  folder: string;
  bytes: number;
  adapters: ExportedAdapter[];
  serve: string | null; // the command that serves them, of the format vllm
}
