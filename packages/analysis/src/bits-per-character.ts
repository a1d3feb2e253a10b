import type { DocumentRow } from "@bora/contracts";

/** Bits per character of the scored text: what models with different tokenisers are compared by. */
export interface BitsPerCharacter {
  macro: number; // mean over tasks
  micro: number; // over all characters
  tasks: { name: string; bits: number }[]; // by name
}

/**
 * sum of nats / (ln 2 * sum of characters), from the rows of one model and split. NaN for a task whose scored text
 * has no character (documents of special tokens alone), and so for the macro mean.
 */
export function bitsPerCharacter(rows: readonly DocumentRow[]): BitsPerCharacter {
  const totals = new Map<string, { nats: number; characters: number }>();
  for (const { task, nats, characters } of rows) {
    const total = totals.get(task) ?? { nats: 0, characters: 0 };
    totals.set(task, { nats: total.nats + nats, characters: total.characters + characters });
  }
  const bits = ({ nats, characters }: { nats: number; characters: number }): number =>
    characters > 0 ? nats / (Math.LN2 * characters) : NaN;
  const tasks = [...totals]
    .map(([name, total]) => ({ name, bits: bits(total) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const sum = (of: "nats" | "characters") => [...totals.values()].reduce((all, total) => all + total[of], 0);
  return {
    macro: tasks.reduce((all, own) => all + own.bits, 0) / tasks.length,
    micro: bits({ nats: sum("nats"), characters: sum("characters") }),
    tasks,
  };
}
