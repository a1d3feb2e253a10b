export {
  type Trainer,
  type TrainerAddress,
  type ConnectTrainer,
  type StartAttempt,
  type InspectedBase,
  type HeldAttempt,
} from "./trainer.js";
export { connectTrainer } from "./grpc-trainer.js";
