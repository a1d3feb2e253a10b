import { writeFileSync } from "node:fs";
import { experimentJsonSchema } from "../src/experiment-file.js";

// Editors complete experiment files with it; test/examples.test.ts fails when it is not current.
writeFileSync(new URL("../../../docs/experiment.schema.json", import.meta.url), experimentJsonSchema());
