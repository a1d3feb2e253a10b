export { serveController, type ControllerServer, type ServeOptions } from "./controller-server.js";
export { openPage, type OpenedPage, type PageOptions } from "./web/open-page.js";
