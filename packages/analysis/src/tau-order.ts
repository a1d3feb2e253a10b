/** Ascending, where the difference of two infinities would be no number. */
export const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
