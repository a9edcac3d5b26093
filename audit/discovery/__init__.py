"""What nobody annotated: names for neurons, and cues found in what the model attends to.

It informs and never decides the verdict.
"""
