from ..lazily import lazily


__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "ConfigurationError": ".errors",
        "DataArguments": ".arguments",
        "ModelArguments": ".arguments",
        "SATTrainer": ".trainer",
        "SATTrainingArguments": ".arguments",
        "TrainingDiverged": ".errors",
        "TrainingStopped": ".errors",
        "parse_arguments": ".arguments",
        "train": ".run",
    },
)
