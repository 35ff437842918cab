"""Why a training does not begin, or does not go on."""


class ConfigurationError(ValueError):
    """A run configuration that cannot work; the message says why."""


class TrainingStopped(RuntimeError):
    """Training cannot go on; the checkpoints saved so far stay."""


class TrainingDiverged(TrainingStopped):
    """The loss is no longer a number."""
