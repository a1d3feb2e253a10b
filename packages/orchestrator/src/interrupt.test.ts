import { expect, test } from "vitest";
import { signalSorter } from "./interrupt.js";

function requests(...signals: readonly (readonly ["SIGINT" | "SIGTERM", number])[]): string[] {
  const heard: string[] = [];
  const sort = signalSorter({ onFirst: () => heard.push("drain"), onSecond: () => heard.push("leave") });
  for (const [signal, atMs] of signals) sort(signal, atMs);
  return heard;
}

test("the first Ctrl-C drains, the second leaves", () => {
  expect(requests(["SIGINT", 0])).toEqual(["drain"]);
  expect(requests(["SIGINT", 0], ["SIGINT", 900])).toEqual(["drain", "leave"]);
});

test("npm hands a terminal's Ctrl-C on: the same press twice is one request", () => {
  expect(requests(["SIGINT", 0], ["SIGINT", 4])).toEqual(["drain"]);
});

test("Nx answers Ctrl-C by SIGTERM: within 2 s it is the same request, later another", () => {
  expect(requests(["SIGINT", 0], ["SIGTERM", 30])).toEqual(["drain"]);
  expect(requests(["SIGINT", 0], ["SIGTERM", 1_999])).toEqual(["drain"]);
  expect(requests(["SIGINT", 0], ["SIGTERM", 2_001])).toEqual(["drain", "leave"]);
});

test("a container's SIGTERM drains", () => {
  expect(requests(["SIGTERM", 0])).toEqual(["drain"]);
});
