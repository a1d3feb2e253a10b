/** Every code BoRA raises, with the domain that decides its retry. docs/errors.md has a section for each. */
export const errorDomains = {
  usage: "user",
  spec_invalid: "user",
  spec_unreadable: "user",
  data_missing: "user",
  data_column_unknown: "user",
  data_empty: "user",
  data_too_few_documents: "user",
  data_document_empty: "user",
  data_task_unknown: "user",
  document_too_long: "user",
  data_encoding: "user",
  data_duplicate_id: "user",
  data_malformed: "user",
  path_refused: "user",
  model_missing: "user",
  model_not_safetensors: "user",
  model_unsupported: "user",
  model_damaged: "user",
  unmatched_module: "user",
  dtype_unsupported: "user",
  engine_unsupported: "user",
  adapter_unreadable: "user",
  adapter_mismatch: "user",
  prompt_empty: "user",
  prompt_too_long: "user",
  diverged: "user",
  out_not_empty: "user",
  sweep_unknown: "user",
  results_missing: "user",
  results_version: "user",
  trial_unknown: "user",
  task_unknown: "user",
  target_exists: "user",
  python_missing: "user",
  environment_missing: "user",
  unauthenticated: "user",
  token_missing: "user",
  port_taken: "user",
  bind_refused: "user",
  tls_missing: "user",
  tls_unreadable: "user",
  tls_untrusted: "user",
  out_of_memory: "oom",
  lease_expired: "infra",
  trainer_lost: "infra",
  child_killed: "infra",
  device_error: "infra",
  checkpoint_corrupt: "infra",
  checkpoint_missing: "infra",
  artifact_corrupt: "infra",
  internal: "infra",
  drained: "controller",
  interrupted: "controller",
  cancelled: "controller",
  run_unknown: "controller",
  stopping: "controller",
  artifact_unknown: "controller",
  busy: "controller",
  stale_attempt: "controller",
  metrics_missing: "controller",
  store_unavailable: "controller",
  store_busy: "controller",
  store_newer: "controller",
  disk_full: "controller",
  api_mismatch: "controller",
  event_conflict: "controller",
} as const satisfies Record<string, "user" | "oom" | "infra" | "controller">;

/** Every code there is; docs/errors.md has a section for each. */
export type ErrorCode = keyof typeof errorDomains;
export type ErrorDomain = (typeof errorDomains)[ErrorCode];

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorDomains, code);

export interface BoraErrorOptions {
  /** What the person can do about it. */
  hint: string;
  cause?: unknown;
}

/** The one error of the control plane: a code, a message with the numbers, and a hint. */
export class BoraError extends Error {
  override readonly name = "BoraError";
  /** What went wrong; docs/errors.md has a section for each. */
  readonly code: ErrorCode;
  /** What the person can do about it. */
  readonly hint: string;

  constructor(code: ErrorCode, message: string, options: BoraErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }

  /** What happens next: `user` errors are never retried, the others as docs/errors.md says. */
  get domain(): ErrorDomain {
    return errorDomains[this.code];
  }
}

/** Whether a call of the file system failed because there is nothing at that path. */
export const isMissing = (thrown: unknown): boolean =>
  thrown instanceof Error && "code" in thrown && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR");

/** Anything thrown, as a BoraError; what is not one already becomes `internal` with its cause kept. */
export function toBoraError(thrown: unknown): BoraError {
  if (thrown instanceof BoraError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new BoraError("internal", message, {
    hint: "this is a fault of BoRA: please report it with the log",
    cause: thrown,
  });
}
