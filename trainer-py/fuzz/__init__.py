"""Readers of outside data under inputs that nobody means well; test/fuzz/main.ts drives this package."""
