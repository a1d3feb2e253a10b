"""Adapter families: how the weights of one row of the flat [G, P] tensor become changes of the base model's layers."""
