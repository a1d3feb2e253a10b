// A process that behaves like a trainer as far as a placer can see: it reads its token, listens, says that it is ready,
// has a child in a process group of its own, and ends on SIGTERM. `--mode` makes it misbehave.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { parseArgs } from "node:util";

const text = { type: "string" };
const { values } = parseArgs({
  options: {
    mode: { ...text, default: "well" },
    port: text,
    "run-root": text,
    "token-file": text,
    "ready-file": text,
    "lease-ms": text,
    "exit-when-orphaned": { type: "boolean" },
  },
});
const token = readFileSync(values["token-file"], "utf8").trim();
console.log(`environment ${Object.keys(process.env).sort().join(" ")}`);
console.log(`token ${token.length} characters, lease ${values["lease-ms"]} ms`);

switch (values.mode) {
  case "crash":
    console.error("Traceback (most recent call last):\nValueError: the device is on fire");
    process.exit(3);
    break;
  case "typed":
    console.error("error port_taken: cannot listen on 127.0.0.1:80\nhint: choose another port, or 0 for any");
    process.exit(2);
    break;
  case "no-module":
    console.error("python: No module named bora_trainer");
    process.exit(1);
    break;
  case "deaf":
    process.on("SIGTERM", () => console.log("SIGTERM ignored"));
    break;
}

const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1 << 30)"], { detached: true, stdio: "ignore" });
if (values.mode !== "deaf") {
  process.on("SIGTERM", () => {
    child.once("exit", () => process.exit(0));
    child.kill("SIGKILL");
  });
}

const server = createServer((socket) => socket.end());
server.listen(Number(values.port), "127.0.0.1", () => {
  if (values.mode === "never") return;
  const stat = readFileSync("/proc/self/stat", "utf8");
  const ready = {
    address: `127.0.0.1:${server.address().port}`,
    pid: process.pid,
    instanceId: randomUUID(),
    startTime: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]),
  };
  writeFileSync(`${values["ready-file"]}.new`, JSON.stringify(ready));
  renameSync(`${values["ready-file"]}.new`, values["ready-file"]);
});
