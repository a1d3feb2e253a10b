import { useEffect, useLayoutEffect, useRef, useState, type ReactNode } from "react";

/** The width of an element, as it changes. */
function useWidth(element: React.RefObject<HTMLDivElement | null>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const { current } = element;
    if (current === null) return;
    setWidth(current.clientWidth);
    const observer = new ResizeObserver(() => {
      setWidth(current.clientWidth);
    });
    observer.observe(current);
    return () => {
      observer.disconnect();
    };
  }, [element]);
  return width;
}

/** The figure has one name for those who do not see it; Plot's own names for its parts are no roles', so they mislead. */
function asOneImage(figure: Element): Element {
  for (const part of figure.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
  return figure;
}

/** A place of the report's figures: drawn to its width, and drawn again when data or width change. */
export function Figure<T>({
  data,
  draw,
  empty,
  children,
}: {
  data: T | null;
  draw: (data: T, width: number) => Element;
  empty: string;
  children?: ReactNode; // the caption
}) {
  const place = useRef<HTMLDivElement>(null);
  const width = useWidth(place);
  useEffect(() => {
    const { current } = place;
    if (current === null || width === 0) return;
    if (data === null) current.replaceChildren();
    else current.replaceChildren(asOneImage(draw(data, width)));
  }, [data, draw, width]);
  return (
    <figure className="figure">
      <div className="drawing" ref={place} />
      {data === null && <p className="empty">{empty}</p>}
      {children !== undefined && <figcaption>{children}</figcaption>}
    </figure>
  );
}
