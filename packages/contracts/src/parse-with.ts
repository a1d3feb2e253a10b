import { z } from "zod";

/**
 * A schema's `safeParse` for values that others made up. zod compares the `length` of whatever it finds where a text or
 * a list should be, so an object whose `length` is no number, and cannot be made one, throws out of it (4.6).
 */
export function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): { success: true; data: z.output<Schema> } | { success: false; error: z.ZodError } {
  try {
    return schema.safeParse(value);
  } catch (thrown) {
    if (!(thrown instanceof TypeError || thrown instanceof RangeError)) throw thrown;
    const message = `holds a value that cannot be read (${thrown.message})`;
    return { success: false, error: new z.ZodError([{ code: "custom", path: [], message, input: value }]) };
  }
}
