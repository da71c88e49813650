"""Public data sets as examples of ours: one file per set, one line per file."""

from __future__ import annotations

CONVERTERS: dict[str, str] = {
    "glaive": "training.converters.glaive",
    "apigen_mt": "training.converters.apigen_mt",
    "function_calling_sharegpt": "training.converters.function_calling_sharegpt",
    "hermes": "training.converters.hermes",
    "xlam": "training.converters.xlam",
    "finetome": "training.converters.finetome",
    "slurp": "training.converters.slurp",
    "clinc": "training.converters.clinc",
    "nlu_eval": "training.converters.nlu_eval",
    "snips": "training.converters.snips",
    "facebook_mtod": "training.converters.facebook_mtod",
    "sgd": "training.converters.sgd",
    "smcalflow": "training.converters.smcalflow",
}
