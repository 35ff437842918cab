"""Why a training does not begin, or does not go on."""


class ConfigurationError(ValueError):
    """A run configuration that cannot work, said in a sentence."""


class TrainingStopped(RuntimeError):
    """Training cannot go on; the checkpoints saved so far stay."""


class TrainingDiverged(TrainingStopped):
    """The loss is no number any more."""
