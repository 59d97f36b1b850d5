"""Targets: text-to-image pipelines with named components. To add a built-in one, write one file and one line here."""

# name → "module:function"; the function takes a torch.device and a `TargetSpec` and returns a `Target`.
TARGETS: dict[str, str] = {
    "scenes": "harness.targets.scenes:load",
    "sd2_untrained": "harness.targets.sd2_untrained:load",
}
