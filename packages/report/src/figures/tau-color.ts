// Blue over grey to vermillion: told apart by any colour vision, and as dark on white as on black.
const stops = [
  [0, 114, 178],
  [140, 140, 140],
  [213, 94, 0],
] as const;

const hex = (value: number): string => Math.round(value).toString(16).padStart(2, "0");

/** A colour for each place of a grid of taus, ascending: from independent to shared. */
export function tauColors(taus: readonly number[]): Map<number, string> {
  return new Map(
    taus.map((tau, place) => {
      const along = taus.length === 1 ? 0 : (2 * place) / (taus.length - 1);
      const [from, to] = along < 1 ? [stops[0], stops[1]] : [stops[1], stops[2]];
      const share = along < 1 ? along : along - 1;
      const channels = [0, 1, 2].map((channel) => (from[channel] ?? 0) * (1 - share) + (to[channel] ?? 0) * share);
      return [tau, `#${channels.map(hex).join("")}`];
    }),
  );
}
