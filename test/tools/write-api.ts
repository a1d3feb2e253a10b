import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { publicSurface, surfaceText } from "./public-surface.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
writeFileSync(new URL("../../api.md", import.meta.url), surfaceText(publicSurface(root)));
