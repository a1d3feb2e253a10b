import { PassThrough, type Readable } from "node:stream";
import type { Watcher } from "./sweep-library.js";

const keepAliveMs = 15_000; // clients give up on a silent stream
const changedEveryMs = 500; // the page asks for what changed at most so often
const mostWaiting = 256 * 1024; // bytes that a slow reader may leave unread

/**
 * Server-sent events of a sweep: `line` with the position as id, and `changed`, at most twice a second, when there is
 * something new to ask for. A reader that does not read is let go: it comes back with Last-Event-ID.
 */
export function eventStream(watch: (watcher: Watcher, signal: AbortSignal) => Promise<void>): Readable {
  const stream = new PassThrough();
  const left = new AbortController();
  let due: NodeJS.Timeout | null = null;
  const send = (text: string) => {
    if (stream.writableLength > mostWaiting) stream.destroy();
    else if (!stream.destroyed) stream.write(text);
  };
  const watcher: Watcher = {
    line: (line) => {
      send(`id: ${line.position}\nevent: line\ndata: ${JSON.stringify(line)}\n\n`);
    },
    changed: () => {
      due ??= setTimeout(() => {
        due = null;
        send("event: changed\ndata: {}\n\n");
      }, changedEveryMs);
    },
  };
  const keepAlive = setInterval(() => {
    send(":\n\n");
  }, keepAliveMs).unref();
  stream.once("close", () => {
    clearInterval(keepAlive);
    if (due !== null) clearTimeout(due);
    left.abort();
  });
  stream.write(": bora\n\n");
  watch(watcher, left.signal).catch(() => stream.destroy()); // the page connects again and is told why
  return stream;
}
