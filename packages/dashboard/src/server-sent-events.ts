import { PassThrough } from "node:stream";

const keepAliveMs = 15_000; // proxies and clients give up on a silent stream after 30 s or more

/** One event as it goes over the line; `id` is what a reader that comes back says it has. */
export const frame = (event: string, data: string, id?: number): string =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`;

/** A stream of events that has begun, and says something now and then until it is closed. */
export function openStream(): PassThrough {
  const stream = new PassThrough();
  const keepAlive = setInterval(() => stream.write(":\n\n"), keepAliveMs).unref();
  stream.once("close", () => {
    clearInterval(keepAlive);
  });
  stream.write(": bora\n\n");
  return stream;
}
