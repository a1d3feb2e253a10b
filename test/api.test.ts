import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";
import { describe, expect, it } from "vitest";
import { publicSurface, surfaceText } from "./tools/public-surface.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const doors = publicSurface(root);

/** What a door may export beside types. More only with a reason. */
const most = 12;
const reasons: Record<string, { most: number; because: string }> = {
  "@bora/contracts": { most: 42, because: "the words of all other packages: what they share is here or nowhere" },
  "@bora/sdk/controller": { most: 26, because: "each word of the controller's HTTP is a schema, which is a value" },
  "@bora/scheduler": {
    most: 16,
    because: "what a controller waits for (room on a disk) is asked outside its loop too",
  },
  "@bora/analysis": { most: 24, because: "one function a statistic of docs/statistics.md" },
};

describe("the public surface", () => {
  it("is what api.md says; npm run generate writes it", async () => {
    const file = `${root}api.md`;
    const written = await format(surfaceText(doors), { ...(await resolveConfig(file)), filepath: file });
    expect(readFileSync(file, "utf8")).toBe(written);
  });

  it.each(doors)("of $door is at most 12 values, or more for a reason", ({ door, names }) => {
    const values = names.filter(({ isValue }) => isValue).map(({ name }) => name);
    expect(values.length, values.join(", ")).toBeLessThanOrEqual(reasons[door]?.most ?? most);
  });

  it("is named by hand: no index exports all of a file of ours", () => {
    for (const { door } of doors) {
      const [, name = "", part = "index"] = door.split("/");
      const text = readFileSync(`${root}packages/${name}/src/${part}.ts`, "utf8");
      expect(text.match(/^export \* from/m), door).toBeNull();
    }
  });
});
