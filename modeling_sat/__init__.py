from .lazily import lazily
from .registration import register_in_time


__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "SATConfig": ".models.configuration_sat",
        "SATForWeaklySupervisedLocalization": ".models.modeling_sat",
        "SATImageProcessor": ".models.image_processing_sat",
        "SATImageProcessorPil": ".models.image_processing_sat",
        "SATModel": ".models.modeling_sat",
        "WeaklySupervisedLocalizationPipeline": ".models.pipeline_sat",
    },
)
register_in_time()
