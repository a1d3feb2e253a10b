import type { Refused } from "../api.ts";
import type { Standing } from "../../web/page-api.ts";
import { standingWords } from "../words.ts";

export function ErrorNotice({ error }: { error: Pick<Refused, "code" | "message" | "hint"> }) {
  return (
    <div className="notice error" role="alert">
      <p>
        <strong>{error.code}</strong> {error.message}
      </p>
      {error.hint !== "" && <p className="soft">{error.hint}</p>}
    </div>
  );
}

export function StandingBadge({ standing }: { standing: Standing }) {
  return <span className={`standing ${standing}`}>{standingWords[standing]}</span>;
}

export function Bar({ share, label }: { share: number; label: string }) {
  return <progress className="bar" max={1} value={Math.min(1, Math.max(0, share))} aria-label={label} />;
}
