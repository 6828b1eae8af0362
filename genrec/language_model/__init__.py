"""The causal language model and the semantic-ID vocabulary that joins it to a catalog."""

from genrec.language_model.backbone import LanguageModel, LanguageModelSettings
from genrec.language_model.level_head import LevelHead
from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["CodeVocabulary", "LanguageModel", "LanguageModelSettings", "LevelHead"]
