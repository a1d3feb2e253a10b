import { expect, test } from "vitest";
import { formatBytes } from "./bytes.js";

test.each([
  [0, "0 B"],
  [1000, "1000 B"],
  [1536, "1.50 KiB"],
  [904_128, "883 KiB"],
  [22_118_400, "21.1 MiB"],
  [99.97 * 2 ** 20, "100 MiB"],
  [3 * 2 ** 30, "3.00 GiB"],
  [2 ** 44, "16.0 TiB"],
])("%d bytes are %s", (bytes, words) => {
  expect(formatBytes(bytes)).toBe(words);
});
