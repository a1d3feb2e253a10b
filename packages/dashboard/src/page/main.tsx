import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { loginByFragment, Refused } from "./api.ts";
import { App } from "./app.tsx";
import "./style.css";

const refused = await loginByFragment().then(
  () => null,
  (error: unknown) => (error instanceof Refused ? error : null),
);
const place = document.getElementById("page");
if (place !== null)
  createRoot(place).render(
    <StrictMode>
      <App refused={refused} />
    </StrictMode>,
  );
