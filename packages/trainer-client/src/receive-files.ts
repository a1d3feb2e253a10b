import { BoraError, formatBytes, type wire } from "@bora/contracts";
import { createHash } from "node:crypto";
import { open, statfs } from "node:fs/promises";
import { join } from "node:path";

const fileName = /^[A-Za-z0-9][\w.-]*$/; // never a way out of its folder

type Messages = AsyncIterable<wire.MergeResponse>;

/** Bytes of a stream of messages, in pieces as large as one asks for. */
class Incoming {
  private rest: Uint8Array = new Uint8Array();
  private readonly messages: AsyncIterator<wire.MergeResponse>;

  constructor(messages: Messages) {
    this.messages = messages[Symbol.asyncIterator]();
  }

  /** The list of files, which comes first. */
  async files(): Promise<wire.Artifact[]> {
    const first = await this.messages.next();
    return first.done === true ? [] : first.value.files;
  }

  /** At least one and at most `limit` bytes; none at the end. */
  async next(limit: number): Promise<Uint8Array> {
    while (this.rest.length === 0) {
      const message = await this.messages.next();
      if (message.done === true) return this.rest;
      this.rest = message.value.chunk;
    }
    const piece = this.rest.subarray(0, limit);
    this.rest = this.rest.subarray(piece.length);
    return piece;
  }

  async close(): Promise<void> {
    await this.messages.return?.();
  }
}

const corrupt = (path: string, what: string): BoraError =>
  new BoraError("artifact_corrupt", `${path} of the merged model ${what}`, { hint: "run the same command again" });

async function receive(incoming: Incoming, { path, size, sha256 }: wire.Artifact, to: string): Promise<void> {
  const hash = createHash("sha256");
  const file = await open(join(to, path), "wx");
  try {
    for (let left = Number(size); left > 0;) {
      const piece = await incoming.next(left);
      if (piece.length === 0) throw corrupt(path, `has ${Number(size) - left} bytes, expected ${size}`);
      hash.update(piece);
      await file.writeFile(piece);
      left -= piece.length;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  const found = hash.digest("hex");
  if (found !== sha256) throw corrupt(path, `has sha256 ${found}, expected ${sha256}`);
}

/** Writes the files of a stream (their list, then their bytes end to end) into `to`, and returns their names. */
export async function receiveFiles(messages: Messages, to: string): Promise<string[]> {
  const incoming = new Incoming(messages);
  try {
    const files = await incoming.files();
    if (files.length === 0) throw corrupt("the list of files", "is empty");
    for (const { path } of files) if (!fileName.test(path)) throw corrupt(JSON.stringify(path), "is no file name");
    const bytes = files.reduce((sum, { size }) => sum + Number(size), 0);
    const { bavail, bsize } = await statfs(to);
    if (bavail * bsize < bytes)
      throw new BoraError(
        "disk_full",
        `the merged model has ${formatBytes(bytes)}, ${formatBytes(bavail * bsize)} are free at ${to}`,
        { hint: "free some space, or name a folder on another disk" },
      );
    for (const file of files) await receive(incoming, file, to);
    return files.map(({ path }) => path);
  } finally {
    await incoming.close();
  }
}
