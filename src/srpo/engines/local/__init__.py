"""The local engine: any causal LM of transformers, on the CPU or one GPU.

`engine` has the five verbs, `opening` opens it for a config. Its limits and the shape of a model
(`limits`, `model_shape`) load no torch, so that a plan can be made of them alone.
"""
