import { relative } from "node:path";
import type { Terminal } from "./terminal.js";

/** A path as seen from where the person stands, if it lies below. */
export function near(terminal: Terminal, path: string): string {
  const found = relative(terminal.cwd, path);
  return found.startsWith("..") ? path : found;
}
