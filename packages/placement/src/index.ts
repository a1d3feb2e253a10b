export { localPlacer, type LocalPlacerOptions } from "./local-placer.js";
export { pythonTrainer, type TrainerProgram } from "./start-trainer.js";
export { type Placer, type Placement, type PlaceRequest } from "./placer.js";
