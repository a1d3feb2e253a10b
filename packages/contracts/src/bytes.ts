const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Three or four digits and a binary unit: 883 KiB, 21.1 MiB, 2.85 GiB. */
export function formatBytes(bytes: number): string {
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  const digits = power === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[power] ?? "B"}`;
}
