import { PassThrough, type Readable } from "node:stream";
import { frame } from "../server-sent-events.js";
import type { EventLine } from "./page-api.js";
import type { Watcher } from "./sweep-library.js";

const keepAliveMs = 15_000; // clients give up on a silent stream
const changedEveryMs = 500; // the page asks for what changed at most so often
const linesEveryMs = 100;
const mostLines = 200; // at once, the newest: of a storm nobody reads every line
const mostWaiting = 256 * 1024; // bytes that a slow reader may leave unread

const lineText = (line: EventLine): string => frame("line", JSON.stringify(line), line.position);

/**
 * Server-sent events of a sweep: `line` with the position as id, the newest where many come at once, and `changed`, at most twice a second, when there is
 * something new to ask for. A reader that does not read is let go: it comes back with Last-Event-ID.
 */
export function eventStream(watch: (watcher: Watcher, signal: AbortSignal) => Promise<void>): Readable {
  const stream = new PassThrough();
  const left = new AbortController();
  let due: NodeJS.Timeout | null = null;
  let lines: EventLine[] = [];
  let linesDue: NodeJS.Timeout | null = null;
  const send = (text: string) => {
    if (stream.writableLength > mostWaiting) stream.destroy();
    else if (!stream.destroyed) stream.write(text);
  };
  const sendLines = () => {
    linesDue = null;
    send(lines.slice(-mostLines).map(lineText).join(""));
    lines = [];
  };
  const watcher: Watcher = {
    line: (line) => {
      if (lines.push(line) >= 2 * mostLines) lines = lines.slice(-mostLines);
      linesDue ??= setTimeout(sendLines, linesEveryMs);
    },
    changed: () => {
      due ??= setTimeout(() => {
        due = null;
        send(frame("changed", "{}"));
      }, changedEveryMs);
    },
  };
  const keepAlive = setInterval(() => {
    send(":\n\n");
  }, keepAliveMs).unref();
  stream.once("close", () => {
    clearInterval(keepAlive);
    for (const timer of [due, linesDue]) if (timer !== null) clearTimeout(timer);
    left.abort();
  });
  stream.write(": bora\n\n");
  watch(watcher, left.signal).catch(() => stream.destroy()); // the page connects again and is told why
  return stream;
}
