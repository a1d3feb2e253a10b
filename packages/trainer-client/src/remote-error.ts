import { BoraError, isErrorCode, type ErrorCode } from "@bora/contracts";
import { ClientError, Status } from "nice-grpc";
import { RichClientError } from "nice-grpc-error-details";

/** What a trainer's own account of a failure becomes when its code is newer than this side. */
const codeOfDomain: Record<string, ErrorCode> = { user: "spec_invalid", oom: "out_of_memory" };

function fromErrorInfo(error: RichClientError): BoraError | null {
  const info = error.extra.find((detail) => detail.$type === "google.rpc.ErrorInfo");
  if (info === undefined || info.reason === "") return null;
  const { hint = "", domain = "" } = info.metadata;
  if (isErrorCode(info.reason)) return new BoraError(info.reason, error.details, { hint, cause: error });
  return new BoraError(codeOfDomain[domain] ?? "internal", `${info.reason}: ${error.details}`, { hint, cause: error });
}

function fromStatus(error: ClientError, address: string): BoraError {
  const call = error.path.split("/").at(-1) ?? error.path;
  const cause = error;
  switch (error.code) {
    case Status.UNAVAILABLE:
    case Status.CANCELLED: // by the other side, which is going down: our own cancellations are AbortErrors
      return new BoraError("trainer_lost", `the trainer at ${address} does not answer ${call}: ${error.details}`, {
        hint: "it has ended or cannot be reached; its log says more",
        cause,
      });
    case Status.DEADLINE_EXCEEDED:
      return new BoraError("trainer_lost", `the trainer at ${address} did not answer ${call} in time`, {
        hint: "the machine may be overloaded or the network blocked; its log says more",
        cause,
      });
    case Status.UNAUTHENTICATED:
      return new BoraError("unauthenticated", `the trainer at ${address} refuses the token: ${error.details}`, {
        hint: "use the token of the file that this trainer was started with",
        cause,
      });
    case Status.UNIMPLEMENTED:
      return new BoraError("api_mismatch", `the trainer at ${address} does not know ${call}`, {
        hint: "install the same version of BoRA on both sides",
        cause,
      });
    default:
      return new BoraError("internal", `${call} at ${address} failed with ${Status[error.code]}: ${error.details}`, {
        hint: "this is a fault of BoRA: please report it with the trainer's log",
        cause,
      });
  }
}

/** Anything that a call to the trainer at `address` throws, as a BoraError with the trainer's code, message and hint. */
export function fromRemote(thrown: unknown, address: string): BoraError {
  if (thrown instanceof BoraError) return thrown;
  if (thrown instanceof RichClientError) return fromErrorInfo(thrown) ?? fromStatus(thrown, address);
  if (thrown instanceof ClientError) return fromStatus(thrown, address);
  if (thrown instanceof Error && thrown.name === "AbortError")
    return new BoraError("interrupted", `the call to the trainer at ${address} was given up`, {
      hint: "nothing is lost: run the same command again",
      cause: thrown,
    });
  return new BoraError("internal", thrown instanceof Error ? thrown.message : String(thrown), {
    hint: "this is a fault of BoRA: please report it with the log",
    cause: thrown,
  });
}
