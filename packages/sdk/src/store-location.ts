import { BoraError } from "@bora/contracts";
import type { StoreLocation } from "@bora/store";

export const STORE_VARIABLE = "BORA_STORE";

/**
 * Where a folder's log is: in the folder (SQLite), or in the PostgreSQL database that BORA_STORE names, which then is
 * this folder's alone. Throws usage when the variable names something else; its value, which may hold a password, is
 * never repeated.
 */
export function storeLocation(dir: string, environment: NodeJS.ProcessEnv = process.env): StoreLocation {
  const url = environment[STORE_VARIABLE] ?? "";
  if (url === "") return { dir };
  if (/^postgres(ql)?:\/\//.test(url)) return { url };
  throw new BoraError("usage", `${STORE_VARIABLE} is no address of a PostgreSQL database`, {
    hint: `unset it to keep the store in the output folder, or write postgres://user@host/database`,
  });
}
