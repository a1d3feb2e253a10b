// A controller that appends until it is killed. It prints the last seq of a batch only after the store has taken it.
import { writeSync } from "node:fs";
import { openStore } from "../src/index.js";
import { begun, RUN, trained } from "./events.js";

const [dir = ""] = process.argv.slice(2);
const store = await openStore({ dir, mode: "write" });
await store.append(begun());
for (let seq = await store.lastSeq(RUN); ;) {
  const size = 1 + Math.floor(Math.random() * 16);
  await store.append(Array.from({ length: size }, (_, i) => trained(seq + 1 + i)));
  seq += size;
  writeSync(1, `${seq}\n`);
}
