"""Targets: text-to-image pipelines with named components. A new one is one file and one line in `TARGETS`."""

# name → "module:function"; the function takes a torch.device and returns a `Target`.
TARGETS: dict[str, str] = {
    "scenes": "harness.targets.scenes:load",
    "sd2_untrained": "harness.targets.sd2_untrained:load",
}

# Those whose pictures there are judges and reference statistics for: what `pytest benchmarks` can measure.
JUDGED = ("scenes",)
