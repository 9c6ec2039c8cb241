"""What a person sees of a run: the live view, plain lines, the curve and the report.

Nothing here changes a run. rich and matplotlib are loaded only by the modules that draw with
them, so a run without a terminal and without a picture loads neither.
"""
