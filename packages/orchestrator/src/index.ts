export { main, processTerminal } from "./main.js";
export { exitCodes } from "./exit-codes.js";
