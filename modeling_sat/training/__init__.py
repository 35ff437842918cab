from .arguments import ConfigurationError, DataArguments, ModelArguments, SATTrainingArguments, parse_arguments
from .checkpoints import TrainingStopped
from .run import train
from .trainer import SATTrainer, TrainingDiverged


__all__ = [
    "ConfigurationError",
    "DataArguments",
    "ModelArguments",
    "SATTrainer",
    "SATTrainingArguments",
    "TrainingDiverged",
    "TrainingStopped",
    "parse_arguments",
    "train",
]
