import { useState, type ReactNode } from "react";

export interface Column<Row> {
  head: ReactNode;
  cell: (row: Row) => ReactNode;
  text?: boolean; // left, as words are
  wide?: boolean; // left out where there is little room
}

/** A table of numbers: aligned by digit, scrolled by itself, at most so many rows until more are asked for. */
export function DataTable<Row>({
  caption,
  columns,
  rows,
  keyOf,
  markOf,
  most = 100,
}: {
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  markOf?: (row: Row) => string | undefined; // a class
  most?: number;
}) {
  const [all, setAll] = useState(false);
  const shown = all ? rows : rows.slice(0, most);
  const classOf = ({ text, wide }: Column<Row>) =>
    `${text === true ? "text" : "number"}${wide === true ? " wide" : ""}`;
  return (
    <div className="table">
      <div className="scroll" tabIndex={0} role="region" aria-label={caption}>
        <table>
          <caption>{caption}</caption>
          <thead>
            <tr>
              {columns.map((column, index) => (
                <th key={index} scope="col" className={classOf(column)}>
                  {column.head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={keyOf(row)} className={markOf?.(row)}>
                {columns.map((column, index) => (
                  <td key={index} className={classOf(column)}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > shown.length && (
        <button
          type="button"
          className="quiet"
          onClick={() => {
            setAll(true);
          }}
        >
          show all {rows.length.toLocaleString("en")}
        </button>
      )}
    </div>
  );
}
