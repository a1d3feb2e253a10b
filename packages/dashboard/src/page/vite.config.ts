import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));

// Everything in files of our own: the page's Content-Security-Policy allows nothing inline and nothing from elsewhere.
export default defineConfig({
  root: here,
  base: "/",
  plugins: [react()],
  build: {
    outDir: `${here}../../dist/page`,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1_000, // kB, over loopback: zod, React and Plot
  },
});
