import tseslint from "typescript-eslint";

/** Who may import whom; the same table as in docs and in test/architecture.test.ts, which checks it on the sources. */
export const arrows = {
  contracts: [],
  store: ["contracts"],
  "trainer-client": ["contracts"],
  placement: ["contracts"],
  analysis: ["contracts"],
  report: ["contracts", "analysis"],
  scheduler: ["contracts", "store", "trainer-client", "placement", "analysis"],
  sdk: ["contracts", "store", "trainer-client", "placement", "analysis", "report", "scheduler"],
  dashboard: ["contracts", "analysis", "report", "sdk"],
  orchestrator: ["contracts", "sdk", "dashboard"],
};

const layers = Object.entries(arrows).map(([name, allowed]) => ({
  files: [`packages/${name}/src/**/*.{ts,tsx}`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            regex: `^@bora/(?!(${[...allowed, "-"].join("|")})(/|$))`,
            message: `${name} may import: ${allowed.join(", ") || "no package"}`,
          },
          { regex: "^(\\.\\./)+[^/]+/src", message: "import another package by its name" },
        ],
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ["**/dist/**", "**/generated/**", "**/.venv/**", "**/.nx/**"] },
  ...tseslint.configs.strict,
  {
    files: ["**/*.{ts,tsx}"],
    rules: {
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "max-lines": ["error", { max: 400 }],
      "max-lines-per-function": ["error", { max: 80 }],
    },
  },
  {
    files: ["packages/!(orchestrator)/src/**/*.ts"],
    rules: { "no-restricted-properties": ["error", { object: "process", property: "exit" }] },
  },
  { files: ["**/*.test.ts"], rules: { "max-lines-per-function": "off" } },
  ...layers,
);
