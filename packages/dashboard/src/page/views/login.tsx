import type { Refused } from "../api.ts";
import { ErrorNotice } from "../parts/notices.tsx";

export function LoginView({ refused }: { refused: Refused | null }) {
  return (
    <main id="main" className="login">
      <h1>BoRA</h1>
      {refused !== null && <ErrorNotice error={refused} />}
      <p>
        Open the link that <code>bora serve</code> printed. It works once; press Enter in its terminal for another.
      </p>
    </main>
  );
}
