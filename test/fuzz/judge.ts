import { BoraError } from "@bora/contracts";
import type { Random } from "../faults/random.js";
import { emptyTally, type Tally } from "./tally.js";

const usualHangMs = 5_000; // one input; what never comes back is found by the driver, which waits for the batch

/** A text of anything, short enough for a log line. */
export function preview(input: unknown): string {
  let text: string;
  try {
    text = typeof input === "string" ? JSON.stringify(input) : (JSON.stringify(input) ?? String(input));
  } catch {
    text = "[something that JSON cannot hold]";
  }
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}

/** A check that an input which was taken did not hold: a fault of ours, whatever the code says. */
export class Unsound extends Error {}

const codeOf = (thrown: unknown): string | null => (thrown instanceof BoraError ? thrown.code : null);

/** Has `use` read `count` inputs. It takes them, or throws a BoraError; everything else is a crash. */
export async function judge<Input>(
  random: Random,
  count: number,
  make: (random: Random) => Input,
  use: (input: Input) => unknown,
  hangMs = usualHangMs,
): Promise<Tally> {
  const tally = emptyTally();
  const known = new Set<string>();
  for (let index = 0; index < count; index += 1) {
    const input = make(random);
    const began = performance.now();
    tally.inputs += 1;
    try {
      await use(input);
      tally.accepted += 1;
    } catch (thrown) {
      const code = codeOf(thrown);
      if (code !== null) tally.refused[code] = (tally.refused[code] ?? 0) + 1;
      else {
        tally.crashes += 1;
        const where = thrown instanceof Error ? (thrown.stack?.split("\n    at ")[1] ?? "") : "";
        const why =
          thrown instanceof Error ? `${thrown.name}: ${thrown.message.slice(0, 200)} (${where})` : String(thrown);
        if (!known.has(why.slice(0, 60))) tally.samples.push(`input ${index}: ${why} from ${preview(input)}`);
        known.add(why.slice(0, 60)); // one sample of a kind is enough to go by
      }
    }
    if (performance.now() - began > hangMs) {
      tally.hangs += 1;
      tally.samples.push(`input ${index} took ${Math.round(performance.now() - began)} ms: ${preview(input)}`);
    }
  }
  return { ...tally, samples: tally.samples.slice(0, 5) };
}
