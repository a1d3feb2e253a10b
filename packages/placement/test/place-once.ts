// A controller that places one trainer, says so, and waits to be killed.
import { localPlacer } from "../src/index.js";

const [root = "", fixture = ""] = process.argv.slice(2);
const placer = await localPlacer({ root, program: { file: process.execPath, args: [fixture] } });
const placed = await placer.place({ trainerId: "t1", leaseMs: 60_000 }, new AbortController().signal);
console.log(placed.instanceId);
setInterval(() => undefined, 1 << 30);
