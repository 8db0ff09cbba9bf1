"""The tiny models' recipe: a Qwen3-VL trained from nothing on needle scenes.

Scenes become examples (`examples`), a batched forward pass (`network`) trains three stages (`stages`): dense vision, the roles, and
the habits that make a base worth improving. `recipe` runs them in order, resumably, and writes directories that transformers loads.
"""
