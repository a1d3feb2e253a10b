import { BoraError, type wire } from "@bora/contracts";

/** The major version of the API this side speaks. */
const apiMajor = "1";

/** Throws api_mismatch when a trainer speaks another API. */
export function checkApiVersion({ apiVersion }: wire.DescribeResponse, address: string): void {
  if (apiVersion.split(".")[0] === apiMajor) return;
  throw new BoraError("api_mismatch", `the trainer at ${address} speaks API ${apiVersion}, this is ${apiMajor}.0`, {
    hint: "install the same version of BoRA on both sides",
  });
}
