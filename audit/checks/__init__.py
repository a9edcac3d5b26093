"""Whether the explainer is to be trusted on the model under audit, before attention may flag."""

from audit.checks.scorecard import examine_explainer, explainer_trusted

__all__ = ["examine_explainer", "explainer_trusted"]
