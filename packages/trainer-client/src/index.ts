export {
  type Trainer,
  type TrainerAddress,
  type ConnectTrainer,
  type StartAttempt,
  type InspectedBase,
  type HeldAttempt,
} from "./trainer.js";
export { connectTrainer } from "./grpc-trainer.js";
export { type TextTrainer, type ConnectTextTrainer } from "./text-trainer.js";
export { connectTextTrainer } from "./grpc-text-trainer.js";
