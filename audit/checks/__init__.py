"""Whether the explainer is to be trusted on the model under audit, before attention may flag."""

from audit.checks.trust import explainer_trusted

__all__ = ["explainer_trusted"]
