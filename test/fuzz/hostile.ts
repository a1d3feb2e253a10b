import type { Random } from "../faults/random.js";

/** Values that have broken readers before: edges of number types, names of prototypes, ways out of a folder. */
export const hostileNumbers: readonly number[] = [
  ...[0, -0, 1, -1, 0.5, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, -(2 ** 53)],
  ...[1e300, -1e300, 5e-324, 1e-300, NaN, Infinity, -Infinity, 1e21],
];

export const hostileStrings: readonly string[] = [
  ...["", " ", "\0", "a\0b", "\u{feff}", "\u202e", "\ud800", "💥".repeat(40), "é", "\r\n", "\t", "'", '"', "`"],
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "length"],
  ...[
    "../../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "./..",
    "..\\..\\windows",
    "/proc/self/environ",
    "file:///etc",
  ],
  ...["%2e%2e%2f", "%00", "~", "$(id)", "; id", "| id", "{{7*7}}", "${7*7}", "<script>", "' OR 1=1 --"],
  ...["NaN", "Infinity", "-inf", ".inf", ".nan", "null", "true", "0x10", "1e999", "9".repeat(400), "1_000", "0o17"],
  ...["2026-02-30", "!!js/function", "&a", "*a", "<<", "? ", "- ", "---", "...", "%YAML 1.1"],
  ...["a".repeat(10_000), "[".repeat(500), "é".repeat(5_000)],
];

export const hostileString = (random: Random): string =>
  random.next() < 0.7 ? random.pick(hostileStrings) : randomText(random, random.whole(0, 60));

export function randomText(random: Random, length: number): string {
  let text = "";
  for (let index = 0; index < length; index += 1)
    text += String.fromCharCode(random.whole(0, random.pick([127, 0xffff])));
  return text;
}

export function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) bytes[index] = random.whole(0, 255);
  return bytes;
}

/** Anything that JSON can hold, hostile in its leaves and in its keys. */
export function hostileValue(random: Random, depth = 3): unknown {
  switch (random.whole(0, depth > 0 ? 7 : 4)) {
    case 0:
      return random.pick(hostileNumbers);
    case 1:
    case 2:
      return hostileString(random);
    case 3:
      return random.pick([null, true, false]);
    case 4:
      return random.whole(-10, 10);
    case 5:
      return Array.from({ length: random.whole(0, 5) }, () => hostileValue(random, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: random.whole(0, 5) }, () => [hostileString(random), hostileValue(random, depth - 1)]),
      );
  }
}

type Node = Record<string, unknown> | unknown[];
const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null;

function nodesOf(root: unknown, found: Node[] = []): Node[] {
  if (!isNode(root)) return found;
  found.push(root);
  for (const value of Object.values(root)) nodesOf(value, found);
  return found;
}

/** A copy of a JSON value with one to four places replaced, removed, added or repeated. */
export function mutateValue(random: Random, value: unknown): unknown {
  const copy: unknown = structuredClone(value);
  for (let times = random.whole(1, 4); times > 0; times -= 1) {
    const nodes = nodesOf(copy);
    if (nodes.length === 0) return hostileValue(random);
    const node = random.pick(nodes);
    if (Array.isArray(node)) mutateArray(random, node);
    else mutateRecord(random, node);
  }
  return copy;
}

function mutateArray(random: Random, node: unknown[]): void {
  const at = random.whole(0, node.length);
  if (random.next() < 0.3) node.splice(at, 1);
  else if (random.next() < 0.3) node.push(...node.slice(0, 3));
  else node.splice(at, random.whole(0, 1), hostileValue(random));
}

function mutateRecord(random: Random, node: Record<string, unknown>): void {
  const keys = Object.keys(node);
  const key = keys.length > 0 && random.next() < 0.85 ? random.pick(keys) : hostileString(random);
  const before: unknown = node[key];
  const set = (to: unknown) =>
    Object.defineProperty(node, key, { value: to, enumerable: true, configurable: true, writable: true });
  if (random.next() < 0.15) Reflect.deleteProperty(node, key);
  else if (typeof before === "number" && random.next() < 0.7)
    set(random.pick([...hostileNumbers, before + 1, -before, before * 1e6, before / 3]));
  else if (typeof before === "string" && random.next() < 0.5) set(mutateText(random, before));
  else set(hostileValue(random));
}

/** A text with pieces cut, doubled, swapped or replaced; most of it still stands, so that readers get far. */
export function mutateText(random: Random, text: string, tokens: readonly string[] = hostileStrings): string {
  let changed = text;
  for (let times = random.whole(1, 4); times > 0; times -= 1) {
    const from = random.whole(0, changed.length);
    const to = Math.min(changed.length, from + random.whole(0, random.pick([1, 4, 40])));
    const piece = random.pick([
      () => "",
      () => changed.slice(from, to).repeat(2),
      () => random.pick(tokens),
      () => randomText(random, random.whole(1, 3)),
    ])();
    changed = changed.slice(0, from) + piece + changed.slice(to);
  }
  return changed;
}

/** Bytes with some flipped, cut off, doubled, swapped or overwritten. */
export function mutateBytes(random: Random, bytes: Uint8Array): Buffer {
  let changed = Buffer.from(bytes);
  for (let times = random.whole(1, 5); times > 0; times -= 1) {
    const at = random.whole(0, Math.max(0, changed.length - 1));
    switch (random.whole(0, 5)) {
      case 0:
        changed = changed.subarray(0, at);
        break;
      case 1:
        changed = Buffer.concat([
          changed.subarray(0, at),
          randomBytes(random, random.whole(1, 12)),
          changed.subarray(at),
        ]);
        break;
      case 2:
        changed = Buffer.concat([changed, changed.subarray(at)]);
        break;
      case 3:
        changed = Buffer.concat([changed.subarray(0, at), Buffer.from(random.pick(extremes)), changed.subarray(at)]);
        break;
      default:
        if (changed.length > 0) changed[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.whole(0, 255)]);
    }
  }
  return changed.length > 1_000_000 ? changed.subarray(0, 1_000_000) : changed;
}

/** Varints of protobuf at their edges, and lengths that promise more than follows. */
const extremes: readonly number[][] = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x80, 0x80, 0x80, 0x80, 0x08],
  [0, 0, 0, 0, 0, 0, 0xf0, 0x7f],
  [0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
];
