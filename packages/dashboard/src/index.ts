export { serveController, type ControllerServer, type ServeOptions } from "./controller-server.js";
