import { useEffect, useRef, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import type { Session } from "../web/page-api.ts";
import { currentSession, Refused } from "./api.ts";
import { ErrorNotice } from "./parts/notices.tsx";
import { CompareView } from "./views/compare.tsx";
import { LoginView } from "./views/login.tsx";
import { SpeakView } from "./views/speak.tsx";
import { SweepPage } from "./views/sweep.tsx";
import { SweepsView } from "./views/sweeps.tsx";
import { TaskPage } from "./views/task.tsx";
import { TrainersView } from "./views/trainers.tsx";

function Places() {
  const [location] = useLocation();
  const place = (href: string, name: string, here: boolean) => (
    <Link href={href} aria-current={here ? "page" : undefined}>
      {name}
    </Link>
  );
  return (
    <nav aria-label="places">
      {place("/", "Sweeps", location === "/" || location.startsWith("/sweeps"))}
      {place("/compare", "Compare", location.startsWith("/compare"))}
      {place("/trainers", "Trainers", location.startsWith("/trainers"))}
      {place("/speak", "Read them speak", location.startsWith("/speak"))}
    </nav>
  );
}

/** After a link the reader is at the top of what is new, with the keyboard too. */
function useFocusOnMove(main: React.RefObject<HTMLElement | null>): void {
  const [location] = useLocation();
  const before = useRef(location);
  useEffect(() => {
    if (before.current === location) return;
    before.current = location;
    main.current?.focus();
    window.scrollTo(0, 0);
  }, [location, main]);
}

function Pages({ session }: { session: Session }) {
  const main = useRef<HTMLElement>(null);
  useFocusOnMove(main);
  return (
    <>
      <a className="skip" href="#main">
        to the content
      </a>
      <header className="top">
        <Link href="/" className="brand">
          BoRA
        </Link>
        <Places />
        <span className="folder" title={session.folder}>
          <bdi dir="ltr">{session.folder}</bdi>
        </span>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        <Switch>
          <Route path="/">
            <SweepsView />
          </Route>
          <Route path="/sweeps/:sweepId">{({ sweepId }) => <SweepPage key={sweepId} sweepId={sweepId} />}</Route>
          <Route path="/sweeps/:sweepId/tasks/:slug">
            {({ sweepId, slug }) => <TaskPage key={`${sweepId}/${slug}`} sweepId={sweepId} slug={slug} />}
          </Route>
          <Route path="/compare">
            <CompareView />
          </Route>
          <Route path="/trainers">
            <TrainersView />
          </Route>
          <Route path="/speak">
            <SpeakView />
          </Route>
          <Route>
            <h1>No such page</h1>
            <p>
              <Link href="/">All sweeps</Link>
            </p>
          </Route>
        </Switch>
      </main>
    </>
  );
}

export function App({ refused }: { refused: Refused | null }) {
  const [session, setSession] = useState<Session | null>(null);
  const [error, setError] = useState<Refused | null>(null);
  useEffect(() => {
    currentSession().then(setSession, (thrown: unknown) => {
      setError(thrown instanceof Refused ? thrown : new Refused("api_mismatch", String(thrown), "reload the page", 0));
    });
  }, []);
  if (session !== null) return <Pages session={session} />;
  if (error?.status === 401) return <LoginView refused={refused} />;
  return <main id="main">{error !== null && <ErrorNotice error={error} />}</main>;
}
