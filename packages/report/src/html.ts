const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text that is HTML already. */
export class Html {
  constructor(readonly text: string) {}
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? character);

function render(value: HtmlValue): string {
  if (value instanceof Html) return value.text;
  return typeof value === "object" ? value.map(render).join("") : escape(String(value));
}

export type HtmlValue = string | number | Html | readonly HtmlValue[];

/** A template whose every value is escaped unless it is Html. */
export const html = (parts: TemplateStringsArray, ...values: HtmlValue[]): Html =>
  new Html(parts.reduce((text, part, index) => text + render(values[index - 1] ?? "") + part));
