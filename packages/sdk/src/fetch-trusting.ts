import { request } from "node:https";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";

export interface HttpRequest {
  method: string;
  headers: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
}

/**
 * As fetch, over TLS from a server whose certificate comes from `ca` and from nowhere else. Node's own fetch takes no
 * certificate, unless it is given an agent of a second copy of the library that it is made of.
 */
export function fetchTrusting(ca: string, url: URL, { body, ...asked }: HttpRequest): Promise<Response> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { ...asked, ca, minVersion: "TLSv1.2" }, (answer) => {
      const { statusCode: status = 500, headers } = answer;
      const contentType = headers["content-type"] ?? "application/octet-stream";
      const content = Readable.toWeb(answer) as ReadableStream<Uint8Array>;
      resolve(new Response(content, { status, headers: { "content-type": contentType } }));
    });
    sent.once("error", reject);
    sent.end(body);
  });
}
