import { mkdirSync, writeFileSync } from "node:fs";
import { controllerOpenApi, pageOpenApi } from "../src/open-api.js";

// The two HTTP interfaces, from the schemas by which their routes read; CI fails when they are not current.
const folder = new URL("../../../docs/openapi/", import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [name, described] of Object.entries({ page: pageOpenApi(), controller: controllerOpenApi() }))
  writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify(described, null, 2)}\n`);
