"""Transformers that turn images into features: fixed filters, and visual words."""

from estimators.vision.filter_bank import FilterBankTransformer, filter_bank
from estimators.vision.visual_words import VisualWordsTransformer

__all__ = ["FilterBankTransformer", "VisualWordsTransformer", "filter_bank"]
