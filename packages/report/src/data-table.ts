import { formatTau } from "@bora/contracts";
import { parquetWriteBuffer } from "hyparquet-writer";
import { html, type Html } from "./html.js";

/** What a column holds, which decides how it is written for people and for programs. */
type Kind = "text" | "tau" | "count" | "percent" | { digits: number };

export interface Column {
  /** Of a file's column: snake_case, the unit at its end. */
  name: string;
  head: string; // for people
  kind: Kind;
}

export type Cell = string | number | null;

/** One table, from which page, csv, parquet, Markdown and LaTeX are written alike. */
export interface DataTable {
  name: string; // of its files
  title: string;
  columns: readonly Column[];
  rows: readonly { cells: readonly Cell[]; best?: boolean }[];
}

const signed = (value: number): string => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)} %`;

/** A cell for people. */
function shown(cell: Cell, kind: Kind): string {
  if (cell === null) return "";
  if (typeof cell === "string") return cell;
  if (kind === "tau") return formatTau(cell);
  if (kind === "percent") return signed(cell);
  if (typeof kind === "object") return Number.isFinite(cell) ? cell.toFixed(kind.digits) : "";
  return String(cell);
}

const isText = ({ kind }: Column): boolean => kind === "text";

export function htmlTable({ columns, rows, title }: DataTable): Html {
  const side = (index: number): string => (columns[index]?.kind === "text" || index === 0 ? "text" : "number");
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${title}">
    <table>
      <thead>
        <tr>
          ${columns.map(({ head }, index) => html`<th scope="col" class="${side(index)}">${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ cells, best = false }) =>
            html`<tr class="${best ? "best" : ""}">
              ${cells.map((cell, index) => html`<td class="${side(index)}">${shown(cell, columns[index]?.kind ?? "text")}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

/** RFC 4180 with every digit; infinity is inf, what is not known is empty. */
export function csvTable({ columns, rows }: DataTable): string {
  const field = (value: string): string => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const text = (cell: Cell): string =>
    cell === null ? "" : cell === Infinity ? "inf" : cell === -Infinity ? "-inf" : String(cell);
  const lines = [columns.map(({ name }) => name), ...rows.map(({ cells }) => cells.map(text))];
  return lines.map((line) => `${line.map(field).join(",")}\r\n`).join("");
}

export function parquetTable({ columns, rows }: DataTable): Uint8Array {
  const columnData = columns.map((column, index) => {
    const data = rows.map(({ cells }) => cells[index] ?? null);
    if (isText(column))
      return {
        name: column.name,
        data: data.map((cell) => (cell === null ? null : String(cell))),
        type: "STRING" as const,
        nullable: true,
      };
    return {
      name: column.name,
      data: data.map((cell) => (typeof cell === "number" ? cell : null)),
      type: "DOUBLE" as const,
      nullable: true,
    };
  });
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}

export function markdownTable({ columns, rows, title }: DataTable): string {
  const escape = (text: string): string =>
    text
      .replaceAll("\\", "\\\\")
      .replaceAll("|", "\\|")
      .replaceAll(/[\r\n]+/g, " ");
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  const bold = (text: string, best: boolean): string => (best && text !== "" ? `**${text}**` : text);
  return [
    `${title}\n\n`,
    line(columns.map(({ head }) => escape(head))),
    line(columns.map((column) => (isText(column) ? "---" : "---:"))),
    ...rows.map(({ cells, best = false }) =>
      line(cells.map((cell, index) => bold(escape(shown(cell, columns[index]?.kind ?? "text")), best))),
    ),
  ].join("");
}

const latexSigns: Record<string, string> = {
  ...{ "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_" },
  ...{ "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", τ: "$\\tau$", Θ: "$\\Theta$", "\u00a0": "~" },
};

/** For \usepackage{booktabs}. */
export function latexTable({ columns, rows, title }: DataTable): string {
  const escape = (text: string): string =>
    text.replaceAll(/[\\{}&%$#_~^−τΘ\u00a0]/g, (sign) => latexSigns[sign] ?? sign);
  const line = (cells: readonly string[]): string => `${cells.join(" & ")} \\\\\n`;
  const bold = (text: string, best: boolean): string => (best && text !== "" ? `\\textbf{${text}}` : text);
  return [
    `% ${title}; needs \\usepackage{booktabs}\n`,
    `\\begin{tabular}{${columns.map((column) => (isText(column) ? "l" : "r")).join("")}}\n\\toprule\n`,
    line(columns.map(({ head }) => escape(head))),
    "\\midrule\n",
    ...rows.map(({ cells, best = false }) =>
      line(cells.map((cell, index) => bold(escape(shown(cell, columns[index]?.kind ?? "text")), best))),
    ),
    "\\bottomrule\n\\end{tabular}\n",
  ].join("");
}
