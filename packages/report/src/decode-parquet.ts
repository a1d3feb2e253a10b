import { Worker } from "node:worker_threads";

const mebibyte = 2 ** 20;

/** What decoding may take. Ten times what files of ours need on a slow machine. */
const limitsOf = (bytes: number) => ({
  ms: 10_000 + bytes / 50, // 50 kB a second
  megabytes: Math.ceil(256 + (200 * bytes) / mebibyte),
});

/**
 * The rows of a Parquet file, decoded in a thread of their own: of a damaged file the decoder may repeat one value two
 * thousand million times, which nothing else ends. Rejects when it is damaged, or takes more time or memory than its size
 * explains; `ms` is there for tests.
 */
export async function decodeParquet(bytes: Uint8Array, ms = limitsOf(bytes.length).ms): Promise<unknown> {
  const file = new Uint8Array(bytes).buffer; // a copy: the thread takes it away
  const worker = new Worker(new URL("../bin/decode-parquet.js", import.meta.url), {
    workerData: file,
    transferList: [file],
    resourceLimits: { maxOldGenerationSizeMb: limitsOf(bytes.length).megabytes },
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<unknown>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once("exit", (code) => {
        reject(new Error(`its decoder ended with ${code}`));
      });
      timer = setTimeout(() => {
        reject(new Error(`it is not decoded after ${(ms / 1000).toFixed(0)} s`));
      }, ms);
    });
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
