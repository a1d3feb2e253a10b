/** For JSON.parse of what a figure shows: taus that JSON holds as "inf" become Infinity again. */
export function reviveTaus(key: string, value: unknown): unknown {
  if ((key === "tau" || key === "other") && value === "inf") return Infinity;
  if (key === "taus" && Array.isArray(value)) return value.map((tau: unknown) => (tau === "inf" ? Infinity : tau));
  return value;
}
